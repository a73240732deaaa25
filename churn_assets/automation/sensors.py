"""The sensors that answer alerts: they look at the newest report and the latest retrains, which takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from churn_assets.automation.answers import Answer, Retrain, State, answer
from churn_assets.automation.claims import claim
from churn_assets.automation.jobs import ONE_AT_A_TIME, retrain_job
from churn_assets.automation.watch import run_failure_alert
from churn_assets.monitoring.alert import Alarming
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.resources import load_workspace
from churn_assets.training.assets import ALERT

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.workspace import Workspace

TRIGGER = "churn/trigger"

_EVERY_SECONDS = load_workspace().settings.retraining.look_every_seconds
LOOKED_AT = 100
"""Retrains that are looked at: some years of weekly ones."""

_ENDED: dict[dg.DagsterRunStatus, State] = {
    dg.DagsterRunStatus.SUCCESS: "done",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "failed",
}

Asked = dg.RunRequest | dg.SkipReason


@dg.sensor(
    job=retrain_job,
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains when a drift alert stands, once, and again each cooldown for as long as it does.",
)
def drift_alert_retrain(context: dg.SensorEvaluationContext) -> Asked:
    """Retrain when a drift alert stands."""
    return answer_alert(load_workspace(), context.instance, "drift_alert_retrain", lambda layout: layout.latest_drift)


@dg.sensor(
    job=retrain_job,
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains when predictions stop coming true, once, and again each cooldown for as long as they do not.",
)
def performance_alert_retrain(context: dg.SensorEvaluationContext) -> Asked:
    """Retrain when a performance alert stands."""
    return answer_alert(
        load_workspace(), context.instance, "performance_alert_retrain", lambda layout: layout.latest_performance
    )


SENSORS = (drift_alert_retrain, performance_alert_retrain, run_failure_alert)


def answer_alert(
    workspace: Workspace, instance: dg.DagsterInstance, trigger: str, place: Callable[[Layout], Path]
) -> Asked:
    """Answer the alert of the newest report of a kind, if one stands.

    Args:
        workspace: The deployment.
        instance: Where runs are.
        trigger: Who asks: the sensor.
        place: Where the newest report is.

    Returns:
        A request for one retrain, or why there is none.
    """
    path = place(workspace.layout)
    report = Alarming.read(path)
    if report is None or report.alert is None:
        return dg.SkipReason("no alert stands" if report else "there is no report yet")
    if report.model_version != _production(workspace):
        return dg.SkipReason(f"the alert is about {report.model_version}, which does not serve any more")
    found = answer(
        report,
        report.alert,
        latest_retrains(instance),
        reported=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        now=datetime.now(UTC),
        settings=workspace.settings.retraining,
    )
    _tell(workspace, report, found)
    if not found.run_key:
        return dg.SkipReason(f"{report.alert.id}: {found.why}")
    if not claim(workspace.layout.claims, found.run_key, datetime.now(UTC)):
        return dg.SkipReason(f"{report.alert.id}: another daemon is asking for the retrain")
    return dg.RunRequest(run_key=found.run_key, tags={**ONE_AT_A_TIME, ALERT: found.key, TRIGGER: trigger})


def latest_retrains(instance: dg.DagsterInstance) -> list[Retrain]:
    """Return the latest retrains, whoever asked for them."""
    records = instance.get_run_records(dg.RunsFilter(job_name=retrain_job.name), limit=LOOKED_AT)
    return [_retrain(record) for record in records]


def _retrain(record: dg.RunRecord) -> Retrain:
    run = record.dagster_run
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None
    created = record.create_timestamp.replace(tzinfo=UTC)
    return Retrain(run.tags.get(ALERT, ""), _ENDED.get(run.status, "waiting"), created, ended)


def _production(workspace: Workspace) -> str | None:
    from churn_assets.model_registry import open_registry

    serving = open_registry(workspace).production()
    return serving.version if serving else None


def _tell(workspace: Workspace, report: Alarming, found: Answer) -> None:
    """Tell a person what machines cannot mend: refused again and again, or failed again and again."""
    if report.alert is None:
        return
    if found.refusals >= workspace.settings.retraining.refusals_to_tell or found.has_given_up:
        message = messages.needs_a_person(found.refusals, report.alert.id)
        Notifier.of(workspace).tell(message, today=workspace.settings.today)

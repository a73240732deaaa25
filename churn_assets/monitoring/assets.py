"""Drift and score proxy in Dagster."""

import json

import dagster as dg
import numpy as np
import pyarrow.csv

from churn_assets.features.assets import user_features
from churn_assets.ingest.validation import as_markdown
from churn_assets.layout import MissingTableError
from churn_assets.monitoring import build
from churn_assets.monitoring.drift import DriftReport
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.partitions import DAILY, SINGLE_RUN, days_of
from churn_assets.resources import ChurnWorkspace, clear_failure
from churn_assets.scoring.assets import churn_predictions
from churn_assets.scoring.build import production
from churn_assets.training.assets import production_model
from churn_assets.workspace import Workspace
from churn_serving.errors import ArtifactError

FEED = "feed"
"""What a broken feed is called in the memory of what was told."""

GROUP = "monitoring"
OWNERS = ["team:machine-learning"]
SHOWN = 10
SEVERITY = {"OK": dg.AssetCheckSeverity.WARN, "WARN": dg.AssetCheckSeverity.WARN, "FAIL": dg.AssetCheckSeverity.ERROR}


@dg.asset(
    deps=[user_features, production_model],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"numpy", "evidently"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    check_specs=[
        dg.AssetCheckSpec(
            "population_is_known",
            asset="drift_report",
            description="The scored population is the one that the production model learned from.",
        ),
        dg.AssetCheckSpec(
            "feed_is_sound", asset="drift_report", description="The day's raw events look as they usually do."
        ),
    ],
)
def drift_report(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Whether the model still knows this population: the score's stability index decides, features only warn."""
    workspace = churn.get()
    for day in days_of(context.partition_keys):
        with clear_failure(MissingTableError, ArtifactError):
            compared = build.compare_day(workspace, production(workspace), day)
    report = compared.report
    _tell(workspace, report)
    return dg.MaterializeResult(
        metadata={
            "status": report.status,
            "headline": report.headline,
            "what to do": report.what_to_do,
            "score_psi": report.score_psi or 0.0,
            "promised ROC-AUC": report.signal.promised_roc_auc or 0.0,
            "days in a row": report.days_in_a_row,
            "alert": report.alert.id if report.alert else "none",
            "feed": report.feed.status,
            "overall_max_psi": report.overall_max_psi or 0.0,
            "model": report.model_version,
            "largest shifts": dg.MetadataValue.md(_shift_table(report)),
            "page": dg.MetadataValue.path(compared.page),
            "evidently page": dg.MetadataValue.path(compared.evidently_page or compared.page),
            "report": dg.MetadataValue.path(workspace.layout.drift_file(report.as_of_date)),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=report.status == "OK",
                check_name="population_is_known",
                severity=SEVERITY[report.status],
                metadata={"status": report.status, "reasons": dg.MetadataValue.md("\n".join(report.reasons))},
            ),
            dg.AssetCheckResult(
                passed=report.feed.status == "OK",
                check_name="feed_is_sound",
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"findings": dg.MetadataValue.md("\n".join(report.feed.findings) or "none")},
            ),
        ],
    )


def _tell(workspace: Workspace, report: DriftReport) -> None:
    """Tell people of an alert, and of a feed that is broken."""
    notifier, today = Notifier.of(workspace), workspace.settings.today
    if report.alert:
        notifier.tell(messages.drift_alert(report.as_json()), today=today)
    if report.feed.status == "FAULT":
        message = messages.quality_fault(FEED, report.as_of_date, report.feed.findings, report.what_to_do)
        notifier.tell(message, today=today)
    else:
        notifier.settle("quality_fault", FEED)


@dg.asset(
    deps=[churn_predictions],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"numpy", "json"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
)
def score_proxy(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """What the day's scores look like: the first thing to see when a model or its input goes wrong."""
    workspace = churn.get()
    with clear_failure(ArtifactError):
        model = production(workspace)
    for day in days_of(context.partition_keys):
        table = pyarrow.csv.read_csv(workspace.layout.predictions_file(day))
        scores = table.column("churn_risk").cast("double").to_numpy()
        content = build.proxy_of(workspace, day, np.asarray(scores), model)
    return dg.MaterializeResult(
        metadata={**{key: value for key, value in content.items() if value is not None}, "json": json.dumps(content)}
    )


def _shift_table(report: DriftReport) -> str:
    rows = [
        {
            "feature": shift.name,
            "PSI": f"{shift.psi:.3f}",
            "by chance below": f"{shift.noise.limit:.3f}",
            "typical then": _rounded(shift.typical_then),
            "typical now": _rounded(shift.typical_now),
        }
        for shift in report.features[:SHOWN]
    ]
    return as_markdown(rows)


def _rounded(value: float | str | None) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else f"{value:.4g}"

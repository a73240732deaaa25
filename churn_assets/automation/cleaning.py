"""The weekly clean-up in Dagster, and the clean-up of Dagster itself: its runs, with their events and logs.

With a run go its marks on partitions: the UI shows days that only removed runs have built as missing, although their
files are there. Space in Dagster's database is used again; the file itself does not shrink.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from churn_assets.automation.dagster_home import instance
from churn_assets.automation.jobs import retrain_job
from churn_assets.automation.sensors import LOOKED_AT
from churn_assets.ingest.source import SourceError
from churn_assets.ingest.validation import as_markdown
from churn_assets.monitoring.alert import Alarming
from churn_assets.resources import ChurnWorkspace, clear_failure, load_workspace
from churn_assets.training.assets import ALERT
from churn_assets.upkeep.backup_manifest import BackupError
from churn_assets.upkeep.clean import Tell, clean
from churn_assets.upkeep.exclusive import UpkeepBusyError
from churn_assets.upkeep.retention import CleanError, Item, Limits, Plan, plan_of
from churn_assets.upkeep.retention_outcome import Cleaned
from churn_assets.workspace import Workspace

RUNS = "runs"
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

LAST = "the last of its job"
ANSWERS = "an alert stands, and it may be an answer"
COOLING = "it has answered an alert within `retraining.cooldown_days`"

_SETTINGS = load_workspace().settings.schedules


def clean_up(  # noqa: PLR0913 - four of them by name
    workspace: Workspace,
    limits: Limits,
    *,
    dry_run: bool,
    tell: Tell,
    actor: str = "churn clean",
    running: dg.DagsterInstance | None = None,
) -> Cleaned:
    """Clean everything that limits name, Dagster's runs among it.

    Args:
        workspace: Where.
        limits: What is kept.
        dry_run: Remove nothing.
        tell: Told of progress.
        actor: Who does it, for the registry's history.
        running: Dagster's instance; opened if it is needed and not given.

    Raises:
        SourceError: The source is not described.
        UpkeepBusyError: Another upkeep is under way.
        CleanError: The lock cannot be taken.
    """
    now, days = datetime.now(UTC), limits.retention.runs_days
    with contextlib.ExitStack() as stack:

        def plan() -> Plan:
            with _as_clean_error():
                return plan_runs(running or stack.enter_context(instance()), workspace, days or 0, now)

        also = [(RUNS, plan)] if days else []
        return clean(workspace, limits, now, actor=actor, dry_run=dry_run, tell=tell, also=also)


def plan_runs(running: dg.DagsterInstance, workspace: Workspace, days: int, now: datetime) -> Plan:
    """Plan to remove finished runs that ended more than so many days ago.

    Args:
        running: Dagster's instance.
        workspace: The deployment, whose alerts may have been answered by runs.
        days: The limit.
        now: The time, UTC: runs bear real times, whatever today is said to be.
    """
    limit = now - timedelta(days=days)
    ended = running.get_run_records(dg.RunsFilter(statuses=FINISHED, updated_before=limit), ascending=True)
    needed = _needed(running, workspace, ended, now)
    storage = Path(running.storage_directory())
    old = [_item(record, storage, needed.get(record.dagster_run.run_id, "")) for record in ended]

    def remove(item: Item) -> None:
        with _as_clean_error():
            _remove(running, storage, item.name)

    return plan_of(RUNS, f"{days} day{'s' if days > 1 else ''}", old, remove)


def _needed(
    running: dg.DagsterInstance, workspace: Workspace, ended: Sequence[dg.RunRecord], now: datetime
) -> dict[str, str]:
    """Run → what needs it: the sensors that answer alerts look at what has been answered already."""
    needed: dict[str, str] = {}
    cooling_since = now - timedelta(days=workspace.settings.retraining.cooldown_days)
    stands = _an_alert_stands(workspace)
    for record in running.get_run_records(dg.RunsFilter(job_name=retrain_job.name), limit=LOOKED_AT):
        run = record.dagster_run
        if stands:
            needed[run.run_id] = ANSWERS
        elif ALERT in run.tags and record.create_timestamp.replace(tzinfo=UTC) >= cooling_since:
            needed[run.run_id] = COOLING
    for job in {record.dagster_run.job_name for record in ended}:
        for record in running.get_run_records(dg.RunsFilter(job_name=job), limit=1):
            needed[record.dagster_run.run_id] = LAST
    return needed


def _an_alert_stands(workspace: Workspace) -> bool:
    latest = (workspace.layout.latest_drift, workspace.layout.latest_performance)
    return any(report.alert for path in latest if (report := Alarming.read(path)))


def _item(record: dg.RunRecord, storage: Path, needed: str) -> Item:
    run_id = record.dagster_run.run_id
    size = sum(path.stat().st_size for path in (storage / run_id).rglob("*") if path.is_file())
    return Item(run_id, _day_of(record), size, needed)


def _day_of(record: dg.RunRecord) -> date:
    return record.update_timestamp.replace(tzinfo=UTC).date()


def _remove(running: dg.DagsterInstance, storage: Path, run_id: str) -> None:
    """Remove a run: its logs, its events, then itself; whatever has been left is found by the run that still stands."""
    running.compute_log_manager.delete_logs(prefix=[run_id])
    shutil.rmtree(storage / run_id, ignore_errors=True)
    running.event_log_storage.delete_events(run_id)
    running.delete_run(run_id)


@contextlib.contextmanager
def _as_clean_error() -> Iterator[None]:
    """Let whatever goes wrong in Dagster be a problem of this kind: its databases and log stores are many."""
    try:
        yield
    except Exception as error:
        raise CleanError(f"Dagster's storage refused ({type(error).__name__}): {error}") from error


@dg.op(name="clean_up")
def clean_op(context: dg.OpExecutionContext, churn: ChurnWorkspace) -> None:
    """Remove what is beyond the limits of `retention` and not needed."""
    workspace = churn.get()
    with clear_failure(CleanError, UpkeepBusyError, BackupError, SourceError):
        cleaned = clean_up(
            workspace,
            Limits.chosen(workspace.settings.retention),
            dry_run=False,
            tell=context.log.info,
            actor=f"run {context.run_id[:8]}",
            running=context.instance,
        )
        if cleaned.problems:
            raise CleanError("\n".join([f"{cleaned.summary}; not all could be cleaned.", *cleaned.problems]))
    rows = [one.as_row() for one in cleaned.kinds]
    context.add_output_metadata({"summary": cleaned.summary, "kinds": dg.MetadataValue.md(as_markdown(rows))})


@dg.job(name="clean_job", description="Remove what is beyond the limits of `retention` and not needed.")
def clean_job() -> None:
    """Remove what is beyond the limits of `retention` and not needed."""
    clean_op()


@dg.schedule(
    cron_schedule=_SETTINGS.clean,
    job=clean_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every week: remove what is old and not needed.",
)
def clean_weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every week: remove what is old and not needed."""
    return dg.RunRequest(run_key=f"week of {context.scheduled_execution_time:%Y-%m-%d}")

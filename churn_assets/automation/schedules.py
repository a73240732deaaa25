"""When jobs run: the cron lines of the settings, in their time zone, for the newest whole day (UTC)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import msgspec
from dagster._utils.schedules import schedule_execution_time_iterator  # the daemon's own; there is no public one

from churn_assets.automation.jobs import DAYS_ONE_AT_A_TIME, HISTORY_KEYS, LISTS, daily_job, drift_job, retrain_job
from churn_assets.features.build import is_snapshot_current
from churn_assets.ingest.source import SourceError
from churn_assets.layout import days_between
from churn_assets.partitions import DAILY, RANGE_END, RANGE_START
from churn_assets.resources import load_workspace

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace

PRIORITY = "dagster/priority"
"""Tag of a run; a higher one leaves the queue first."""

Asked = dg.RunRequest | dg.SkipReason | list[dg.RunRequest]

_SETTINGS = load_workspace().settings.schedules


def _newest_day(context: dg.ScheduleEvaluationContext) -> Asked:
    """Ask for the newest whole day; before it, in one run, for days that an outage has left out.

    Missed days get what features and labels are made from, oldest first. They are not scored: today's list, made for a
    day long past, would be no prediction. A tick that comes late, for a day that is no longer the newest, asks for
    nothing: the newest tick brings its day along.
    """
    workspace = load_workspace()
    newest = workspace.settings.yesterday
    due = DAILY.get_partition_keys(context.scheduled_execution_time)[-1:]
    if not due:
        return dg.SkipReason("the history has no whole day yet")
    if due[0] != newest.isoformat():
        return dg.SkipReason(f"{due[0]} is not the newest whole day, {newest}, whose tick brings it along")
    today = dg.RunRequest(run_key=due[0], partition_key=due[0], tags=DAYS_ONE_AT_A_TIME)
    missed = _missed(workspace, newest)
    return [_catch_up(missed), today] if missed else today


def _missed(workspace: Workspace, newest: date) -> list[date]:
    """The days before the newest that have not been ingested, from the first of them on."""
    built = workspace.layout.user_daily.days()
    return days_between(built[-1] + timedelta(days=1), newest - timedelta(days=1)) if built else []


def _catch_up(missed: list[date]) -> dg.RunRequest:
    first, last = missed[0].isoformat(), missed[-1].isoformat()
    tags = {RANGE_START: first, RANGE_END: last, PRIORITY: "1", **DAYS_ONE_AT_A_TIME}
    return dg.RunRequest(run_key=f"{first} to {last}", asset_selection=HISTORY_KEYS, tags=tags)


@dg.schedule(
    cron_schedule=_SETTINGS.drift,
    job=drift_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every day: whether the model still knows the population.",
)
def drift_daily(context: dg.ScheduleEvaluationContext) -> Asked:
    """Every day: whether the model still knows the population."""
    return _newest_day(context)


@dg.schedule(
    cron_schedule=_SETTINGS.batch,
    job=daily_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every day: ingest, features, predictions.",
)
def batch_daily(context: dg.ScheduleEvaluationContext) -> Asked:
    """Every day: ingest, features, predictions; what the drift report has ingested is not ingested again."""
    asked = _newest_day(context)
    day = load_workspace().settings.yesterday
    if isinstance(asked, dg.RunRequest) and _is_ingested(day):
        return dg.RunRequest(asked.run_key, partition_key=asked.partition_key, tags=asked.tags, asset_selection=LISTS)
    return asked


def _is_ingested(day: date) -> bool:
    try:
        return is_snapshot_current(load_workspace(), day)
    except SourceError:  # the run says what is wrong
        return False


@dg.schedule(
    cron_schedule=_SETTINGS.retrain,
    job=retrain_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every week: train, judge, promote the winner.",
)
def retrain_weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Every week: train, judge, promote the winner; not while the feed is broken."""
    if _feed_is_broken(load_workspace()):
        return dg.SkipReason("the newest drift report calls the feed broken: a model must not learn from it")
    return dg.RunRequest(run_key=f"week of {context.scheduled_execution_time:%Y-%m-%d}")


def _feed_is_broken(workspace: Workspace) -> bool:
    try:
        report = msgspec.json.decode(workspace.layout.latest_drift.read_bytes(), type=_FeedOfReport)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    return report.feed.get("status") == "FAULT"


class _FeedOfReport(msgspec.Struct):
    """The part of a drift report that says whether the feed can be trusted."""

    feed: dict[str, Any]


SCHEDULES = (drift_daily, batch_daily, retrain_weekly)


def next_tick(schedule: dg.ScheduleDefinition, after: datetime) -> datetime:
    """When a schedule is due next."""
    cron, zone = str(schedule.cron_schedule), schedule.execution_timezone
    ticks = schedule_execution_time_iterator(after.timestamp(), cron, zone)
    return next(ticks)

"""When jobs run: the cron lines of the settings, in their time zone, for the newest whole day (UTC)."""

from datetime import datetime

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator  # the daemon's own; there is no public one

from churn_assets.automation.jobs import daily_job, drift_job, retrain_job
from churn_assets.partitions import DAILY
from churn_assets.resources import load_workspace

_SETTINGS = load_workspace().settings.schedules


def _newest_day(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    days = DAILY.get_partition_keys(context.scheduled_execution_time)[-1:]
    if not days:
        return dg.SkipReason("the history has no whole day yet")
    return dg.RunRequest(run_key=days[0], partition_key=days[0])


@dg.schedule(
    cron_schedule=_SETTINGS.drift,
    job=drift_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every day: whether the model still knows the population.",
)
def drift_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Every day: whether the model still knows the population."""
    return _newest_day(context)


@dg.schedule(
    cron_schedule=_SETTINGS.batch,
    job=daily_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every day: ingest, features, predictions.",
)
def batch_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Every day: ingest, features, predictions."""
    return _newest_day(context)


@dg.schedule(
    cron_schedule=_SETTINGS.retrain,
    job=retrain_job,
    execution_timezone=_SETTINGS.timezone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every week: train, judge, promote the winner.",
)
def retrain_weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every week: train, judge, promote the winner."""
    return dg.RunRequest(run_key=f"week of {context.scheduled_execution_time:%Y-%m-%d}")


SCHEDULES = (drift_daily, batch_daily, retrain_weekly)


def next_tick(schedule: dg.ScheduleDefinition, after: datetime) -> datetime:
    """When a schedule is due next."""
    cron, zone = str(schedule.cron_schedule), schedule.execution_timezone
    ticks = schedule_execution_time_iterator(after.timestamp(), cron, zone)
    return next(ticks)

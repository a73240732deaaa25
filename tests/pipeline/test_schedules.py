"""When runs are asked for: the newest whole day, missed days before it, and no day twice or never."""

import json
import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from churn_assets.automation import schedules
from churn_assets.automation.schedules import batch_daily, drift_daily, next_tick, retrain_weekly
from churn_assets.definitions import defs
from churn_assets.features.build import is_snapshot_current
from churn_assets.ingest.source import SourceError
from churn_assets.layout import days_between
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

SUNDAY = date(2035, 6, 3)
NEWEST = SUNDAY - timedelta(days=1)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A deployment on a Sunday, with nothing in it."""
    paths = {"data": tmp_path / "data", "artifacts": tmp_path / "artifacts"}
    found = Workspace(Settings(paths=paths, clock={"today": SUNDAY}))
    monkeypatch.setattr(schedules, "load_workspace", lambda: found)
    return found


def ingested(workspace, last):
    """As if the days up to `last` had been ingested."""
    workspace.layout.user_daily.folder.mkdir(parents=True)
    for day in days_between(last - timedelta(days=3), last):
        workspace.layout.user_daily.path(day).touch()


def asked(schedule, at=datetime(2035, 6, 3, 1, tzinfo=UTC)):
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
    return schedule.evaluate_tick(context)


@pytest.mark.parametrize("schedule", [drift_daily, batch_daily])
@pytest.mark.parametrize("last", [None, NEWEST - timedelta(days=1), NEWEST])
def test_the_day_that_has_ended_is_built(workspace, schedule, last):
    if last:
        ingested(workspace, last)
    [request] = asked(schedule).run_requests
    assert (request.partition_key, request.run_key) == (NEWEST.isoformat(), NEWEST.isoformat())
    assert request.tags["churn/days"]


def test_days_that_were_missed_come_first_in_one_run_and_are_not_scored(workspace):
    ingested(workspace, NEWEST - timedelta(days=5))
    caught_up, newest = asked(batch_daily).run_requests
    assert caught_up.tags["dagster/asset_partition_range_start"] == "2035-05-29"
    assert caught_up.tags["dagster/asset_partition_range_end"] == "2035-06-01"
    built = {key.to_user_string() for key in caught_up.asset_selection}
    assert {"raw_events", "user_daily", "churn_labels"} <= built
    assert not built & {"churn_predictions", "score_proxy", "drift_report", "user_features"}
    assert newest.partition_key == NEWEST.isoformat()
    assert newest.asset_selection is None
    assert int(caught_up.tags["dagster/priority"]) > int(newest.tags.get("dagster/priority", 0))
    assert caught_up.tags["churn/days"] == newest.tags["churn/days"]


def with_snapshot(workspace):
    """As if the drift report of the newest day had been made, from whole days of history."""
    ingested(workspace, NEWEST)
    workspace.pin_history()
    for day in days_between(workspace.history_start, NEWEST):
        workspace.layout.user_daily.path(day).touch()
    workspace.layout.user_features.folder.mkdir(parents=True)
    workspace.layout.user_features.path(NEWEST).touch()
    assert is_snapshot_current(workspace, NEWEST)


def built_by(schedule):
    [request] = asked(schedule).run_requests
    return request.asset_selection and {key.to_user_string() for key in request.asset_selection}


def test_what_the_drift_report_has_ingested_is_not_ingested_again(workspace):
    with_snapshot(workspace)
    assert built_by(batch_daily) == {"churn_predictions", "score_proxy", "performance_report"}
    assert built_by(drift_daily) is None


def late_activity(workspace, monkeypatch):
    del monkeypatch
    newer = workspace.layout.user_features.path(NEWEST).stat().st_mtime_ns + 1
    os.utime(workspace.layout.user_daily.path(NEWEST - timedelta(days=3)), ns=(newer, newer))


def late_events(workspace, monkeypatch):
    monkeypatch.setattr(type(workspace.source), "has_news", lambda _: True)


def replaced_events(workspace, monkeypatch):
    del monkeypatch
    raw = workspace.layout.raw_events.path(NEWEST)
    raw.parent.mkdir(parents=True)
    raw.touch()
    workspace.layout.events.folder.mkdir(parents=True)
    workspace.layout.events.record([NEWEST], workspace.layout.raw_events.stamp)
    assert is_snapshot_current(workspace, NEWEST)
    raw.write_bytes(b"more")


def unreadable_source(workspace, monkeypatch):
    def fails(*_):
        raise SourceError("the source is gone")

    monkeypatch.setattr(type(workspace.source), "has_news", fails)


@pytest.mark.parametrize("change", [late_activity, late_events, replaced_events, unreadable_source])
def test_whatever_has_come_since_brings_the_whole_day(workspace, monkeypatch, change):
    with_snapshot(workspace)
    change(workspace, monkeypatch)
    assert built_by(batch_daily) is None


@pytest.mark.parametrize("schedule", [drift_daily, batch_daily])
def test_a_tick_for_a_day_that_is_past_leaves_it_to_the_newest(workspace, schedule):
    ingested(workspace, NEWEST - timedelta(days=5))
    tick = asked(schedule, datetime(2035, 6, 1, 1, tzinfo=UTC))
    assert not tick.run_requests
    assert "is not the newest whole day" in tick.skip_message


@pytest.mark.usefixtures("workspace")
def test_the_weekly_retrain_is_asked_for_once_a_week():
    [request] = asked(retrain_weekly, datetime(2035, 6, 3, 3, tzinfo=UTC)).run_requests
    assert request.partition_key is None
    assert request.run_key == "week of 2035-06-03"


@pytest.mark.parametrize(("status", "runs"), [("FAULT", 0), ("OK", 1)])
def test_nothing_is_learned_from_a_feed_that_is_broken(workspace, status, runs):
    workspace.layout.metrics.mkdir(parents=True)
    workspace.layout.latest_drift.write_text(json.dumps({"feed": {"status": status, "findings": []}}))
    assert len(asked(retrain_weekly).run_requests or []) == runs


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("hour", ["0 1 * * *", "30 2 * * *"])
def test_hours_that_are_skipped_or_repeated_fire_once_a_day(zone, hour):
    schedule = dg.ScheduleDefinition(job=retrain_weekly.job, cron_schedule=hour, execution_timezone=zone, name="x")
    after = datetime(2025, 12, 31, 23, 59, 59, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    seen = []
    for _ in range(365):
        moment = next_tick(schedule, after)
        seen.append(moment.date())
        after = moment.astimezone(UTC) + timedelta(seconds=1)
    assert seen == days_between(date(2026, 1, 1), date(2026, 12, 31))

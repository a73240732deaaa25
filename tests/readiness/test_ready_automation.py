"""Automation: what runs by itself, on which day, and back again; and what Dagster's instance says of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from readiness_world import NOW, beat, dagster_home, succeed, switch_off

from churn_assets.automation.health import Beat, Health, Success, Timer, take_pulse
from churn_assets.readiness import automation

TICK = datetime(2026, 1, 21, 1, tzinfo=UTC)
WELL = Health(
    home=Path("/srv/dagster"),
    exists=True,
    gates=(),
    timers=(
        Timer(name="drift_daily", timing="schedule", is_on=True, next_tick=TICK),
        Timer(name="drift_alert_retrain", timing="sensor", is_on=True),
    ),
    beats=(Beat(task="SCHEDULER", is_alive=True, at=NOW), Beat(task="SENSOR", is_alive=True, at=NOW)),
    successes=(
        Success(job="drift_job", at=NOW - timedelta(hours=11), asked_by="drift_daily", by_itself=True),
        Success(job="daily_job", at=NOW - timedelta(hours=10), asked_by="batch_daily", by_itself=True),
        Success(job="retrain_job", at=NOW - timedelta(days=3), asked_by="retrain_weekly", by_itself=True),
    ),
)
OF_DAGSTER = (
    automation.schedules,
    automation.sensors,
    automation.daemon,
    automation.nightly,
    automation.retraining,
    automation.time_zone,
)


def ask(place, check, **changes):
    place.known["health"] = replace(WELL, **changes)
    return place.ask(check)


@pytest.mark.parametrize("check", OF_DAGSTER)
def test_a_loop_that_runs_passes(place, check):
    assert ask(place, check).outcome == "pass"


@pytest.mark.parametrize("check", OF_DAGSTER[:5])
def test_where_dagster_has_never_run_nothing_does(place, check):
    answer = ask(place, check, exists=False, beats=(), successes=())
    assert answer.outcome != "pass"
    assert answer.fix


def test_a_timer_that_is_off_fails_and_is_named(place):
    off = tuple(replace(timer, is_on=False) for timer in WELL.timers)
    answer = ask(place, automation.schedules, timers=off)
    assert answer.outcome == "fail"
    assert answer.fix == "dagster schedule start drift_daily -w workspace.yaml"
    assert "drift_alert_retrain" in ask(place, automation.sensors, timers=off).found


def test_a_silent_daemon_fails(place):
    answer = ask(
        place, automation.daemon, beats=(WELL.beats[0], Beat(task="SENSOR", is_alive=False, at=NOW - timedelta(days=3)))
    )
    assert answer.outcome == "fail"
    assert "silent: SENSOR" in answer.found
    assert (
        ask(place, automation.daemon, beats=(Beat(task="SENSOR", is_alive=False, at=None),)).found
        == "no daemon has ever run"
    )


def test_nights_that_brought_nothing_warn_and_say_which(place):
    old = replace(WELL.successes[0], at=NOW - timedelta(days=2, hours=1))
    answer = ask(place, automation.nightly, successes=(old, *WELL.successes[1:]))
    assert (answer.outcome, answer.fix) == ("warn", "churn drift")
    assert ask(place, automation.nightly, successes=()).fix == "churn drift && churn score"
    first = (Success(job="seed_job", at=NOW, asked_by="churn seed", by_itself=False),)
    assert ask(place, automation.nightly, successes=first).outcome == "pass"


@pytest.mark.parametrize(
    ("success", "outcome"),
    [
        (
            Success(job="retrain_job", at=NOW - timedelta(days=14), asked_by="drift_alert_retrain", by_itself=True),
            "pass",
        ),
        (Success(job="retrain_job", at=NOW - timedelta(days=15), asked_by="retrain_weekly", by_itself=True), "warn"),
        (Success(job="retrain_job", at=NOW, asked_by="churn retrain", by_itself=False), "warn"),
        (Success(job="seed_job", at=NOW, asked_by="churn seed", by_itself=False), "warn"),
        (Success(job="drift_job", at=NOW, asked_by="drift_daily", by_itself=True), "fail"),
    ],
)
def test_a_retrain_counts_if_nobody_asked_for_it_by_hand(place, success, outcome):
    assert ask(place, automation.retraining, successes=(success,)).outcome == outcome


@pytest.mark.parametrize(
    ("zone", "hour", "outcome"),
    [("UTC", 1, "pass"), ("Europe/Berlin", 0, "warn"), ("Europe/Berlin", 1, "pass"), ("Asia/Tokyo", 1, "warn")],
)
def test_days_end_at_midnight_utc(place, zone, hour, outcome):
    tick = datetime(2026, 1, 21, hour, tzinfo=ZoneInfo(zone))
    place.configure(schedules={"timezone": zone})
    answer = ask(
        place, automation.time_zone, timers=(Timer(name="drift_daily", timing="schedule", is_on=True, next_tick=tick),)
    )
    assert answer.outcome == outcome
    assert zone in answer.found


def test_a_system_that_lives_on_one_day_for_ever_warns(place):
    answer = place.ask(automation.clock)
    assert answer.outcome == "warn"
    assert "2026-01-20" in answer.found


def test_a_clock_behind_the_history_fails(place):
    place.content["clock"] = {}
    assert place.ask(automation.clock).outcome == "pass"
    place.serve(1)
    assert place.ask(automation.clock).outcome == "pass"
    place.now = NOW - timedelta(hours=1)
    assert place.ask(automation.clock).outcome == "fail"


def test_cronjobs_that_tick_beside_the_daemon_fail(checked_out):
    name = "deployment/k8s/base/retrain-cronjob.yaml"
    checked_out.source.edit(name, "suspend: true", "suspend: false")
    answer = checked_out.ask(automation.cronjobs)
    assert (answer.outcome, answer.fix) == ("fail", f"set `suspend: true` in {name}")
    checked_out.source.remove(name)
    assert "retrain-cronjob.yaml" in checked_out.ask(automation.cronjobs).found


def test_a_runbook_without_a_rollback_fails(checked_out):
    checked_out.source.edit("deployment/RUNBOOK.md", "churn models rollback", "pray")
    assert checked_out.ask(automation.documented).outcome == "fail"


def test_a_rollback_is_rehearsed_within_ninety_days(place):
    assert place.ask(automation.rehearsed).outcome == "warn"
    first = place.serve(1)
    assert place.ask(automation.rehearsed).fix.endswith("churn retrain")
    second = place.serve(2)
    answer = place.ask(automation.rehearsed)
    assert answer.outcome == "warn"
    assert f"churn models promote {second}" in answer.fix
    place.registry.rollback(actor="tests")
    answer = place.ask(automation.rehearsed)
    assert answer.outcome == "pass"
    assert first in answer.found
    place.now = NOW + timedelta(days=91)
    assert place.ask(automation.rehearsed).outcome == "warn"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where the instance is looked for."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return tmp_path / "dagster"


def test_an_instance_that_never_ran_is_not_made(home):
    found = take_pulse()
    assert (found.exists, found.beats, found.successes) == (False, (), ())
    assert not home.exists()
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert not take_pulse().exists
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


def test_the_folder_beside_is_looked_at_without_a_home(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert take_pulse().home == tmp_path / ".dagster"
    assert list(tmp_path.iterdir()) == []


def test_timers_are_those_of_the_code_and_on_unless_switched_off(home):
    names = {timer.name: timer.timing for timer in take_pulse().timers}
    assert {"drift_daily", "batch_daily", "retrain_weekly"} <= {n for n, kind in names.items() if kind == "schedule"}
    assert {"drift_alert_retrain", "run_failure_alert"} <= {n for n, kind in names.items() if kind == "sensor"}
    with dagster_home(home) as instance:
        switch_off(instance, "drift_daily", "SCHEDULE")
        switch_off(instance, "run_failure_alert", "SENSOR")
    assert {timer.name for timer in take_pulse().timers if not timer.is_on} == {"drift_daily", "run_failure_alert"}


def test_a_daemon_lives_while_it_reports(home):
    now = datetime.now(UTC)
    with dagster_home(home) as instance:
        instance.get_run_records(limit=1)
        assert all(not one.is_alive and one.at is None for one in take_pulse().beats)
        beat(instance, now - timedelta(days=1))
    assert not any(one.is_alive for one in take_pulse().beats)
    with dagster_home(home) as instance:
        beat(instance, now)
    found = take_pulse().beats
    assert {"SCHEDULER", "SENSOR"} <= {one.task for one in found}
    assert all(one.is_alive for one in found)


def test_the_last_success_of_each_job_is_told_with_who_asked(home):
    with dagster_home(home) as instance:
        succeed(instance, "retrain_job", **{"dagster/schedule_name": "retrain_weekly"})
        succeed(instance, "retrain_job", **{"churn/trigger": "churn retrain"})
        succeed(instance, "drift_job", **{"dagster/sensor_name": "some_sensor"})
    found = take_pulse()
    assert found.exists
    assert [(run.job, run.asked_by, run.by_itself) for run in found.successes] == [
        ("drift_job", "some_sensor", True),
        ("retrain_job", "churn retrain", False),
        ("retrain_job", "retrain_weekly", True),
    ]
    assert all(datetime.now(UTC) - run.at < timedelta(minutes=5) for run in found.successes)

"""The sensor that tells: failed runs once, predictions that fall behind, a disk that fills up; and what it costs."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.automation import watch as module
from churn_assets.automation.watch import MOST_AT_ONCE, OVERLAP, REST, Cursor, State, read_cursor, written
from churn_assets.automation.watch import run_failure_alert as sensor
from churn_assets.settings import NotifySettings
from churn_serving.atomic import write_json
from churn_serving.published import Published

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
HOME = Path("/srv/data")


@dg.op
def count_users():
    """Fails."""
    raise ValueError("no users came\nat all")


@dg.op
def well():
    """Does nothing."""


@dg.job(name="daily_job")
def failing():
    count_users()


@dg.job(name="daily_job")
def mended():
    well()


@dg.job
def working():
    well()


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


class Ticks:
    """Ticks of the sensor, each with the cursor of the one before."""

    def __init__(self, instance, workspace, monkeypatch):
        self.instance = instance
        self.workspace = workspace
        self.cursor = None
        monkeypatch.setattr(module, "load_workspace", lambda: self.workspace)

    def tick(self):
        """What a tick says."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        data = sensor.evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor
        return data.skip_message

    def after_rest(self):
        """Let the time pass for which channels are left alone."""
        self.cursor = json.dumps(json.loads(self.cursor) | {"rest_until": None})

    def fail(self):
        """A run that really fails."""
        return failing.execute_in_process(instance=self.instance, raise_on_error=False).run_id


@pytest.fixture
def ticks(instance, monkeypatch):
    """Ticks over a deployment."""
    return lambda workspace: Ticks(instance, workspace, monkeypatch)


def scored(workspace, day):
    write_json(workspace.layout.latest_score_proxy, {"as_of_date": day})


def test_a_run_that_failed_is_told_once_with_job_step_and_error(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.tick()
    run_id = watched.fail()
    working.execute_in_process(instance=watched.instance)
    assert "1 newly failed runs" in watched.tick()
    [received] = receiver.received
    assert received["title"] == "churn: daily_job failed at count_users"
    assert received["message"].startswith("ValueError: no users came\n")
    assert run_id in received["message"]
    assert "`churn score`" in received["message"]
    for _ in range(3):
        assert watched.tick().startswith("0 newly failed runs")
    assert len(receiver.received) == 1


def test_what_failed_before_the_first_tick_is_old_news(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.fail()
    watched.tick()
    watched.tick()
    assert receiver.received == []


def test_several_failures_are_told_one_by_one_oldest_first(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.tick()
    runs = [watched.fail() for _ in range(3)]
    assert "3 messages sent" in watched.tick()
    assert [run in received["message"] for run, received in zip(runs, receiver.received, strict=True)] == [True] * 3


def test_a_lost_cursor_tells_nothing_twice(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.tick()
    before = watched.cursor
    watched.fail()
    watched.tick()
    watched.cursor = before
    assert "1 newly failed runs" in watched.tick()
    watched.cursor = "what is this"
    watched.tick()
    assert len(receiver.received) == 1


def test_a_run_that_was_ended_from_outside_is_told_as_such(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.tick()
    run = watched.instance.create_run_for_job(failing, status=dg.DagsterRunStatus.STARTED)
    watched.instance.report_run_failed(run, "the command that ran this was killed")
    watched.tick()
    [received] = receiver.received
    assert received["title"] == "churn: daily_job failed before its first step"
    assert "the command that ran this was killed" in received["message"]


def test_a_dead_channel_neither_raises_nor_loses_anything(ticks, deployment, receive):
    receiver = receive(status=500)
    watched = ticks(deployment(receiver))
    watched.tick()
    watched.fail()
    watched.fail()
    assert "could not be sent" in watched.tick()
    assert len(receiver.received) == 1, "the second is not tried where the first went nowhere"
    assert "rests until" in watched.tick()
    assert len(receiver.received) == 1, "a channel that is down is left alone for a while"
    receiver.status = 200
    watched.after_rest()
    assert "2 messages sent" in watched.tick()


def test_without_channels_it_goes_on_and_an_old_failure_stays_old(ticks, deployment, receive):
    watched = ticks(deployment())
    watched.tick()
    watched.fail()
    assert "nobody to tell" in watched.tick()
    receiver = receive()
    watched.workspace = deployment(receiver)
    watched.tick()
    assert receiver.received == []


def test_predictions_that_fall_behind_are_told_once_and_again_when_they_had_recovered(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver))
    assert "no predictions yet" in watched.tick()
    for day in ("2026-03-08", "2026-03-06", "2026-03-06", "2026-03-08", "2026-03-06", "2026-03-09", "2026-03-05"):
        scored(watched.workspace, day)
        watched.tick()
    assert receiver.titles == ["churn: predictions are 3 days behind", "churn: predictions are 4 days behind"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"as_of_date": 5}', '{"as_of_date": "soon"}'])
def test_a_summary_that_cannot_be_read_is_no_reason_to_stop(ticks, deployment, receive, content):
    watched = ticks(deployment(receive()))
    path = watched.workspace.layout.latest_score_proxy
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert "no predictions yet" in watched.tick()


def test_a_disk_that_fills_up_is_told_once(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver, min_free_gb=1e9))
    watched.tick()
    watched.tick()
    [title] = receiver.titles
    assert title.endswith("GB of disk left")
    assert str(watched.workspace.layout.data) in receiver.received[0]["message"]


def test_what_could_not_be_written_down_is_not_told_every_minute(ticks, deployment, receive):
    receiver = receive()
    watched = ticks(deployment(receiver, min_free_gb=1e9))
    watched.workspace.layout.artifacts.write_text("a file where the folder should be")
    watched.tick()
    assert "rests until" in watched.tick()
    assert len(receiver.received) == 1


def test_a_tick_with_nothing_to_tell_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, dagster as dg\n"
        "from churn_assets.automation.watch import run_failure_alert as sensor\n"
        "with dg.instance_for_test() as instance:\n"
        "    print(sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message)\n"
        "print([name for name in ('apprise', 'evidently', 'pandas', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    said, loaded = done.stdout.strip().splitlines()
    assert said.startswith("0 newly failed runs; no predictions yet; ")
    assert loaded == "[]"


def test_the_sensor_runs_by_itself_once_a_minute_and_starts_nothing():
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 60
    assert sensor.description
    assert not sensor.targets


@given(at=st.lists(MOMENTS, min_size=1, max_size=30))
def test_the_cursor_moves_on_and_keeps_what_it_may_see_again(at):
    cursor, told = Cursor(datetime(2025, 1, 1, tzinfo=UTC)), {}
    for number, moment in enumerate(sorted(at)):
        before = cursor
        cursor = cursor.with_told(str(number), moment)
        told[str(number)] = moment
        assert cursor.after >= before.after
        assert cursor.after <= max(moment - OVERLAP, before.after)
    assert cursor.told == {run: when for run, when in told.items() if when > cursor.after}
    assert read_cursor(written(cursor), NOW) == cursor


@pytest.mark.parametrize(
    "text", [None, "", "x", "{}", "[]", '{"after": 3}', '{"after": "2026-01-01T00:00:00Z", "told": 1}']
)
def test_a_cursor_that_makes_no_sense_starts_now(text):
    assert read_cursor(text, NOW) == Cursor(NOW)


@given(minutes=st.floats(-1000, 1000))
def test_channels_rest_for_a_while_and_not_for_ever(minutes):
    cursor = Cursor(NOW, rest_until=NOW + timedelta(minutes=minutes))
    assert cursor.rests(NOW) == (timedelta(0) < timedelta(minutes=minutes) <= REST)
    assert not Cursor(NOW).rests(NOW)


@given(behind=st.integers(-5, 400), limit=st.integers(1, 30), free=st.integers(0, 10**13), low=st.floats(0, 1e4))
def test_nothing_both_holds_and_has_ended(behind, limit, free, low):
    limits = NotifySettings(stale_after_days=limit, min_free_gb=low)
    state = State(date(2026, 3, 1), behind, {HOME: free})
    standing = {(message.kind, message.subject) for message in state.standing(limits)}
    assert not standing & set(state.settled(limits))
    assert ("stale", "predictions") in standing or behind < limit
    assert ("disk_low", str(HOME)) in standing or free >= low * 1e9


def test_where_nobody_was_ever_scored_nothing_is_stale():
    state = State(None, 0, {HOME: 10**12})
    assert state.standing(NotifySettings()) == []
    assert state.settled(NotifySettings()) == [("disk_low", str(HOME))]


def test_a_flood_is_told_in_portions(ticks, deployment, receive, monkeypatch):
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.tick()
    for _ in range(5):
        watched.fail()
    for expected in (2, 4, 5, 5):
        watched.tick()
        assert len(receiver.received) == expected
    assert MOST_AT_ONCE > 2


def test_a_tick_that_has_told_for_long_leaves_the_rest_to_the_next(ticks, deployment, receive, monkeypatch):
    monkeypatch.setattr(module, "BUDGET_SECONDS", -1.0)
    receiver = receive()
    watched = ticks(deployment(receiver))
    watched.tick()
    for _ in range(2):
        watched.fail()
    watched.tick()
    assert len(receiver.received) == 1
    watched.tick()
    assert len(receiver.received) == 2


# --- what Prometheus learns of it


def outcomes(workspace):
    return json.loads(Published(workspace.settings.paths).runs.read_text())


def test_how_the_last_run_of_each_job_ended_is_written_down(ticks, deployment):
    watched = ticks(deployment())
    watched.tick()
    assert outcomes(watched.workspace)["jobs"] == {}
    watched.fail()
    watched.tick()
    assert outcomes(watched.workspace)["jobs"]["daily_job"]["failed"] is True
    mended.execute_in_process(instance=watched.instance)
    watched.tick()
    told = outcomes(watched.workspace)
    assert told["jobs"]["daily_job"]["failed"] is False
    assert datetime.fromisoformat(told["jobs"]["daily_job"]["ended_at"]) <= datetime.fromisoformat(told["seen_at"])


def test_while_nothing_ends_no_job_is_asked_for(ticks, deployment, monkeypatch):
    watched = ticks(deployment())
    watched.fail()
    watched.tick()
    told = outcomes(watched.workspace)
    asked = []
    records = watched.instance.get_run_records
    monkeypatch.setattr(
        watched.instance, "get_run_records", lambda found, **how: asked.append(found) or records(found, **how)
    )
    watched.tick()
    assert [found.job_name for found in asked if found.job_name] == []
    assert outcomes(watched.workspace)["jobs"] == told["jobs"]
    assert outcomes(watched.workspace)["seen_at"] > told["seen_at"]


def test_a_note_that_was_damaged_is_written_anew(ticks, deployment):
    watched = ticks(deployment())
    watched.fail()
    watched.tick()
    Published(watched.workspace.settings.paths).runs.write_text('{"jobs": 7')
    watched.tick()
    assert outcomes(watched.workspace)["jobs"]["daily_job"]["failed"] is True


def test_outcomes_that_cannot_be_written_end_no_tick(ticks, deployment, tmp_path):
    watched = ticks(deployment())
    (tmp_path / "artifacts").write_text("no folder")
    assert "0 newly failed runs" in watched.tick()

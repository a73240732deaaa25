"""The clean-up of Dagster: finished runs go with their events and logs, unless something still asks for them."""

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from clean_world import World, ago, put
from dagster._core.storage.runs.schema import RunsTable

from churn_assets.automation import cleaning
from churn_assets.automation.cleaning import clean_job, clean_up, clean_weekly, plan_runs
from churn_assets.automation.sensors import latest_retrains
from churn_assets.resources import ChurnWorkspace
from churn_assets.settings import Settings
from churn_assets.training.assets import ALERT
from churn_assets.upkeep.clean import _removed
from churn_assets.upkeep.retention import Limits
from churn_assets.workspace import Workspace

NOW = datetime.now(UTC)
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dg.op
def nothing():
    """Do nothing."""


@dg.job(name="daily_job")
def daily():
    """Do nothing, under the name of the daily job."""
    nothing()


@dg.job(name="retrain_job")
def retrain():
    """Do nothing, under the name of the retrain."""
    nothing()


@pytest.fixture
def world(tmp_path):
    """A deployment of which nothing has been written."""
    return World(tmp_path / "it")


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A Dagster instance as it is configured on one machine."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copyfile(Path(__file__).parents[3] / "dagster.yaml", home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        yield instance


class Runs:
    """Makes runs of a given age."""

    def __init__(self, running):
        self.running = running

    def add(self, age, *, job=daily, status=dg.DagsterRunStatus.SUCCESS, tags=None):
        """A run that ended `age` days ago, with an event and a log; returns its id."""
        run = self.running.create_run_for_job(job, tags=tags or {})
        self.running.report_engine_event("said something", run)
        put(self.folder(run.run_id) / "compute_logs" / "step.out", text="printed")
        then = (datetime.now(UTC) - timedelta(days=age)).replace(tzinfo=None)
        values = {"status": status.value, "create_timestamp": then, "update_timestamp": then}
        with self.running.run_storage.connect() as connection:
            connection.execute(db.update(RunsTable).where(RunsTable.c.run_id == run.run_id).values(**values))
        return run.run_id

    def folder(self, run_id):
        return Path(self.running.storage_directory()) / run_id

    def exist(self, *ids):
        with self.running.run_storage.connect() as connection:
            there = set(connection.execute(db.select(RunsTable.c.run_id)).scalars())
        return [run_id in there for run_id in ids]


@pytest.fixture
def runs(running):
    return Runs(running)


def cleaned(world, runs, days=90, *, dry_run=False):
    """Clean runs alone; returns what came of them."""
    limits = Limits.chosen(world.workspace.settings.retention, runs_days=days)
    done = clean_up(world.workspace, limits, dry_run=dry_run, tell=print, running=runs.running)
    [kind] = done.kinds
    assert done.problems == []
    return kind


def test_finished_runs_go_with_their_events_and_logs(world, runs):
    old = [runs.add(100 + number, status=status) for number, status in enumerate(ENDED)]
    young = [runs.add(80), runs.add(1)]
    told = cleaned(world, runs)
    assert runs.exist(*old, *young) == [False] * 3 + [True] * 2
    assert [runs.running.get_records_for_run(run_id).records for run_id in old] == [[]] * 3
    assert [runs.folder(run_id).exists() for run_id in old] == [False] * 3
    assert runs.running.get_records_for_run(young[0]).records
    assert runs.folder(young[0]).exists()
    assert (told.items, told.size) == (3, 3 * len("printed"))
    assert (told.newest, told.limit) == (date.today() - timedelta(days=100), "90 days")  # noqa: DTZ011 - UTC here


@pytest.mark.parametrize(
    "status",
    [status for status in dg.DagsterRunStatus if status not in {*ENDED, dg.DagsterRunStatus.MANAGED}],
)
def test_a_run_that_waits_or_works_is_never_removed(world, runs, status):
    at_work = runs.add(1000, status=status)
    runs.add(1)
    assert cleaned(world, runs, 1).items == 0
    assert runs.exist(at_work) == [True]


def test_a_dry_run_foretells_and_removes_nothing(world, runs):
    old = [runs.add(100 + number) for number in range(3)]
    runs.add(1)
    foretold = cleaned(world, runs, dry_run=True)
    assert runs.exist(*old) == [True] * 3
    assert cleaned(world, runs) == foretold
    assert cleaned(world, runs).items == 0


def test_the_last_run_of_each_job_stays(world, runs):
    older, last = runs.add(300), runs.add(200)
    retrained = runs.add(400, job=retrain)
    told = cleaned(world, runs)
    assert runs.exist(older, last, retrained) == [False, True, True]
    assert [(one.reason, one.items) for one in told.kept] == [("the last of its job", 2)]


def test_retrains_that_may_have_answered_a_standing_alert_are_remembered(world, runs):
    version = world.register(1, "candidate")
    world.alarm(version, "drift", ago(50))
    key = f"{version}@drift@{ago(50)}#0"
    answered, daily_run = runs.add(49, job=retrain, tags={ALERT: key}), runs.add(49)
    runs.add(1, job=retrain)
    runs.add(1)
    told = cleaned(world, runs, 10)
    assert runs.exist(answered, daily_run) == [True, False]
    assert [one.reason for one in told.kept] == ["an alert stands, and it may be an answer"]
    assert key in {one.key for one in latest_retrains(runs.running)}


def test_an_answer_is_remembered_until_the_cooldown_is_over(world, runs):
    tags = {ALERT: "v@drift@2026-01-01#0"}
    cooldown = world.workspace.settings.retraining.cooldown_days
    within = runs.add(cooldown - 1, job=retrain, tags=tags)
    beyond = runs.add(cooldown + 1, job=retrain, tags=tags)
    manual = runs.add(cooldown - 1, job=retrain)
    runs.add(0, job=retrain)
    cleaned(world, runs, 2)
    assert runs.exist(within, beyond, manual) == [True, False, False]


def test_many_runs_are_no_matter(world, runs):
    old = [runs.add(100) for _ in range(120)]
    runs.add(1)
    assert cleaned(world, runs).items == 120
    assert runs.running.get_runs_count() == 1
    assert not any(runs.exist(*old))


@pytest.mark.parametrize("broken", ["delete_logs", "delete_events", "delete_run"])
def test_one_that_stops_in_the_middle_of_a_run_is_completed_by_the_next(world, runs, monkeypatch, broken):
    old = [runs.add(110), runs.add(100)]
    runs.add(1)

    def fails(*_arguments, **_options):
        raise RuntimeError("the database went away")

    place = {
        "delete_logs": runs.running.compute_log_manager,
        "delete_events": runs.running.event_log_storage,
        "delete_run": runs.running,
    }[broken]
    with monkeypatch.context() as patch:
        patch.setattr(place, broken, fails)
        plan = plan_runs(runs.running, world.workspace, 90, NOW)
        stopped = _removed(plan, print)
    assert stopped.items == 0
    assert stopped.problem == "Dagster's storage refused (RuntimeError): the database went away"
    assert cleaned(world, runs).items == 2
    assert [runs.running.get_records_for_run(run_id).records for run_id in old] == [[], []]
    assert [runs.folder(run_id).exists() for run_id in old] == [False, False]


def test_files_are_cleaned_although_dagster_cannot_be_reached(world, monkeypatch):
    world.fill()

    def away():
        raise OSError("no such server")

    monkeypatch.setattr(cleaning, "instance", away)
    limits = Limits.chosen(world.workspace.settings.retention, runs_days=90, predictions_days=30)
    done = clean_up(world.workspace, limits, dry_run=False, tell=print)
    assert done.problems == ["runs: Dagster's storage refused (OSError): no such server"]
    assert not world.layout.predictions_file(ago(60)).exists()


def test_dagster_is_left_alone_unless_runs_are_cleaned(world, monkeypatch):
    world.fill()
    monkeypatch.setattr(cleaning, "instance", lambda: pytest.fail("opened"))
    limits = Limits.chosen(world.workspace.settings.retention, predictions_days=30)
    assert clean_up(world.workspace, limits, dry_run=False, tell=print).problems == []


def run_job(world, running, monkeypatch, **retention):
    settings = world.workspace.settings.model_dump() | {"retention": retention}
    workspace = Workspace(Settings.model_validate(settings))
    monkeypatch.setattr(ChurnWorkspace, "get", lambda _: workspace)
    return clean_job.execute_in_process(instance=running, resources={"churn": ChurnWorkspace()}, raise_on_error=False)


def test_the_job_cleans_as_the_settings_say_and_shows_it(world, runs, monkeypatch):
    world.fill()
    old = runs.add(100)
    runs.add(1)
    result = run_job(world, runs.running, monkeypatch, predictions_days=30, runs_days=90)
    assert result.success
    assert runs.exist(old, result.run_id) == [False, True]
    assert not world.layout.predictions_file(ago(31)).exists()
    [output] = [event for event in result.all_events if event.is_successful_output]
    metadata = output.step_output_data.metadata
    assert metadata["summary"].value.endswith(" removed")
    assert "| predictions | 30 days | 14 |" in metadata["kinds"].value


def test_the_job_fails_in_words_if_something_cannot_be_cleaned(world, runs, monkeypatch):
    world.fill()
    stuck = world.layout.predictions_file(ago(90))
    stuck.unlink()
    put(stuck / "in the way")
    result = run_job(world, runs.running, monkeypatch, predictions_days=30)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data.description
    assert "removed; not all could be cleaned." in said
    assert f"predictions: {stuck}: " in said


def test_the_schedule_asks_once_a_week():
    sunday = datetime(2035, 6, 3, 5, tzinfo=UTC)
    asked = clean_weekly(dg.build_schedule_context(scheduled_execution_time=sunday))
    assert asked.run_key == "week of 2035-06-03"
    assert clean_weekly.cron_schedule == Settings().schedules.clean
    assert clean_weekly.default_status is dg.DefaultScheduleStatus.RUNNING
    assert clean_weekly.job_name == "clean_job"

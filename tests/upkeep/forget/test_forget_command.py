"""`churn forget` as an operator types it, and what Dagster and a running service then no longer know."""

import contextlib
import json
import shutil
import threading
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sql
import yaml
from forget_world import ANNA, TODAY, World, mentions
from litestar.testing import TestClient
from typer.testing import CliRunner

from churn_assets.automation.dagster_home import instance
from churn_assets.commands.forgetting import _surroundings, app
from churn_assets.ingest.validation import as_markdown
from churn_assets.upkeep.forget import Forgetting, RunsInFlightError, UnknownPersonError
from churn_assets.upkeep.forget_checks import CheckSamples
from churn_serving.app import create_app
from churn_serving.logs import rotated_file
from churn_serving.logs.prediction_log import read_log
from churn_serving.settings import ClockSettings, ServiceSettings, ServingSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A deployment with everybody in it. Tests only look at it."""
    return World(tmp_path_factory.mktemp("everybody")).build()


@pytest.fixture
def world(built, tmp_path):
    """A copy of it that a test may change."""
    return built.copied(tmp_path / "copy")


@pytest.fixture
def home(world, monkeypatch):
    """Dagster's storage, and the settings that the command reads."""
    folder = world.folder / "dagster"
    folder.mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", folder / "dagster.yaml")
    config = world.folder / "churn.yaml"
    config.write_text(yaml.safe_dump(world.workspace.settings.model_dump(mode="json")))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("CHURN_MLOPS_CONFIG", str(config))
    monkeypatch.setattr(Forgetting, "_until_taken_up", lambda _: 0.0)  # there is no service
    return folder


def churn_forget(*arguments):
    return CliRunner().invoke(app, arguments)


def test_a_dry_run_tells_and_changes_nothing(world, home):
    shown = churn_forget(ANNA, "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    plan = json.loads(shown.stdout)
    assert plan["state"] == "dry run"
    assert {"kind": "raw_users", "files": 1, "rows": 2} in plan["touched"]
    assert not world.layout.tombstones.exists()
    assert "published_scores" in churn_forget(ANNA, "--dry-run").stdout
    assert home.exists()


@pytest.mark.usefixtures("home")
def test_it_forgets_and_says_so_once(world):
    shown_by_a_check(ANNA, "p00")
    shown = churn_forget(ANNA, "--json", "--by", "legal")
    assert shown.exit_code == 0, shown.output
    receipt = json.loads(shown.stdout)
    assert (receipt["state"], receipt["asked_by"]) == ("done", "legal")
    assert {"kind": "dagster_checks", "files": 2, "rows": 2} in receipt["touched"]
    assert ANNA not in (world.folder / receipt["receipt"]).read_text()
    assert mentions(world.folder / "data", ANNA) == mentions(world.folder / "artifacts", ANNA) == set()
    again = churn_forget(ANNA)
    assert again.exit_code == 0
    assert "already forgotten" in again.stdout
    assert "receipt" in churn_forget("p00").stdout


@pytest.mark.usefixtures("home")
def test_nobody_is_one_clear_error(world):
    refused = churn_forget("anna")
    assert refused.exit_code == 1
    assert isinstance(refused.exception, UnknownPersonError)
    assert "nobody called 'anna' was found" in str(refused.exception)
    assert churn_forget("anna", "--anyway").exit_code == 0
    assert world.layout.tombstones.exists()


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
@pytest.mark.usefixtures("home")
def test_runs_at_work_refuse_it_unless_they_are_not_to_be_minded(world, status):
    with instance() as running:
        for state in (status, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.NOT_STARTED):
            running.add_run(dg.DagsterRun(job_name=f"job_{state.value.lower()}", status=state))
    refused = churn_forget(ANNA)
    assert isinstance(refused.exception, RunsInFlightError)
    assert f"(job_{status.value.lower()})" in str(refused.exception)
    assert "job_success" not in str(refused.exception)
    assert "job_not_started" not in str(refused.exception)
    assert not world.layout.tombstones.exists()
    forced = churn_forget(ANNA, "--force", "--json")
    assert "Dagster's runs and its storage were not looked at" in json.loads(forced.stdout)["notes"]


def shown_by_a_check(*people):
    """Run an asset whose check shows rejected rows of people; return what Dagster keeps of it."""
    rows = [{"rule": "user_unknown", "user_id": one, "source_note": f"x,{one},y"} for one in people]

    @dg.asset(check_specs=[dg.AssetCheckSpec("within_contract", asset="validated_events")])
    def validated_events():
        sample = {"sample": dg.MetadataValue.md(as_markdown(rows)), "rows": 7}
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(passed=True, check_name="within_contract", metadata=sample)]
        )

    with instance() as running:
        assert dg.materialize([validated_events], instance=running).success


def samples():
    """What the newest evaluation of the check shows."""
    key = dg.AssetCheckKey(dg.AssetKey("validated_events"), "within_contract")
    with instance() as running:
        (record,) = running.event_log_storage.get_asset_check_execution_history(key, limit=5)
        (logged,) = running.all_logs(record.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    return [
        event.dagster_event.asset_check_evaluation_data.metadata["sample"].value for event in (record.event, logged)
    ]


@pytest.mark.parametrize("person", ["12", "zoë ünï", 'o"neil, the 3rd', "café|bar", ANNA])
@pytest.mark.usefixtures("home")
def test_dagster_s_checks_no_longer_show_the_person(person):
    shown_by_a_check(person, "123", f"{person}x")
    before = samples()
    (place,) = _surroundings(person, wait=0.0, force=False).other
    found = place.find()
    assert sorted(found.values()) == [1, 1]
    place.erase(sorted(found))
    assert place.find() == {}
    lines = before[0].split("\n")
    assert samples() == ["\n".join([*lines[:2], *lines[3:]])] * 2


def test_a_database_without_such_a_person_is_not_written_to():
    engine = sql.create_engine("sqlite://")
    with engine.begin() as connection:
        for table, column in (("event_logs", "event"), ("asset_check_executions", "evaluation_event")):
            connection.execute(sql.text(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {column} TEXT)"))
            connection.execute(sql.text(f'INSERT INTO {table} ({column}) VALUES (\'{{"a": "anna %_"}}\')'))

        @contextlib.contextmanager
        def connect():
            yield connection

        assert CheckSamples(connect, "anna").find() == {}
        assert CheckSamples(connect, "%").find() == {}


def until(condition):
    """Look again and again, for ten seconds at most."""
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came about")


def served(world):
    """Who stands in the log of the real days."""
    files = [path for path in world.log_folder.glob("*.jsonl") if "_20240" not in path.name]
    return [json.loads(line)["user_id"] for path in files for line in path.read_text().splitlines()]


def test_a_running_service_no_longer_knows_the_person(world, monkeypatch):
    monkeypatch.setattr(rotated_file, "CHECK_SECONDS", 0.0)
    paths = world.workspace.settings.paths
    settings = ServiceSettings(
        paths=paths, clock=ClockSettings(today=TODAY), serving=ServingSettings(reload_seconds=0.02)
    )
    with TestClient(create_app(settings)) as http:
        until(lambda: http.get("/ready").status_code == 200)
        assert http.get(f"/users/{ANNA}").json()["history"]
        for person in (ANNA, "p01", ANNA, "p02"):
            assert http.post("/predict", json={"user_id": person}).status_code == 200
        until(lambda: len(served(world)) == 4)

        def pause(_seconds):
            """As long as the service takes; somebody asks it for others meanwhile."""
            until(lambda: http.get(f"/users/{ANNA}").status_code == 404)
            assert http.post("/predict", json={"user_id": "p03"}).status_code == 200
            until(lambda: "p03" in served(world))

        receipt = world.forget(ANNA, pause=pause)
        assert receipt.state == "done"
        assert http.get(f"/users/{ANNA}").status_code == 404
        assert http.post("/predict", json={"user_id": ANNA}).status_code == 404
        assert http.get("/users/p01").json()["history"]
        assert http.post("/predict", json={"user_id": "p04"}).status_code == 200
    assert sorted(served(world)) == ["p01", "p02", "p03", "p04"]
    assert [path.name for path in world.layout.online_features.glob("*.keyed")] == [
        json.loads((world.layout.online_features / "current.json").read_text())["published"][0]["file"]
    ]
    rows = [row for file in read_log(world.log_folder, TODAY.replace(day=1), TODAY) for row in file.rows]
    assert ANNA not in {row.user_id for row in rows}
    assert mentions(world.folder / "data", ANNA) == set()

"""`churn clean` as a person at a terminal and a script meet it."""

import json

import pytest
from builders import files_of
from clean_world import AGES, TODAY, World, ago, put
from typer.testing import CliRunner

from churn_assets.commands.cleaning import app
from churn_assets.upkeep.exclusive import UpkeepBusyError, exclusive


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A deployment with files of many days, which this process is configured for."""
    found = World(tmp_path / "it").fill()
    settings = found.workspace.settings
    monkeypatch.setenv("CHURN_PATHS__DATA", str(settings.paths.data))
    monkeypatch.setenv("CHURN_PATHS__ARTIFACTS", str(settings.paths.artifacts))
    monkeypatch.setenv("CHURN_CLOCK__TODAY", TODAY.isoformat())
    monkeypatch.setenv("CHURN_CHURN__WINDOW_DAYS", str(settings.churn.window_days))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return found


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def test_the_command_of_the_contract_removes_old_lists_and_nothing_else(world):
    before = world.files()
    done = run("--predictions-older-than", "30d")
    assert done.exit_code == 0, done.output
    gone = before - world.files()
    old = [ago(age) for age in AGES if age > 30]
    assert gone == {path for day in old for path in world.by_kind(day)["predictions"]}
    assert "predictions  30 days  14       98 B" in done.stdout
    assert "14 items, 98 B removed" in done.stderr


def test_a_dry_run_shows_the_same_table_and_removes_nothing(world):
    before = files_of(world.folder)
    foretold = run("--predictions-older-than", "30d", "--quarantine-older-than", "2w", "--dry-run")
    assert files_of(world.folder) == before
    assert "dry run: nothing was" in foretold.stderr
    done = run("--predictions-older-than", "30d", "--quarantine-older-than", "2w")
    assert done.stdout == foretold.stdout
    assert len(done.stdout.splitlines()) == 3


def test_scripts_read_the_same_as_json(world):
    done = run("--raw-older-than", "1d", "--json")
    [kind] = json.loads(done.stdout)["kinds"]
    assert (kind["kind"], kind["items"], kind["problem"]) == ("raw", 4, None)
    assert [one["reason"] for one in kind["kept"]] == [
        "the feed of the coming days is compared with it",
        "the newest there is",
    ][: len(kind["kept"])]
    assert not world.layout.raw_events.path(ago(300)).exists()
    assert world.layout.user_daily.path(ago(300)).exists()


def test_without_options_the_settings_decide(world):
    put(world.layout.data / ".x.17-ab.part", age=TODAY - ago(3))
    done = run("--json")
    kinds = {kind["kind"]: kind for kind in json.loads(done.stdout)["kinds"]}
    assert set(kinds) == {
        "leftovers",
        "prediction log",
        "predictions",
        "reports",
        "quarantine",
        "features",
        "models",
        "runs",
    }
    assert kinds["leftovers"]["items"] == 1
    assert kinds["quarantine"]["limit"] == "90 days"
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--predictions-older-than", "6m"), "'6m' is no age: give days or weeks, such as 30d or 12w"),
        (("--raw-older-than", "0d"), "from 1 to 3,650 are possible"),
        (("--keep-models", "1"), "1 is not in the range x>=2"),
        (("--keep-models", "many"), "'many' is not a valid integer"),
    ],
)
@pytest.mark.usefixtures("world")
def test_a_limit_that_makes_no_sense_is_a_usage_error(world, arguments, said):
    before = world.files()
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.replace("│", " ").split())
    assert world.files() == before


def test_what_cannot_be_removed_is_told_with_what_was_freed_and_exit_code_one(world):
    stuck = world.layout.predictions_file(ago(90))
    stuck.unlink()
    put(stuck / "in the way")
    done = run("--predictions-older-than", "30d")
    assert done.exit_code == 1
    assert f"churn: predictions: {stuck}: " in done.stderr
    assert "7 items, 49 B removed" in done.stderr
    assert "Traceback" not in done.output


def test_while_something_is_backed_up_it_says_so(world, monkeypatch):
    monkeypatch.setattr("churn_assets.upkeep.clean.WAIT_SECONDS", 0.05)
    with exclusive(world.layout, "backing up"):
        refused = run("--predictions-older-than", "30d")
    assert isinstance(refused.exception, UpkeepBusyError)
    assert "backing up" in str(refused.exception)

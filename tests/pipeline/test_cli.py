"""The `churn` command as a person at a terminal and a script meet it."""

import json
from datetime import timedelta

import pytest
from deployed import DAY, Deployment, one_clear_line
from small_world import DAYS, TODAY
from typer.testing import CliRunner

from churn_assets.cli import app

COMMANDS = ("", "seed", "build", "retrain", "score", "drift", "status", "models", "models list", "models show")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A deployment in which nothing has run."""
    return Deployment.fresh(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert "Usage: " in shown.output
    assert len(shown.output.splitlines()) > 5


def test_status_after_the_first_run_needs_nobody(seeded):
    shown = seeded.run("status", "--json").expect(0).json
    assert shown["production model"] == seeded.registry.production().version
    assert shown["predictions"] == f"as of {DAY}"
    assert "not running" in shown["service"]
    assert shown["needs a person"] == "no"
    ticks = [line.split()[0] for line in shown["next ticks"].splitlines()]
    assert ticks == ["drift_daily", "batch_daily", "retrain_weekly", "clean_weekly"]
    assert "seed_job success" in shown["last runs"]


def test_status_says_when_predictions_are_behind(seeded):
    late = seeded.run("status", CHURN_CLOCK__TODAY=(TODAY + timedelta(days=5)).isoformat()).expect(3)
    assert "predictions are 5 days behind" in late.out


def test_the_list_of_models_marks_the_one_that_serves(seeded):
    rows = seeded.run("models", "list", "--json").expect().json
    assert {row["version"] for row in rows} == {summary.version for summary in seeded.registry.versions()}
    assert [row["version"] for row in rows if row[""] == "*"] == [seeded.registry.production().version]
    table = seeded.run("models", "list").expect().out
    assert all(row["version"] in table for row in rows)


def test_a_model_tells_everything_about_itself(seeded):
    version = seeded.registry.production().version
    shown = seeded.run("models", "show", version, "--json").expect().json
    assert shown["version"] == version
    assert shown["serves"] is True
    assert shown["problems"] == "none"
    assert "promoted" in shown["history"]
    assert (seeded.folder / shown["model card"]).is_file()


def test_no_model_yet_is_said_and_no_fault(empty):
    assert "churn seed" in empty.run("models", "list").expect().err
    assert empty.run("models", "list", "--json").expect().json == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("models", "show", "candidate_hgb_19990101T000000Z"), "no version 'candidate_hgb_19990101T000000Z'"),
        (("score", "--date", TODAY.isoformat()), f"{TODAY} is outside of the history"),
        (("drift", "--date", (TODAY - timedelta(days=DAYS + 1)).isoformat()), "is outside of the history"),
        (("build", "everything"), "`everything` is no stage; there are data, features, train, promote"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(seeded, arguments, said):
    error = one_clear_line(seeded.run(*arguments))
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("score", "--date", "yesterday"), ("score", "--top-k", "0"), ("sed",)])
def test_a_misspelt_command_is_a_usage_error(arguments):
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "Usage: " in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("trainin:\n  seed: 3\n", "trainin: unknown key; did you mean `training`?"),
        ("scoring:\n  top_k: all\n", "scoring.top_k: 'all' is refused"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_broken_configuration_is_refused_in_words(empty, tmp_path, content, said):
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)
    error = one_clear_line(empty.run("models", "list", CHURN_MLOPS_CONFIG=str(config)))
    assert said in error
    assert str(config) in error


def test_drift_exits_with_two_when_the_population_has_changed(deployment):
    calm = deployment.run("drift", "--json", lacking=["evidently"]).expect(0).json
    assert calm["status"] in {"OK", "WARN"}
    shift = {
        "CHURN_SOURCE__SYNTHETIC__DRIFT": "1.0",
        "CHURN_SOURCE__SYNTHETIC__DRIFT_FROM": (DAY - timedelta(days=14)).isoformat(),
    }
    deployment.run("build", "data", **shift).expect()
    alarm = deployment.run("drift", "--json", lacking=["evidently"], **shift).expect(2).json
    assert alarm["status"] == "FAIL"
    assert alarm["score_psi"] > 0.25
    assert json.loads((deployment.folder / alarm["report"]).read_text())["status"] == "FAIL"
    assert "drift alert" in deployment.run("status", **shift).expect(3).out

"""What runs at a fork: only what is pinned, with no more rights than reading, and no secrets."""

import re
import tomllib

import pytest
from towers import ROOT, read_yaml

PATH = ROOT / ".github" / "workflows" / "ci.yml"
WORKFLOW = read_yaml(PATH)
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_it_may_read_and_nothing_else():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())
    assert "secrets." not in PATH.read_text(encoding="utf-8")


def test_foreign_code_is_pinned_and_gets_no_credentials():
    used = [step for step in STEPS if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"]) for step in used)
    checkouts = [step for step in used if step["uses"].startswith("actions/checkout@")]
    assert len(checkouts) == len(WORKFLOW["jobs"])
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_every_job_ends_and_runs_on_a_machine_with_a_version():
    assert all(0 < job["timeout-minutes"] <= 120 for job in WORKFLOW["jobs"].values())
    assert all(re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"]) for job in WORKFLOW["jobs"].values())


def test_a_newer_push_ends_the_run_of_the_one_before():
    assert "github.ref" in WORKFLOW["concurrency"]["group"]
    assert WORKFLOW["concurrency"]["cancel-in-progress"]


def test_it_runs_on_every_python_that_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least, most = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    expected = [f"3.{minor}" for minor in range(least, most)]
    assert WORKFLOW["jobs"]["tests"]["strategy"]["matrix"]["python"] == expected


@pytest.mark.parametrize("target", ["lint", "test", ".venv/tested", "checks-tools"])
def test_it_calls_targets_that_there_are(target):
    called = " ".join(step.get("run", "") for step in STEPS)
    assert f"make {target} PYTHON=python" in called
    assert re.search(rf"(?m)^{re.escape(target)}:", (ROOT / "Makefile").read_text(encoding="utf-8"))


def test_the_files_that_it_names_are_there():
    text = PATH.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:tests|deployment)/[\w/]+(?:\.\w+)?", text))
    assert len(named) > 3
    assert {name for name in named if not (ROOT / name).exists()} == set()

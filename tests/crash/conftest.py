"""The matrix is run once, by a process of its own: a fork of this one would inherit the threads of other tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crash_points import Point
from crash_scenarios import LOOKING, SCENARIOS
from crash_world import SETTINGS

EVERY = {scenario.name for scenario in (*SCENARIOS, LOOKING)}
DRIVER = Path(__file__).with_name("crash_driver.py")
PATIENCE = 540


@pytest.fixture(scope="session")
def killed(request, tmp_path_factory):
    """What became of each scenario that was asked for, by its name: its points, and what went wrong."""
    wanted = sorted({name for item in request.session.items for name in _asked_for(item)})
    folder = tmp_path_factory.mktemp("killed")
    foreign = ("CHURN_", "DAGSTER_", "PYTEST_")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with (folder / "said").open("w+", encoding="utf-8") as said:
        line = [sys.executable, DRIVER, folder, *wanted]
        done = subprocess.run(line, env=ours | SETTINGS, stdout=said, stderr=said, timeout=PATIENCE, check=False)
        said.seek(0)
        assert done.returncode == 0, said.read()[-5000:]
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in wanted}
    return {
        name: ([Point(**point) for point in report["points"]], report["problems"]) for name, report in found.items()
    }


def _asked_for(item):
    """Names of the scenarios that a test looks at."""
    if "killed" not in getattr(item, "fixturenames", ()):
        return set()
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return {given["scenario"].name} if "scenario" in given else EVERY

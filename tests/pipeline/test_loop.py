"""Weeks in the life of a small platform, with real schedules, sensors and jobs: `benchmarks/year.py` in short."""

import itertools
import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from small_world import SMALL_WORLD, TODAY

from churn_assets.layout import Layout
from churn_serving.settings import Paths

SCRIPT = Path(__file__).with_name("simulated.py")
SYNTHETIC = "CHURN_SOURCE__SYNTHETIC__"
KEPT = {name: value for name, value in SMALL_WORLD.items() if name != "CHURN_CLOCK__TODAY"}
DAYS, OFF, ON = 16, 5, 8
SHIFTED_ON = 4


def live(folder, days, *, outage=(-1, -1), **settings):
    """What happened in so many days, and the deployment's layout."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CHURN_", "DAGSTER_", "PYTEST_"))}
    named = [f"{name}={value}" for name, value in (KEPT | settings).items()]
    line = [sys.executable, str(SCRIPT), str(folder), TODAY.isoformat(), str(days), *map(str, outage), *named]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=ours, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), Layout(Paths(data=folder / "data", artifacts=folder / "artifacts"))


@pytest.mark.slow
def test_quiet_weeks_with_an_outage(tmp_path):
    life, layout = live(tmp_path, DAYS, outage=(OFF, ON))
    start = date.fromisoformat(life["start"])
    lived = [start + timedelta(days=number - 1) for number in range(DAYS) if not OFF <= number <= ON]
    missed = [start + timedelta(days=number - 1) for number in range(OFF, ON + 1)]
    assert life["failures"] == []
    assert not life["alerts"]
    assert set(life["feed"].values()) == {"OK"}
    assert [day for day in lived if layout.predictions_file(day).exists()] == lived
    assert not [day for day in missed if layout.predictions_file(day).exists()]
    assert set(missed) <= set(layout.user_daily.days())
    assert set(missed) <= set(layout.labels.days())
    sundays = [day for day in lived if (day + timedelta(days=1)).weekday() == 6]
    assert [trigger for _, trigger, _, _ in life["retrains"]] == ["retrain_weekly"] * len(sundays)
    assert list(life["performance"].values())[-1] != "UNKNOWN", "labels of a week ago have matured"


@pytest.mark.slow
def test_a_shift_alerts_and_is_answered_once(tmp_path):
    onset = TODAY - timedelta(days=DAYS - 1 - SHIFTED_ON)
    shift = {f"{SYNTHETIC}DRIFT": "1.0", f"{SYNTHETIC}DRIFT_FROM": onset.isoformat()}
    life, _ = live(tmp_path, DAYS, CHURN_QUALITY__MIN_VOLUME="0.1", **shift)
    assert life["failures"] == []
    before = [day for name, day in life["alerts"].items() if date.fromisoformat(day) < onset]
    assert not before
    drift = [day for name, day in life["alerts"].items() if "@drift@" in name]
    assert drift
    assert (date.fromisoformat(min(drift)) - onset).days <= 10
    answers = [date.fromisoformat(day) for day, trigger, _, _ in life["retrains"] if trigger.endswith("_alert_retrain")]
    assert answers
    assert all((later - earlier).days >= 7 for earlier, later in itertools.pairwise(answers))

"""The loop with Dagster's real daemon: an alert is answered by one retrain, whatever becomes of the daemon."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import dagster as dg
import pytest
from deployed import DAY, ROOT, Deployment

from churn_assets.training.assets import ALERT

PATIENCE = 180
TICKS = 5
FAST = {
    "CHURN_RETRAINING__LOOK_EVERY_SECONDS": "1",
    "CHURN_RETRAINING__RETRY_AFTER_SECONDS": "1",
    "CHURN_DRIFT__EVIDENTLY": "false",
}
TOO_SHORT = {"CHURN_TRAINING__HISTORY_DAYS": "1"}
"""Every retrain fails: no date has features and a label."""


@contextlib.contextmanager
def daemon(deployment, **changes):
    """A daemon with its code location, in a session of its own; ended with all that it started."""
    settings = deployment.settings | FAST | changes
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CHURN_", "DAGSTER_", "PYTEST_"))}
    environment = ours | settings | {"DAGSTER_HOME": str(deployment.folder / "dagster"), "OMP_NUM_THREADS": "1"}
    with (deployment.folder / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", str(ROOT / "workspace.yaml")],
            cwd=deployment.folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def alarmed(deployment):
    """A deployment whose newest drift report alerts: a real shift, looked at on the day after it was seen."""
    shift = {
        "CHURN_SOURCE__SYNTHETIC__DRIFT": "1.0",
        "CHURN_SOURCE__SYNTHETIC__DRIFT_FROM": (DAY - timedelta(days=14)).isoformat(),
    }
    shifted = Deployment(deployment.folder, deployment.settings | shift)
    shifted.run("build", "data").expect()
    shifted.run("build", "features").expect()
    shifted.run("drift", CHURN_DRIFT__EVIDENTLY="false").expect(2)
    return shifted


def answers(deployment):
    """The runs that answer an alert, oldest first."""
    with deployment.instance() as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="retrain_job"))
        return [run for run in reversed(runs) if ALERT in run.tags]


def until(condition, what, log):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}:\n{log.read_text()[-3000:]}")


def ticks(deployment):
    """How often the sensor has looked."""
    with deployment.instance() as instance:
        states = [s for s in instance.all_instigator_state() if s.instigator_name == "drift_alert_retrain"]
        return sum(len(instance.get_ticks(s.instigator_origin_id, s.selector_id, limit=500)) for s in states)


def some_more_ticks(deployment, log):
    """Let the sensor look some more."""
    before = ticks(deployment)
    until(lambda: ticks(deployment) >= before + TICKS, "the sensor does not look", log)


@pytest.mark.slow
def test_one_retrain_answers_an_alert_though_daemons_die_and_are_two(alarmed):
    log = alarmed.folder / "daemon.log"
    decided = len(alarmed.registry.history())
    with daemon(alarmed) as first:
        until(lambda: answers(alarmed), "nobody asked for a retrain", log)
        first.kill()  # the run is queued, or has just begun
        with daemon(alarmed), daemon(alarmed):
            until(lambda: answers(alarmed)[0].is_finished, "the retrain does not end", log)
            some_more_ticks(alarmed, log)
    (run,) = answers(alarmed)
    report = json.loads(alarmed.layout.latest_drift.read_text())
    assert run.is_success
    assert run.tags[ALERT] == f"{report['alert']['id']}#0"
    assert run.tags["churn/trigger"] == "drift_alert_retrain"
    decisions = [one for one in alarmed.registry.history()[decided:] if one.action in {"promoted", "refused"}]
    assert {one.actor for one in decisions} == {f"run {run.run_id[:8]}"}


@pytest.mark.slow
def test_a_retrain_that_fails_is_tried_again_and_then_it_is_the_answer(alarmed):
    log = alarmed.folder / "daemon.log"
    with daemon(alarmed, **TOO_SHORT):
        until(lambda: [run for run in answers(alarmed) if run.is_failure], "no retrain failed", log)
    with daemon(alarmed):
        until(lambda: [run for run in answers(alarmed) if run.is_success], "no retrain came through", log)
        some_more_ticks(alarmed, log)
    runs = answers(alarmed)
    assert [run.status.value for run in runs].count("SUCCESS") == 1
    assert len(runs) <= 3
    assert len({run.tags[ALERT] for run in runs}) == 1
    assert len({run.tags["dagster/run_key"] for run in runs}) == len(runs)

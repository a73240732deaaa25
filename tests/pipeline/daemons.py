"""Dagster's real daemon, an alert for it to answer, and what can be seen of it from outside."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import dagster as dg
from deployed import DAY, ROOT, Deployment

from churn_assets.training.assets import ALERT

PATIENCE = 180
TICKS = 5
FAST = {
    "CHURN_RETRAINING__LOOK_EVERY_SECONDS": "1",
    "CHURN_RETRAINING__RETRY_AFTER_SECONDS": "1",
    "CHURN_DRIFT__EVIDENTLY": "false",
}


@contextlib.contextmanager
def daemon(deployment, log="daemon.log", **changes):
    """A daemon with its code location, in a session of its own; ended with all that it started."""
    settings = deployment.settings | FAST | changes
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CHURN_", "DAGSTER_", "PYTEST_"))}
    environment = ours | settings | {"DAGSTER_HOME": str(deployment.folder / "dagster"), "OMP_NUM_THREADS": "1"}
    with (deployment.folder / log).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", str(ROOT / "workspace.yaml")],
            cwd=deployment.folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alarm(deployment):
    """Let its newest drift report alert: a real shift, looked at on the day after it was seen."""
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
        time.sleep(0.5)
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

"""One upkeep at a time, and a dead one is in nobody's way."""

import json
import os
import signal
import subprocess
import sys

import pytest

from churn_assets.layout import Layout
from churn_assets.upkeep.exclusive import LOCK, UpkeepBusyError, exclusive
from churn_serving.owned_lock import LockHeldError
from churn_serving.settings import Paths

HOLDER = """
import sys
from pathlib import Path
from churn_assets.layout import Layout
from churn_assets.upkeep.exclusive import exclusive
from churn_serving.settings import Paths
with exclusive(Layout(Paths(artifacts=Path(sys.argv[1]))), "cleaning"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path):
    return Layout(Paths(data=tmp_path / "data", artifacts=tmp_path / "artifacts"))


@pytest.fixture
def holder(layout):
    """Another process that holds the lock until its input ends."""
    line = [sys.executable, "-c", HOLDER, str(layout.artifacts)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def owner_file(layout):
    return layout.artifacts / f"{LOCK}.owner.json"


def test_a_second_upkeep_is_refused_and_told_whom_it_would_wait_for(layout, holder):
    with pytest.raises(UpkeepBusyError) as refused, exclusive(layout, "backing up", timeout=0.05):
        pytest.fail("two at a time")
    assert "backing up has to wait" in str(refused.value)
    assert '"doing": "cleaning"' in str(refused.value)
    assert f'"pid": {holder.pid}' in str(refused.value)


def test_it_waits_for_one_that_ends_in_time(layout, holder):
    holder.stdin.close()
    with exclusive(layout, "backing up", timeout=30):
        assert json.loads(owner_file(layout).read_text())["doing"] == "backing up"


def test_one_that_was_killed_is_in_nobodys_way(layout, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=30)
    left = json.loads(owner_file(layout).read_text())
    assert left["pid"] == holder.pid
    with exclusive(layout, "backing up", timeout=30):
        assert json.loads(owner_file(layout).read_text())["pid"] == os.getpid()


def test_it_is_free_again_whatever_happens_inside(layout):
    for number in range(3):
        with pytest.raises(ZeroDivisionError), exclusive(layout, f"dividing {number}", timeout=0.05):
            raise ZeroDivisionError
    assert not owner_file(layout).exists()


def test_another_lock_that_is_held_inside_is_not_taken_for_this_one(layout):
    with pytest.raises(LockHeldError, match="another lock"), exclusive(layout, "backing up", timeout=0.05):
        raise LockHeldError("another lock")

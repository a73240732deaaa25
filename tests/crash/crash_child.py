"""Work in a fork of this process, which may die of it."""

import contextlib
import json
import os
import signal
import traceback
from dataclasses import dataclass

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """How a child has ended.

    Attributes:
        signal: What killed it; 0 if nothing did.
        problem: What it found wrong.
        content: What it handed over.
    """

    signal: int
    problem: str = ""
    content: object = None

    @property
    def wrong(self):
        """What is wrong, in words; empty if nothing is."""
        return f"killed by {signal.Signals(self.signal).name}" if self.signal else self.problem


@contextlib.contextmanager
def bounded():
    """Let what hangs fail.

    Raises:
        TimeoutError: It took too long.
    """

    def stop(*_):
        raise TimeoutError(f"it hung for {PATIENCE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def in_child(work, told):
    """Do something in a fork of this process, and wait for it.

    Args:
        work: Returns what is handed over, as JSON has it.
        told: File for that.
    """
    told.unlink(missing_ok=True)
    if (pid := os.fork()) == 0:
        _do(work, told)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return Ended(os.WTERMSIG(status))
    problem, content = json.loads(told.read_text())
    return Ended(0, problem, content)


def _do(work, told):
    signal.alarm(PATIENCE_SECONDS)  # what hangs is killed, and told
    try:
        outcome = ["", work()]
    except BaseException as error:  # noqa: BLE001 - the parent tells it
        outcome = [f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-5)}", None]
    told.write_text(json.dumps(outcome))
    os._exit(0)

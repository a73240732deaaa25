"""What each worker of this server serves, so that any of them can tell of all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from churn_serving.atomic import write_bytes
from churn_serving.schemas import WorkerState
from churn_serving.telemetry import MULTIPROCESS

if TYPE_CHECKING:
    from collections.abc import Mapping


class WorkerStates:
    """The states of this process and of its siblings.

    Args:
        folder: Where workers leave their state for each other; None if there is one worker only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._own: WorkerState | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> WorkerStates:
        """Return the states of the server that this process is part of."""
        folder = environment.get(MULTIPROCESS)
        return cls(Path(folder) if folder else None)

    def publish(self, state: WorkerState) -> None:
        """Tell the others what this process serves."""
        self._own = state
        if self._folder is not None:
            with contextlib.suppress(OSError):  # the service is worth more than what is told of it
                write_bytes(self._folder / f"worker_{state.pid}.json", msgspec.json.encode(state))

    def all(self) -> list[WorkerState]:
        """Return the states of all living workers, by process id."""
        if self._folder is None:
            return [self._own] if self._own else []
        found = (_read(path) for path in sorted(self._folder.glob("worker_*.json")))
        return sorted((state for state in found if state and _lives(state.pid)), key=lambda state: state.pid)


def _read(path: Path) -> WorkerState | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=WorkerState)
    except (OSError, msgspec.DecodeError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

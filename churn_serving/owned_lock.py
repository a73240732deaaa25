"""A lock that says who holds it and what for.

The lock itself is the system's (`flock`, or `LockFileEx` on Windows): it goes with the process that holds it, however
that process dies, and on NFSv4 with the lease of a host that dies. So it needs no expiry that a slow holder could
outlive: what is written beside it is for people, and never decides.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from churn_serving.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path


class LockHeldError(RuntimeError):
    """Another process holds the lock; the message says which, where, since when and what for."""


@contextlib.contextmanager
def owned_lock(path: Path, doing: str, *, timeout: float, since: datetime) -> Iterator[None]:
    """Hold a lock while the block runs; its holder is written into `<path>.owner.json`.

    Args:
        path: The lock file; its folder is made if need be.
        doing: What for.
        timeout: Seconds to wait for another holder.
        since: The time, UTC.

    Raises:
        LockHeldError: Another process holds it for longer.
        OSError: The folder or the lock file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = path.with_name(f"{path.name}.owner.json")
    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeldError(f"locked for {timeout:g} s; holder: {_holder(owner)}") from None
    try:
        with contextlib.suppress(OSError):  # a full disk must not keep out who makes room
            write_json(owner, {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "doing": doing})
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _holder(owner: Path) -> str:
    try:
        return " ".join(owner.read_text().split())
    except OSError:
        return "unknown"

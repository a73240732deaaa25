"""Who asks for a run: of two daemons that have been started by mistake, one.

Dagster asks whether a run with the same key exists before it makes one; two daemons may both find none. So whoever is
about to ask leaves a file first. A daemon may die between the file and the run, so a claim counts for a short time
only; by then either there is a run, or nobody is about to make one.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from churn_serving import atomic

if TYPE_CHECKING:
    from pathlib import Path

LASTS = timedelta(minutes=2)
"""How long a claim counts: much longer than a tick takes."""

LOCK_SECONDS = 5.0


def claim(folder: Path, key: str, now: datetime) -> bool:
    """Claim a key for a while.

    Args:
        folder: Where claims are kept; shared by everybody who may ask.
        key: What is about to be asked for.
        now: The time, with a time zone.

    Returns:
        Whether it is ours; else somebody else is at it.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            if path.exists() and now - _claimed_at(path) < LASTS:
                return False
            atomic.write_text(path, now.isoformat())
            return True
    except Timeout:
        return False


def _claimed_at(path: Path) -> datetime:
    try:
        return datetime.fromisoformat(path.read_text())
    except ValueError:  # a claim that cannot be read counts for nothing
        return datetime.min.replace(tzinfo=UTC)

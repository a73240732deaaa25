"""One at a time: who cleans, backs up, restores or forgets keeps the others of them out.

The lock is the system's own, on one file in `paths.artifacts`: it is free as soon as its holder dies, however that
process dies; on NFSv4 a machine that dies loses it with its lease, after some 90 seconds. That is its only expiry. One
that counted minutes would be outlived by a holder that is merely slow, and two upkeeps would then be mixed, which is
worse than waiting. What is written beside the lock is for people, and is overwritten by the next holder.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from churn_serving.owned_lock import LockHeldError, owned_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_assets.layout import Layout

LOCK = ".upkeep.lock"
"""In `paths.artifacts`, with `.upkeep.lock.owner.json` beside it; never copied, never cleaned."""


class UpkeepBusyError(RuntimeError):
    """Another process cleans, backs up, restores or forgets; the message says which, where and since when."""


@contextlib.contextmanager
def exclusive(layout: Layout, doing: str, *, timeout: float = 10.0) -> Iterator[None]:
    """Keep every other upkeep of a deployment out while the block runs.

    Args:
        layout: Of which deployment.
        doing: What for, such as `backing up`; others are told.
        timeout: Seconds to wait for another process.

    Raises:
        UpkeepBusyError: Another process holds the lock for longer than that; nothing was done.
        OSError: The folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(owned_lock(layout.artifacts / LOCK, doing, timeout=timeout, since=datetime.now(UTC)))
        except LockHeldError as error:
            raise UpkeepBusyError(
                f"{doing} has to wait for another upkeep of {layout.artifacts}: {error}; try again when it is done"
            ) from None
        yield

"""Published tables that are published no longer: the publisher clears them with the next one, and this without it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from churn_assets.upkeep.retention import Item
from churn_serving.online import pointer
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.pointer import SUFFIX, Pointer
from churn_serving.online.publisher import GRACE, Publisher

if TYPE_CHECKING:
    from pathlib import Path

IN_USE = "a service may still read it"


def published_items(folder: Path, now: datetime, served: str) -> list[Item]:
    """Return a folder's tables, oldest first.

    A published table is as old as its day, any other as the moment at which it was replaced.

    Args:
        folder: Where the pointer lies; need not exist.
        now: The time, UTC.
        served: What needs a published table.
    """
    try:
        found = pointer.decode(pointer.read_bytes(folder), folder)
    except OnlineStoreError:
        return []
    items = (_item(path, found, now, served) for path in sorted(folder.glob(f"*{SUFFIX}")))
    return sorted((item for item in items if item is not None), key=lambda item: (item.day, item.name))


def remove_unpublished(path: Path) -> None:
    """Remove a table, unless it has been published again meanwhile.

    Raises:
        OSError: It cannot be removed.
        OnlineStoreError: A publisher holds the lock for too long, or the pointer is damaged.
    """
    folder = path.parent
    with Publisher(folder, "", keep=1).locked():
        published = pointer.decode(pointer.read_bytes(folder), folder).published
        if path.name not in {entry.file for entry in published}:
            path.unlink(missing_ok=True)


def _item(path: Path, found: Pointer, now: datetime, served: str) -> Item | None:
    days = {entry.file: entry.as_of_date for entry in found.published}
    since = {retired.file: retired.since for retired in found.retired}
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    if path.name in days:
        return Item(str(path), days[path.name], stat.st_size, served)
    left = since.get(path.name) or datetime.fromtimestamp(stat.st_mtime, UTC)
    return Item(str(path), left.date(), stat.st_size, IN_USE if now - left < GRACE else "")

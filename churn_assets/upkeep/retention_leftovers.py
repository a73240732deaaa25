"""What killed processes have left: parts of files, what was put aside, cards of versions that are gone."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.upkeep.retention import Item, Plan, plan_of
from churn_assets.upkeep.retention_models import cards_left
from churn_serving.atomic import PART_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_assets.layout import Layout

PART_AGE = timedelta(hours=1)
"""A part that was written to less long ago may be at work."""

ASIDE_AGE = timedelta(days=1)
"""Likewise what engines and validation put aside: a run takes hours at most."""


def plan_leftovers(layout: Layout, now: datetime) -> Plan:
    """Plan to remove what no living process can own.

    Args:
        layout: Where.
        now: The time, UTC.
    """
    parts = (
        path
        for folder in (layout.data, layout.artifacts)
        for path in folder.rglob(f".*{PART_SUFFIX}")
        if path.is_file() and layout.temporary not in path.parents
    )
    items = [*_older(parts, now - PART_AGE), *_older(_aside(layout), now - ASIDE_AGE)]
    items += _older(iter(cards_left(layout)), now - PART_AGE)
    return plan_of("leftovers", "no longer written", sorted(items, key=lambda item: item.name), _remove)


def _aside(layout: Layout) -> Iterator[Path]:
    return layout.temporary.glob("*")


def _older(paths: Iterator[Path], limit: datetime) -> Iterator[Item]:
    for path in paths:
        try:
            inner = [path, *path.rglob("*")] if path.is_dir() else [path]
            stats = [one.stat() for one in inner]
        except FileNotFoundError:
            continue
        changed = datetime.fromtimestamp(max(stat.st_mtime for stat in stats), UTC)
        size = sum(stat.st_size for one, stat in zip(inner, stats, strict=True) if not one.is_dir())
        if changed < limit:
            yield Item(str(path), changed.date(), size)


def _remove(item: Item) -> None:
    path = Path(item.name)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

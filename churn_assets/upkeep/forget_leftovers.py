"""What killed processes have left behind, which may hold anybody; and a last look at everything else."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from churn_serving.atomic import PART_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from churn_assets.layout import Layout

LEAST_LETTERS = 5
"""Shorter ids, and numbers, stand by chance in many files that are about nobody."""

FRESH_SECONDS = 3600.0
"""What was written to less long ago may be at work, if anything is."""

SEARCHED = frozenset({".parquet", ".keyed", ".csv", ".jsonl"})
"""Files of these kinds below `data` were searched row by row."""


def remove_leftovers(layout: Layout, *, at_rest: bool) -> str:
    """Remove parts of files below `data`, and what engines put aside; whom they hold cannot be told.

    Args:
        layout: Where.
        at_rest: Whether no run is at work, so that all of it is of dead processes; else what is fresh stays.

    Returns:
        What was done, in words; empty if there was nothing.
    """
    limit = time.time() - (0.0 if at_rest else FRESH_SECONDS)
    old = [path for path in _left(layout) if path.lstat().st_mtime <= limit]
    for path in old:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return f"{len(old)} leftovers of dead processes removed, whomever they held" if old else ""


def remains(layout: Layout, user_id: str) -> list[str]:
    """Files of other kinds in which the id stands, to be told; nothing of ours writes ids there.

    Ids that are short or numbers are not searched for.
    """
    if len(user_id) < LEAST_LETTERS or user_id.isdecimal():
        return []
    needle = user_id.encode()
    return [f"the id stands in {path}: look at it" for path in _others(layout) if needle in path.read_bytes()]


def _left(layout: Layout) -> list[Path]:
    parts = (path for path in layout.data.rglob(f".*{PART_SUFFIX}") if layout.temporary not in path.parents)
    return [*sorted(layout.temporary.glob("*")), *sorted(parts)]


def _others(layout: Layout) -> Iterator[Path]:
    for folder in (layout.data, layout.artifacts):
        for path in sorted(folder.rglob("*")):
            searched = path.suffix in SEARCHED and layout.data in path.parents
            if path.is_file() and not searched:
                yield path

"""What a clean-up has come to, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from churn_assets.upkeep.retention import Item, Kept, Plan


@dataclass(frozen=True)
class Cleared:
    """What became of one kind.

    Attributes:
        kind: Such as `predictions`.
        limit: In words.
        items: How many were removed; in a dry run, would be.
        size: Bytes that they took.
        oldest: Day of the oldest of them.
        newest: Day of the newest.
        kept: What stays although it is beyond the limit.
        problem: Why not all was removed; empty if it was.
    """

    kind: str
    limit: str
    items: int
    size: int
    oldest: date | None
    newest: date | None
    kept: tuple[Kept, ...]
    problem: str = ""

    @classmethod
    def of(cls, plan: Plan, removed: Sequence[Item], problem: str = "") -> Cleared:
        """What a plan has come to."""
        days = [item.day for item in removed]
        return cls(
            kind=plan.kind,
            limit=plan.limit,
            items=len(removed),
            size=sum(item.size for item in removed),
            oldest=min(days, default=None),
            newest=max(days, default=None),
            kept=plan.kept,
            problem=problem,
        )

    def as_row(self) -> dict[str, Any]:
        """A line of the table."""
        kept = "; ".join(f"{one.items} since {one.oldest}: {one.reason}" for one in self.kept)
        return {
            "kind": self.kind,
            "limit": self.limit,
            "removed": self.items,
            "size": in_words(self.size),
            "oldest": self.oldest,
            "newest": self.newest,
            "kept because": kept,
            "problem": self.problem,
        }

    def as_json(self) -> dict[str, Any]:
        """The same for machines; sizes in bytes."""
        kept = [
            {"reason": one.reason, "items": one.items, "oldest": one.oldest, "newest": one.newest} for one in self.kept
        ]
        row = {"kind": self.kind, "limit": self.limit, "items": self.items, "bytes": self.size}
        return row | {"oldest": self.oldest, "newest": self.newest, "kept": kept, "problem": self.problem or None}


@dataclass(frozen=True)
class Cleaned:
    """What a clean-up has done, or would do.

    Attributes:
        is_dry: Whether nothing was removed.
        kinds: One entry a kind.
    """

    is_dry: bool
    kinds: tuple[Cleared, ...]

    @property
    def problems(self) -> list[str]:
        """What could not be cleaned, a line a kind."""
        return [f"{one.kind}: {one.problem}" for one in self.kinds if one.problem]

    @property
    def summary(self) -> str:
        """One line."""
        items, size = sum(one.items for one in self.kinds), sum(one.size for one in self.kinds)
        did = "would be removed (dry run: nothing was)" if self.is_dry else "removed"
        return f"{items:,} items, {in_words(size)} {did}"

    def as_json(self) -> dict[str, Any]:
        """For machines; sizes in bytes."""
        return {
            "dry_run": self.is_dry,
            "items": sum(one.items for one in self.kinds),
            "bytes": sum(one.size for one in self.kinds),
            "kinds": [one.as_json() for one in self.kinds],
        }


def in_words(size: int) -> str:
    """Bytes as people read them."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"

"""What may go and what stays: ages, limits and plans of the clean-up, whatever it is that is cleaned."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from churn_assets.settings import RetentionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LONGEST_DAYS = 3650
UNIT_DAYS = {"d": 1, "w": 7}


class CleanError(RuntimeError):
    """Something could not be cleaned; the message says what, and what to do."""


def parse_age(text: str) -> int:
    """Return the days of an age such as `30d` or `12w`.

    Raises:
        ValueError: It is none, or not between 1 and 3,650 days.
    """
    match = re.fullmatch(r"(\d{1,6})([dw])", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no age: give days or weeks, such as 30d or 12w")
    days = int(match[1]) * UNIT_DAYS[match[2]]
    if not 1 <= days <= LONGEST_DAYS:
        raise ValueError(f"{text!r} is {days:,} days: from 1 to {LONGEST_DAYS:,} are possible")
    return days


@dataclass(frozen=True)
class Limits:
    """What one clean-up keeps.

    Attributes:
        retention: Days by kind, and the number of versions; None leaves a kind alone.
        leftovers: Whether what killed processes have left is removed as well.
    """

    retention: RetentionSettings
    leftovers: bool

    @classmethod
    def chosen(cls, settings: RetentionSettings, **given: int | None) -> Limits:
        """Return those of the settings; but if any limit is given, that one alone.

        Args:
            settings: As configured.
            given: By the names of the settings; None for one that was not given.
        """
        named = {name: value for name, value in given.items() if value is not None}
        if not named:
            return cls(settings, leftovers=True)
        nothing: dict[str, int | None] = dict.fromkeys(RetentionSettings.model_fields)
        return cls(RetentionSettings.model_validate(nothing | named), leftovers=False)


@dataclass(frozen=True)
class Item:
    """Something that is removed as a whole.

    Attributes:
        name: Its path, version or run.
        day: What its age counts from.
        size: Bytes that it takes on disk.
        needed: What needs it, however old it is; empty if nothing does.
    """

    name: str
    day: date
    size: int
    needed: str = ""


@dataclass(frozen=True)
class Kept:
    """Items that stay although they are beyond the limit.

    Attributes:
        reason: What needs them.
        items: How many.
        oldest: Day of the oldest.
        newest: Day of the newest.
    """

    reason: str
    items: int
    oldest: date
    newest: date


@dataclass(frozen=True)
class Plan:
    """What becomes of one kind.

    Attributes:
        kind: Such as `predictions`.
        limit: In words, such as `30 days`.
        items: What is removed, in this order: wherever that stops, what is left is consistent, and the next clean-up
            finds it.
        kept: What stays although it is beyond the limit.
        remove: Removes an item; that it has gone already is no fault.
        finish: Follows the last removal.
    """

    kind: str
    limit: str
    items: tuple[Item, ...]
    kept: tuple[Kept, ...]
    remove: Callable[[Item], None]
    finish: Callable[[Sequence[Item]], None] | None = None


def plan_by_age(  # noqa: PLR0913 - what a plan is made of, by name
    kind: str,
    items: Iterable[Item],
    *,
    days: int,
    today: date,
    remove: Callable[[Item], None],
    finish: Callable[[Sequence[Item]], None] | None = None,
) -> Plan:
    """Plan to remove what is more than so many days old and not needed.

    Args:
        kind: Such as `predictions`.
        items: All there are, in the order of their removal.
        days: The limit.
        today: What ages are counted to.
        remove: Removes an item.
        finish: Follows the last removal.
    """
    limit = today - timedelta(days=days)
    old = [item for item in items if item.day < limit]
    return plan_of(kind, f"{days} day{'s' if days > 1 else ''}", old, remove, finish)


def plan_of(
    kind: str,
    limit: str,
    old: Sequence[Item],
    remove: Callable[[Item], None],
    finish: Callable[[Sequence[Item]], None] | None = None,
) -> Plan:
    """Plan to remove those of the items beyond the limit that nothing needs."""
    going = tuple(item for item in old if not item.needed)
    reasons = Counter(item.needed for item in old if item.needed)
    kept = []
    for reason, count in sorted(reasons.items()):
        days = [item.day for item in old if item.needed == reason]
        kept.append(Kept(reason, count, min(days), max(days)))
    return Plan(kind, limit, going, tuple(kept), remove, finish)

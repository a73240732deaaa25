"""The rules that tell a broken feed: each looks at one day beside the days before it, and says what it found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Literal

import msgspec

from churn_assets.monitoring.feed_profile import REQUIRED
from churn_assets.monitoring.feed_usual import (
    FEWEST_DAYS,
    Steady,
    Volume,
    VolumeRule,
    judge_volume,
    levels,
    may_be_none,
    reached_mostly,
    recent_days,
    steady,
    typical,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from churn_assets.monitoring.feed_profile import ColumnProfile, FeedProfile
    from churn_assets.settings import QualitySettings

Kind = Literal["volume_low", "volume_high", "nulls", "duplicates", "scale", "cut_off", "empty", "stale"]

FEWEST_ROWS = 20
"""Of fewer rows neither a median nor a share says anything."""

FEWEST_OF_TYPE = 50
"""Event types that are usually rarer may be missing by chance."""

TYPE_SHARE = 0.5
"""People may give up one thing more than all, and some things have their days, such as deadlines: a type has half the
limit of the whole, of what it reaches on nine days of ten."""

EARLY_SECONDS = 3 * 3600.0
"""A feed that ends so much earlier than usual was cut off; changes of clocks and habits move less."""

EARLY_SPREADS = 17.0
"""So many of its spreads as well: the time left after the last event is distributed exponentially, with a long tail."""

_DO = {
    "volume_low": "Look for what the source has not delivered, deliver it, and build the day again. If fewer people "
    "came indeed, nothing is to be done: a level that lasts becomes the usual.",
    "volume_high": "Look for rows that were delivered too often or do not belong here, and build the day again. If "
    "more people came indeed, nothing is to be done: a level that lasts becomes the usual.",
    "nulls": "Look for the column at the source (renamed, emptied, another format?), mend the mapping or the source, "
    "and build the days since then again.",
    "duplicates": "Look for files or batches that were delivered twice, remove them, and build the day again.",
    "scale": "Find out in which unit the source delivers, convert there, and build the days since then again. If the "
    "new unit is meant, bring the history to it too: no model can learn from a mixture.",
    "cut_off": "Let the source deliver the rest of the day, and build it again.",
    "empty": "See whether the source delivers at all (`churn status`), and build the day again once it has.",
    "stale": "The source has stopped delivering: mend it, then build the missing days again.",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is broken.

    Attributes:
        kind: Which rule found it.
        event_type: Where: rows of this type; None for all.
        column: Where: in this column; None for whole rows.
        value: What was found: events, a share, the column's value, or seconds after midnight UTC.
        usual: What is usual.
        limit: What would have been no fault yet.
        words: What and where, in words.
        what_to_do: In words.
    """

    kind: Kind
    event_type: str | None = None
    column: str | None = None
    value: float
    usual: float
    limit: float
    words: str
    what_to_do: str


@dataclass(frozen=True)
class Case:
    """A day to be judged.

    Attributes:
        today: The day.
        past: The days before it, oldest first.
        settings: The limits.
    """

    today: FeedProfile
    past: Sequence[FeedProfile]
    settings: QualitySettings

    @cached_property
    def recent(self) -> list[FeedProfile]:
        """The days before it that volumes are compared with."""
        return [one for one in self.past if (self.today.day - one.day).days <= self.settings.baseline_days]

    @property
    def weekday(self) -> str:
        """The day's name."""
        return f"{self.today.day:%A}"


def nothing_came(case: Case, *, known: bool) -> list[Finding]:
    """An empty day; no fault where so few people come that there may be none, on this weekday at least."""
    today = case.today.day
    if known and may_be_none(min(levels(today, {one.day: float(one.users) for one in case.recent}))):
        return []
    usual = typical(today, {one.day: float(one.rows) for one in case.recent}) if case.recent else 0.0
    yesterday = [one for one in case.past if one.day == today - timedelta(days=1)]
    if not yesterday or yesterday[0].rows:
        return [_finding("empty", value=0.0, usual=usual, limit=1.0, words=f"Not one event came on {today}.")]
    last = max((one.day for one in case.past if one.rows), default=None)
    since = f"since {last}" if last else "at all"
    return [_finding("stale", value=0.0, usual=usual, limit=1.0, words=f"Not one event has come {since}.")]


def volume(case: Case) -> tuple[list[Finding], list[str | None]]:
    """Too few or too many events; too few of one type. Repeated rows do not count.

    Returns:
        What was found, and the types (None: all events) whose new level has lasted.
    """
    findings: list[Finding] = []
    settled: list[str | None] = []
    for event_type in (None, *sorted({name for one in case.recent for name in one.types})):
        judged = _volume_of(case, event_type)
        if judged is None:
            continue
        if judged.low or (judged.high and event_type is None):
            findings.append(_of_volume(case, event_type, judged))
        elif judged.settled:
            settled.append(event_type)
    return findings, settled


def scale(case: Case) -> list[Finding]:
    """Values of a column that are many times as large or as small as they used to be: another unit."""
    found = [_scale_of(case, column, now) for column, now in case.today.columns.items() if now.filled >= FEWEST_ROWS]
    return [finding for finding in found if finding]


def required(case: Case) -> list[Finding]:
    """Rows without a user, a type or a time: where that is not known to be usual, it is a fault."""
    found = [_nulls_of(case, column, None, Steady(usual=0.0, spread=0.0)) for column in REQUIRED]
    return [finding for finding in found if finding]


def nulls(case: Case) -> list[Finding]:
    """A column that is missing in rows of a type that used to have it; of many such types the most frequent."""
    columns: dict[str, list[Finding]] = {}
    for event_type in sorted(case.today.types, key=lambda name: (-case.today.types[name].rows, name)):
        for column in sorted({name for one in case.past for name in _filled(one, event_type)}):
            finding = _nulls_of(case, column, event_type)
            if finding:
                columns.setdefault(column, []).append(finding)
    return [_with_others(found) for found in columns.values()]


def duplicates(case: Case) -> list[Finding]:
    """Rows that came twice, more than usual."""
    now, apart = case.today, case.settings.max_duplicates
    usual = steady([one.repeated_share for one in case.past if one.rows >= FEWEST_ROWS], apart)
    if usual is None or now.rows < FEWEST_ROWS:
        return []
    limit = usual.usual + usual.tolerance(apart) + _chance(usual.usual, now.rows)
    if now.repeated_share <= limit:
        return []
    words = f"{now.repeated_share:.0%} of the rows repeat another one; {usual.usual:.0%} is usual."
    return [_finding("duplicates", value=now.repeated_share, usual=usual.usual, limit=limit, words=words)]


def cut_off(case: Case) -> list[Finding]:
    """A day that ends early: 99 % of its events, and the last one as well, lie hours before their usual time."""
    late = _early(case, lambda one: one.late_event)
    last = _early(case, lambda one: one.last_event)
    if late is None or last is None or case.today.last_event is None:
        return []
    value, (usual, limit) = case.today.last_event, last
    words = f"Nothing came after {_clock(value)} UTC; on a {case.weekday} events come until {_clock(usual)}."
    return [_finding("cut_off", value=value, usual=usual, limit=limit, words=words)]


def _volume_of(case: Case, event_type: str | None) -> Volume | None:
    """The volume of all events or of a type; None of a type that is usually rare."""
    series = {one.day: float(_distinct(one, event_type)) for one in case.past}
    settings, share = case.settings, case.settings.min_volume
    if event_type is not None:
        usual = typical(case.today.day, recent_days(case.today.day, series, settings.baseline_days))
        if usual < FEWEST_OF_TYPE:
            return None
        share *= TYPE_SHARE * min(reached_mostly(series), 1.0)
    rule = VolumeRule(share, settings.max_volume, settings.baseline_days, settings.settles_after_days)
    return judge_volume(case.today.day, _distinct(case.today, event_type), series, _clump(case, event_type), rule)


def _of_volume(case: Case, event_type: str | None, judged: Volume) -> Finding:
    name = "events" if event_type is None else f"{event_type} events"
    words = f"{judged.value:,.0f} {name} came; {judged.usual:,.0f} are usual on a {case.weekday}."
    return _finding(
        "volume_low" if judged.low else "volume_high",
        event_type=event_type,
        value=judged.value,
        usual=judged.usual,
        limit=judged.limits.low if judged.low else judged.limits.high,
        words=words,
    )


def _distinct(profile: FeedProfile, event_type: str | None) -> int:
    if event_type is None:
        return profile.distinct
    return profile.types[event_type].distinct if event_type in profile.types else 0


def _clump(case: Case, event_type: str | None) -> float:
    """Events a person: they come together or not at all."""
    parts = [one if event_type is None else one.types.get(event_type) for one in case.recent]
    return median([part.distinct / part.users for part in parts if part and part.users] or [1.0])


def _scale_of(case: Case, column: str, now: ColumnProfile) -> Finding | None:
    """The median if it moved by such a factor, else the 90th percentile: a part of the rows may have another unit."""
    before = [one.columns[column] for one in case.past if column in one.columns]
    known = [one for one in before if one.filled >= FEWEST_ROWS]
    apart = math.log(case.settings.max_scale)
    for name, value, values in (
        ("median", now.median, [one.median for one in known]),
        ("90th percentile", now.p90, [one.p90 for one in known]),
    ):
        usual = steady([math.log(one) for one in values if one > 0.0], apart)
        if usual is None or (value > 0.0 and abs(math.log(value) - usual.usual) <= usual.tolerance(apart)):
            continue
        level, reach = math.exp(usual.usual), math.exp(usual.tolerance(apart))
        limit = level * reach if value > level else level / reach
        words = f"{column} has a {name} of {value:,.4g}; {level:,.4g} is usual{_times(value, level)}: another unit?"
        return _finding("scale", column=column, value=value, usual=level, limit=limit, words=words)
    return None


def _nulls_of(case: Case, column: str, event_type: str | None, otherwise: Steady | None = None) -> Finding | None:
    """A rise of the share of nulls; `otherwise` stands for the usual share where there are too few days to know it."""
    rows, share = _rows(case.today, event_type), case.today.null_share(column, event_type)
    known = [one for one in case.past if _rows(one, event_type) >= FEWEST_ROWS]
    shares = [before for one in known if (before := one.null_share(column, event_type)) is not None]
    apart = case.settings.max_null_rise
    usual = steady(shares, apart) or otherwise
    if usual is None or share is None or (event_type is not None and rows < FEWEST_ROWS):
        return None
    limit = usual.usual + usual.tolerance(apart) + _chance(usual.usual, rows)
    if share <= limit:
        return None
    where = "all rows" if event_type is None else f"{event_type} rows"
    words = f"{column} is missing in {share:.0%} of {where}; {usual.usual:.0%} is usual."
    return _finding(
        "nulls", event_type=event_type, column=column, value=share, usual=usual.usual, limit=limit, words=words
    )


def _with_others(found: Sequence[Finding]) -> Finding:
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(one.event_type) for one in found[1:4]) + (", …" if len(found) > 4 else "")
    return msgspec.structs.replace(found[0], words=f"{found[0].words} Likewise: {names}.")


def _rows(profile: FeedProfile, event_type: str | None) -> int:
    if event_type is None:
        return profile.rows
    return profile.types[event_type].rows if event_type in profile.types else 0


def _filled(profile: FeedProfile, event_type: str) -> dict[str, int]:
    return profile.types[event_type].filled if event_type in profile.types else {}


def _early(case: Case, at: Callable[[FeedProfile], float | None]) -> tuple[float, float] | None:
    """Usual time and limit if today's is far before it, whichever weekday's usual is taken; else None."""
    value = at(case.today)
    before = {one.day: time for one in case.recent if (time := at(one)) is not None}
    if value is None or len(before) < FEWEST_DAYS:
        return None
    usual = min(levels(case.today.day, before))
    around = steady(list(before.values()), math.inf)
    limit = usual - max(EARLY_SECONDS, EARLY_SPREADS * around.spread if around else 0.0)
    return (usual, limit) if value < limit else None


def _chance(share: float, rows: int) -> float:
    """Four standard deviations of a share of so many rows; it is never known to be quite 0."""
    probable = min(max(share, 0.02), 0.98)
    return 4.0 * math.sqrt(probable * (1.0 - probable) / max(rows, 1))


def _times(value: float, usual: float) -> str:
    if value <= 0.0:
        return ""
    return f", {value / usual:,.3g} times as much" if value > usual else f", {usual / value:,.3g} times as little"


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _finding(  # noqa: PLR0913 - by name
    kind: Kind,
    *,
    value: float,
    usual: float,
    limit: float,
    words: str,
    event_type: str | None = None,
    column: str | None = None,
) -> Finding:
    return Finding(
        kind=kind,
        event_type=event_type,
        column=column,
        value=value,
        usual=usual,
        limit=limit,
        words=words,
        what_to_do=_DO[kind],
    )

"""What is usual for a feed, and how far from it chance reaches: levels of volume, and values that ought to be steady.

Medians throughout: a few odd days among those before do not move them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import median, median_low

FEWEST_DAYS = 7
"""With fewer days before it a day can be compared with nothing."""

_SURE = 4.0  # standard deviations: less than one false alarm in 30,000 looks
_SAME_WEEKDAYS = 3  # so many of them have a median of their own
_MAD = 1.4826  # median deviation → standard deviation, of normal numbers
_QUIET = 0.05  # of the week's mean: on such days of the week hardly anything comes
_HALF_EVENT = 0.5  # stands for none where a logarithm is taken

Series = Mapping[date, float]
"""A number a day."""


@dataclass(frozen=True)
class Limits:
    """Between these a number is as usual."""

    low: float
    high: float

    def hold(self, value: float) -> bool:
        """Whether the number is as usual."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class VolumeRule:
    """How much a volume may differ.

    Attributes:
        least: A smaller share of the usual is a fault, unless chance explains it.
        most: A larger multiple of it likewise.
        baseline_days: Days before it that a day is compared with.
        settles_after: So many days at a new level are the new usual.
    """

    least: float
    most: float
    baseline_days: int
    settles_after: int


@dataclass(frozen=True)
class Volume:
    """One day's volume, judged.

    Attributes:
        value: It.
        usual: That of the same weekday; of all days, where there are too few of those.
        limits: What would be as usual.
        low: Whether it is too low.
        high: Whether it is too high.
        settled: Whether only a new level, which has lasted, makes it usual.
    """

    value: float
    usual: float
    limits: Limits
    low: bool
    high: bool
    settled: bool


@dataclass(frozen=True)
class Steady:
    """A number that hardly differs from day to day.

    Attributes:
        usual: Its median, without the days that are far off.
        spread: Standard deviation around it, from median deviations.
    """

    usual: float
    spread: float

    def tolerance(self, apart: float) -> float:
        """How far from the usual is still usual: `apart`, or more if it wavers a lot by itself."""
        return max(apart, _SURE * self.spread)


def steady(values: Sequence[float], apart: float) -> Steady | None:
    """Return what is usual of a number that should not change.

    Days further than `apart` from the median are left out: they were broken themselves. So a fault stays one until it
    has lasted for half of the days that are given.

    Args:
        values: The number on the days before; the order does not matter.
        apart: What is far.

    Returns:
        The usual; None of fewer than `FEWEST_DAYS` values.
    """
    if len(values) < FEWEST_DAYS:
        return None
    middle = median_low(values)
    near = [value for value in values if abs(value - middle) <= apart]
    usual = median(near)
    return Steady(usual=usual, spread=_MAD * median(abs(value - usual) for value in near))


def judge_volume(day: date, value: float, before: Series, clump: float, rule: VolumeRule) -> Volume:
    """Return whether a day's volume is as usual.

    A low volume is compared with the same weekday and with the level of the last days, if that has lasted; a high one
    also with the same weekday as far back as is known, so that the end of a long outage is no fault.

    Args:
        day: The day.
        value: Its volume.
        before: Volume of earlier days; at least one within `rule.baseline_days`.
        clump: How many events come together, such as events a person: they count as one when chance is weighed.
        rule: The limits.
    """
    recent, rhythm = recent_days(day, before, rule.baseline_days), _rhythm(before)
    usual, wavering = levels(day, recent), _wavering(_evened(recent, rhythm))
    around = [_limits(level, clump, wavering, rule) for level in usual]
    new = _settled(day, recent, rhythm, clump, wavering, rule)
    known = around + ([_limits(new, clump, wavering, rule)] if new is not None else [])
    ceiling = _limits(max(levels(day, before)), clump, wavering, rule).high
    low = all(value < limits.low for limits in known)
    high = all(value > limits.high for limits in known) and value > ceiling
    odd = all(value < limits.low for limits in around) or all(value > limits.high for limits in around)
    return Volume(value, usual[0], around[0], low, high, settled=odd and new is not None and known[-1].hold(value))


def recent_days(day: date, before: Series, days: int) -> Series:
    """The part of a series that lies at most so many days before a day."""
    return {then: number for then, number in before.items() if 0 < (day - then).days <= days}


def typical(day: date, series: Series) -> float:
    """The median of the same weekday; of all days, where there are fewer than three of those."""
    return levels(day, series)[0]


def reached_mostly(series: Series) -> float:
    """The share of its usual that a volume reaches on nine days of ten; 1 if nothing is known."""
    one_of_each = {then.weekday(): then for then in series}
    usual = {weekday: typical(then, series) for weekday, then in one_of_each.items()}
    shares = sorted(number / level for then, number in series.items() if (level := usual[then.weekday()]) > 0.0)
    return shares[len(shares) // 10] if shares else 1.0


def may_be_none(people: float) -> bool:
    """Whether chance explains that none of so many people came: more than one time in a thousand (Poisson)."""
    return math.exp(-people) > 0.001


def levels(day: date, series: Series) -> list[float]:
    """What may be called usual: that of the same weekday, else that of all days or of the one or two such weekdays."""
    same = [number for then, number in series.items() if then.weekday() == day.weekday()]
    if len(same) >= _SAME_WEEKDAYS:
        return [median(same)]
    return [median(series.values()), *([median(same)] if same else [])]


def _limits(level: float, clump: float, wavering: float, rule: VolumeRule) -> Limits:
    """The rule's limits, widened by chance.

    Chance is the larger of two: that of a Poisson number of clumps (on the scale of square roots, where its standard
    deviation is a half), and what the feed itself wavers by from day to day.
    """
    root, reach = math.sqrt(level), _SURE / 2.0 * math.sqrt(max(clump, 1.0))
    factor = math.exp(_SURE * wavering)
    low = min(rule.least * level, level / factor, max(root - reach, 0.0) ** 2)
    return Limits(low, max(rule.most * level, level * factor, (root + reach) ** 2))


def _wavering(even: Series) -> float:
    """Standard deviation of a day's volume, as a logarithm, from what is left when the rhythm of the week is taken off.

    From differences of consecutive days: a new level is a single one of them, and does not count as noise.
    """
    logs = [math.log(max(even[then], _HALF_EVENT)) for then in sorted(even)]
    steps = [abs(after - earlier) for earlier, after in itertools.pairwise(logs)]
    return _MAD * median(steps) / math.sqrt(2.0) if len(steps) >= FEWEST_DAYS else 0.0


def _rhythm(before: Series) -> dict[int, float]:
    """Weekday → its volume as a multiple of the week's, whatever the level; 1 throughout if that is not known.

    Each day is divided by the mean of the seven days around it. A new level touches one such week of a weekday.
    """
    shares: dict[int, list[float]] = {weekday: [] for weekday in range(7)}
    for then, number in before.items():
        week = [before.get(then + timedelta(days=n)) for n in range(-3, 4)]
        whole = [near for near in week if near is not None]
        if len(whole) == len(week) and sum(whole) > 0.0:
            shares[then.weekday()].append(7.0 * number / sum(whole))
    if min(len(found) for found in shares.values()) < _SAME_WEEKDAYS:
        return dict.fromkeys(range(7), 1.0)
    return {weekday: median(found) for weekday, found in shares.items()}


def _evened(series: Series, rhythm: Mapping[int, float]) -> Series:
    """A series without the rhythm of the week; days of the week on which hardly anything comes are left out."""
    kept = {then: number for then, number in series.items() if rhythm[then.weekday()] > _QUIET}
    return {then: number / rhythm[then.weekday()] for then, number in kept.items()}


def _settled(  # noqa: PLR0913, PLR0917 - what `judge_volume` knows
    day: date, recent: Series, rhythm: Mapping[int, float], clump: float, wavering: float, rule: VolumeRule
) -> float | None:
    """What the level of the last days makes of this weekday's usual; None if they had no level in common.

    Days that differ by much less than a fault have a level in common: the first days of a fault are no new level.
    """
    last = [day - timedelta(days=n) for n in range(1, rule.settles_after + 1)]
    if not all(then in recent for then in last) or rhythm[day.weekday()] <= _QUIET:
        return None
    even = _evened({then: recent[then] for then in last}, rhythm)
    if not even:
        return None
    level, near = median(even.values()), max(math.sqrt(rule.least), 0.5)
    alike = replace(rule, least=near, most=1.0 / near)
    usual = {then: level * rhythm[then.weekday()] for then in [day, *even]}
    common = all(_limits(usual[then], clump, wavering, alike).hold(recent[then]) for then in even)
    return usual[day] if common else None

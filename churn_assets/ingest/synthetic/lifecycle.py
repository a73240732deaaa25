"""Who is there on a day, how engaged, and what announces that they are about to leave.

A person's time on the platform is a row of stints: a stay of random length, then for some a gap and another stay.
Each stay ends in one of five ways (`FADING` ... `ABRUPT`), most of which show in behaviour for one to four weeks
before the last day. Short breaks in between look like leaving, but nothing announces them and they end.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.ingest.synthetic.draws import Floats, Ints, bell, choose, uniform
from churn_assets.ingest.synthetic.world import People, World, day_number

Flags = NDArray[np.bool_]

FADING, PAYMENT, QUIZ, SUPPORT, ABRUPT = range(5)
_WAYS_PAID = (0.43, 0.17, 0.18, 0.14, 0.08)
_WAYS_FREE = (0.57, 0.00, 0.20, 0.15, 0.08)

_STINTS = 4
_MEAN_STAY = np.array([150.0, 210.0, 260.0])  # days, by plan
_SOURCE_STAY = np.array([1.1, 0.9, 0.85, 1.2, 1.1, 0.6])
_COUNTRY_STAY = np.array([1.05, 0.9, 1.1, 1.1, 0.9, 1.0, 1.0, 0.9])
_RETURN_SHARE = 0.3
_SHORTEST_GAP, _MEAN_GAP = 35.0, 45.0  # days
_HURRY = 0.6  # by how much drift 1 shortens what is left of a stay

_PLAN_PACE = np.array([-0.15, 0.15, 0.35])
_SOURCE_PACE = np.array([0.1, -0.1, -0.2, 0.2, 0.1, -0.4])
_COUNTRY_PACE = np.array([0.0, 0.1, 0.05, 0.05, -0.1, 0.0, -0.05, -0.1])
_PACE_LEVEL, _PACE_SPREAD = 0.75, 0.8
_WEEKDAY = np.array([1.08, 1.10, 1.08, 1.04, 0.90, 0.84, 0.96])
_YEARLY_SWING, _YEARLY_PEAK = 0.08, 20  # peak on the 20th day of the year
_WEEK_SPREAD = 0.2
_CALMER = 0.5  # share of the activity that drift 1 takes away

_BREAK_EVERY = 40  # days
_BREAK_SHARE = 0.65
_BREAK_LENGTH = (7, 23)  # days


@dataclass(frozen=True, kw_only=True)
class Stay:
    """The stay each person is in on a day, or was in last; arrays of one length.

    Attributes:
        present: Whether the day lies within the stay.
        left: Days from the day to the last day of the stay; negative once it is over.
        stint: Which of the person's stays it is, from 0.
    """

    present: Flags
    left: Ints
    stint: Ints

    def at(self, rows: Ints) -> Stay:
        """Return the stays at these positions only."""
        return Stay(present=self.present[rows], left=self.left[rows], stint=self.stint[rows])


@dataclass(frozen=True, kw_only=True)
class Mood:
    """How each person is inclined on a day; arrays of one length.

    Attributes:
        chance: Probability of any activity that day; 0 when absent.
        depth: Factor on how much is done in a session.
        score_shift: Points added to quiz scores (below 0 in a bad streak).
        complaining: Whether they are in the run of support tickets that ends a stay.
        card_trouble: Whether they are in the run of failed payments that ends a stay.
    """

    chance: Floats
    depth: Floats
    score_shift: Floats
    complaining: Flags
    card_trouble: Flags


def stays_on(world: World, people: People, day: dt.date) -> Stay:
    """Return the stay each person is in on `day`, or was in last.

    Args:
        world: The settings. Its drift shortens stays from its first day on, and only for days from then on.
        people: Who has signed up by `day`.
        day: The day (UTC).
    """
    today, size = day_number(day), len(people.number)
    begin, last, stint = people.signup.copy(), np.zeros(size, np.int64), np.zeros(size, np.int64)
    rows = np.arange(size)
    for which in range(_STINTS):
        some = people.at(rows)
        last[rows] = _last_day(world, some, begin[rows], which, world.drift_on(day))
        stint[rows] = which
        begin[rows] = last[rows] + _gap(world, some.number, which)
        back = (begin[rows] <= today) & (uniform(world.seed, "return", some.number, day=which) < _RETURN_SHARE)
        rows = rows[back]
    left = last - today
    return Stay(present=left >= 0, left=left, stint=stint)


def ways_of_leaving(world: World, people: People, stint: Ints) -> Ints:
    """Return how each person ends this stay: `FADING`, `PAYMENT` (paid plans only), `QUIZ`, `SUPPORT` or `ABRUPT`."""
    u = uniform(world.seed, "way", people.number, stint)
    return np.where(people.paid, choose(u, _WAYS_PAID), choose(u, _WAYS_FREE))


def mood_on(world: World, people: People, stay: Stay, day: dt.date) -> Mood:
    """Return how inclined each person is to do something on `day`, and in which state they are.

    Args:
        world: The settings.
        people: The people in question.
        stay: Their stays on that day.
        day: The day (UTC).
    """
    way = ways_of_leaving(world, people, stay.stint)
    wane = _wane(world, people, stay, way)
    calm = 1.0 - _CALMER * world.drift_on(day)
    usual = _usual_chance(world, people) * _rhythm(day) * _week(world, people, day) * calm
    there = stay.present & ~_on_break(world, people, day)
    near = stay.present & (stay.left < 24)
    return Mood(
        chance=np.where(there, np.minimum(usual * wane, 0.98), 0.0),
        depth=(0.4 + 0.6 * wane) * (0.3 + 0.7 * calm),
        score_shift=np.where(near & (way == QUIZ), -40.0 * (1.0 - stay.left / 40.0), 0.0) - 14.0 * world.drift_on(day),
        complaining=near & (way == SUPPORT),
        card_trouble=near & (way == PAYMENT) & (stay.left < 18),
    )


def _last_day(world: World, people: People, begin: Ints, stint: int, drift: float) -> Ints:
    mean: Floats = _MEAN_STAY[people.plan] * _SOURCE_STAY[people.source] * _COUNTRY_STAY[people.country]
    last = begin - mean * np.log(uniform(world.seed, "stay", people.number, day=stint))
    turn = np.maximum(begin, world.drift_day)
    hurried = np.where(last > turn, turn + (last - turn) * (1.0 - _HURRY * drift), last)
    return np.floor(hurried).astype(np.int64)


def _gap(world: World, number: Ints, stint: int) -> Ints:
    days: Floats = _SHORTEST_GAP - _MEAN_GAP * np.log(uniform(world.seed, "gap", number, day=stint))
    return np.ceil(days).astype(np.int64)


def _wane(world: World, people: People, stay: Stay, way: Ints) -> Floats:
    """What is left of the usual engagement, 1 far from the end of a stay."""
    length = 14.0 + 18.0 * uniform(world.seed, "fade", people.number, stay.stint)
    left = np.maximum(stay.left, 0)
    fading = 0.08 + 0.92 * np.minimum(left / length, 1.0)
    others = np.where(left < 12, 0.25 + 0.06 * left, 1.0)
    return np.select([way == FADING, way == ABRUPT], [fading, np.ones(len(left))], others)


def _usual_chance(world: World, people: People) -> Floats:
    pace: Floats = _PLAN_PACE[people.plan] + _SOURCE_PACE[people.source] + _COUNTRY_PACE[people.country]
    own: Floats = _PACE_SPREAD * bell(world.seed, "pace", people.number)
    return 1.0 / (1.0 + np.exp(-(_PACE_LEVEL + pace + own)))


def _rhythm(day: dt.date) -> float:
    turn = 2.0 * np.pi * (day.timetuple().tm_yday - _YEARLY_PEAK) / 365.25
    return float(_WEEKDAY[day.weekday()] * (1.0 + _YEARLY_SWING * np.cos(turn)))


def _week(world: World, people: People, day: dt.date) -> Floats:
    return np.exp(_WEEK_SPREAD * bell(world.seed, "week", people.number, day=day_number(day) // 7))


def _on_break(world: World, people: People, day: dt.date) -> Flags:
    """Whether somebody is away for one to three weeks: at most one break in each of the person's own periods."""
    since = day_number(day) - people.signup
    period, into = since // _BREAK_EVERY, since % _BREAK_EVERY
    shortest, longest = _BREAK_LENGTH
    length = shortest + (longest - shortest) * uniform(world.seed, "break length", people.number, period)
    start = (_BREAK_EVERY - length) * uniform(world.seed, "break start", people.number, period)
    taken = uniform(world.seed, "break", people.number, period) < _BREAK_SHARE
    return taken & (into >= start) & (into < start + length)

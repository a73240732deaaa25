"""Who is there on a day, how engaged, and what announces that they are about to leave.

A person's time on the platform is a row of stints: a stay of random length, then for some a gap and another stay.
Each stay ends in one of five ways (`FADING` ... `ABRUPT`), most of which show in behaviour for one to four weeks
before the last day. Short breaks in between look like leaving, but nothing announces them and they end.

In the scenario `concept` the two change places: what used to end a stay only leads to a pause of about a month, with
all its signs before, and people leave without a sign, from one day to the next, where they used to take a break.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from churn_assets.ingest.synthetic.draws import Flags, Floats, Ints, bell, choose, uniform
from churn_assets.ingest.synthetic.shift import BEHAVIOUR, day_number
from churn_assets.ingest.synthetic.world import INFLUENCER, People, World

FADING, PAYMENT, QUIZ, SUPPORT, ABRUPT = range(5)
_WAYS_PAID = (0.43, 0.17, 0.18, 0.14, 0.08)
_WAYS_FREE = (0.57, 0.00, 0.20, 0.15, 0.08)

_STINTS = 4
_PAUSED_STINTS = 12  # with those that begin after a pause
_MEAN_STAY = np.array([150.0, 210.0, 260.0])  # days, by plan
_SOURCE_STAY = np.array([1.1, 0.9, 0.85, 1.2, 1.1, 0.6])
_COUNTRY_STAY = np.array([1.05, 0.9, 1.1, 1.1, 0.9, 1.0, 1.0, 0.9])
_RETURN_SHARE = 0.3
_NEVER = 10_000_000  # days since 1970-01-01
_SHORTEST_GAP, _MEAN_GAP = 35.0, 45.0  # days
_FLEETING = 0.25  # factor on the stay of those whom a new source brings
_PAUSE = (24.0, 31.0)  # days

_PLAN_PACE = np.array([-0.15, 0.15, 0.35])
_SOURCE_PACE = np.array([0.1, -0.1, -0.2, 0.2, 0.1, -0.4])
_COUNTRY_PACE = np.array([0.0, 0.1, 0.05, 0.05, -0.1, 0.0, -0.05, -0.1])
_PACE_LEVEL, _PACE_SPREAD = 0.75, 0.8
_WEEKDAY = np.array([1.08, 1.10, 1.08, 1.04, 0.90, 0.84, 0.96])
_YEARLY_SWING, _YEARLY_PEAK = 0.08, 20  # peak on the 20th day of the year
_WEEK_SPREAD = 0.2
_SEASON_SWING = 0.35  # at full strength
_CALMER = 0.5  # share of the activity that drift 1 takes away

_BREAK_EVERY = 40  # days
_BREAK_SHARE = 0.65
_BREAK_LENGTH = (7, 23)  # days
_INSTEAD_OF_BREAKS = 60.0  # days of a stay that cost a period of `_BREAK_EVERY` days its break


@dataclass(frozen=True, kw_only=True)
class Stay:
    """The stay each person is in on a day, or was in last; arrays of one length.

    Attributes:
        present: Whether the day lies within the stay.
        left: Days from the day to the last day of the stay; negative once it is over. While somebody is there who
            will leave without a sign, the days to what their behaviour announces instead.
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
        world: The settings. What a shift does to stays it does only for days from its first day on.
        people: Who has signed up by `day`.
        day: The day (UTC).
    """
    today, size = day_number(day), len(people.number)
    begin, left, stint = people.signup.copy(), np.zeros(size, np.int64), np.zeros(size, np.int64)
    present = np.zeros(size, np.bool_)
    rows = np.arange(size)
    for which in range(_PAUSED_STINTS):
        some = people.at(rows)
        end = _end_of_stint(world, some, begin[rows], which, today)
        present[rows], stint[rows] = today <= end.last, which
        left[rows] = np.where(present[rows], end.announced, end.last) - today
        begin[rows] = end.back
        rows = rows[end.back <= today]
        if not len(rows):
            break
    return Stay(present=present, left=left, stint=stint)


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
    drift = world.shift.on_day(day_number(day), *BEHAVIOUR)
    calm = 1.0 - _CALMER * drift
    usual = _usual_chance(world, people) * _rhythm(world, day) * _week(world, people, day) * calm
    there = stay.present & ~_on_break(world, people, day)
    near = stay.present & (stay.left < 24)
    return Mood(
        chance=np.where(there, np.minimum(usual * wane, 0.98), 0.0),
        depth=(0.4 + 0.6 * wane) * (0.3 + 0.7 * calm),
        score_shift=np.where(near & (way == QUIZ), -40.0 * (1.0 - stay.left / 40.0), 0.0) - 14.0 * drift,
        complaining=near & (way == SUPPORT),
        card_trouble=near & (way == PAYMENT) & (stay.left < 18),
    )


@dataclass(frozen=True, kw_only=True)
class _End:
    """How stays end; arrays of one length, in days since 1970-01-01.

    Attributes:
        announced: The day that signs point to.
        last: Last day.
        back: Day of coming back; far away for those who do not.
    """

    announced: Ints
    last: Ints
    back: Ints


def _end_of_stint(world: World, people: People, begin: Ints, stint: int, today: int) -> _End:
    announced = _announced_day(world, people, begin, stint, today)
    returns = (uniform(world.seed, "return", people.number, day=stint) < _RETURN_SHARE) & (stint < _STINTS - 1)
    if world.scenario != "concept" or today < world.shift.first:
        back = np.where(returns, announced + _gap(world, people.number, stint), _NEVER)
        return _End(announced=announced, last=announced, back=back)
    silent = _silent_day(world, people, begin, announced, stint)
    last = np.minimum(announced, silent)
    paused = (last < silent) & _is_turned(world, people, announced)
    away = np.where(paused, _pause(world, people.number, stint), _gap(world, people.number, stint))
    return _End(announced=announced, last=last, back=np.where(paused | returns, last + away, _NEVER))


def _announced_day(world: World, people: People, begin: Ints, stint: int, today: int) -> Ints:
    usual = begin - _mean_stay(world, people) * np.log(uniform(world.seed, "stay", people.number, day=stint))
    shift = world.shift
    return np.floor(shift.ends(begin, usual) if today >= shift.first else usual).astype(np.int64)


def _mean_stay(world: World, people: People) -> Floats:
    """Mean days of a stay; the speed at which people leave is its inverse."""
    mean: Floats = _MEAN_STAY[people.plan] * _SOURCE_STAY[people.source] * _COUNTRY_STAY[people.country]
    return np.where(people.source == INFLUENCER, _FLEETING * mean, mean) if world.scenario == "new_source" else mean


def _silent_day(world: World, people: People, begin: Ints, announced: Ints, stint: int) -> Ints:
    """The day on which people leave without a sign before the announced one; far away for those who do not."""
    since = np.maximum(begin, world.shift.first)
    stay = -_mean_stay(world, people) * np.log(uniform(world.seed, "silent", people.number, day=stint))
    silent = np.floor(since + stay).astype(np.int64)
    return np.where((silent < announced) & _is_turned(world, people, silent), silent, _NEVER)


def _is_turned(world: World, people: People, days: Ints) -> Flags:
    """Whether signs have changed their meaning for each person on that person's day."""
    return uniform(world.seed, "concept", people.number) < world.shift.on(days, "concept")


def _pause(world: World, number: Ints, stint: int) -> Ints:
    shortest, longest = _PAUSE
    return np.ceil(shortest + (longest - shortest) * uniform(world.seed, "pause", number, day=stint)).astype(np.int64)


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


def _rhythm(world: World, day: dt.date) -> float:
    turn = 2.0 * np.pi * (day.timetuple().tm_yday - _YEARLY_PEAK) / 365.25
    return float(_WEEKDAY[day.weekday()] * (1.0 + _YEARLY_SWING * np.cos(turn)) * _season(world, day_number(day)))


def _season(world: World, today: int) -> float:
    """A yearly swing that begins from nothing on its first day, so that nobody sees a jump."""
    shift = world.shift
    turn = 2.0 * np.pi * (today - shift.first) / 365.25
    return 1.0 + _SEASON_SWING * shift.on_day(today, "season") * float(np.sin(turn))


def _week(world: World, people: People, day: dt.date) -> Floats:
    return np.exp(_WEEK_SPREAD * bell(world.seed, "week", people.number, day=day_number(day) // 7))


def _break_share(world: World, people: People, begin: Floats) -> Floats | float:
    """Share of the periods that have a break; fewer where absences of other kinds take their place."""
    if world.scenario != "concept":
        return _BREAK_SHARE
    fewer = _INSTEAD_OF_BREAKS / _mean_stay(world, people) * _is_turned(world, people, np.floor(begin))
    return np.maximum(_BREAK_SHARE - fewer, 0.0)


def _on_break(world: World, people: People, day: dt.date) -> Flags:
    """Whether somebody is away for one to three weeks: at most one break in each of the person's own periods."""
    since = day_number(day) - people.signup
    period, into = since // _BREAK_EVERY, since % _BREAK_EVERY
    shortest, longest = _BREAK_LENGTH
    length = shortest + (longest - shortest) * uniform(world.seed, "break length", people.number, period)
    start = (_BREAK_EVERY - length) * uniform(world.seed, "break start", people.number, period)
    share = _break_share(world, people, people.signup + period * _BREAK_EVERY + start)
    taken = uniform(world.seed, "break", people.number, period) < share
    return taken & (into >= start) & (into < start + length)

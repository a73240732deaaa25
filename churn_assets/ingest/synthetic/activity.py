"""The events of one day: who is active, what they do, when, and how it goes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from churn_assets.ingest.synthetic.billing import charges_on, is_paying
from churn_assets.ingest.synthetic.draws import Floats, Ints, bell, count, uniform
from churn_assets.ingest.synthetic.feed import as_fed
from churn_assets.ingest.synthetic.lifecycle import Mood, Stay, mood_on, stays_on
from churn_assets.ingest.synthetic.shift import day_number
from churn_assets.ingest.synthetic.world import PRICES, People, World, names, people_as_of, user_ids

EVENT_TYPES = (
    "login",
    "video_watch",
    "quiz_attempt",
    "enroll",
    "support_ticket",
    "payment_success",
    "payment_failed",
)
"""All that happens; what is not a payment is activity."""

EVENT_SCHEMA = pa.schema(
    [
        ("event_id", pa.int64()),
        ("user_id", pa.string()),
        ("event_type", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("watch_minutes", pa.float64()),
        ("quiz_score", pa.float64()),
        ("amount", pa.float64()),
    ]
)
"""Columns of `events_of`. Minutes, score (0 to 100) and amount are null except where the event has one."""

_LOGIN, _VIDEO, _QUIZ, _ENROLL, _TICKET, _PAID, _FAILED = range(len(EVENT_TYPES))
_MOST = 60  # events of one type, person and day
_EVENTS_A_DAY = 100_000_000  # room for the ids of one day; ids stay exact as floats
_DAY_MS = 86_400_000
_LATEST_START_MS = 22 * 3_600_000
_SESSION_MS = 7_000_000


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """One day and those who may do something on it."""

    world: World
    day: dt.date
    people: People
    stay: Stay
    mood: Mood

    def uniform(self, purpose: str, *counters: Ints) -> Floats:
        """Draw for this day, from (0, 1)."""
        return uniform(self.world.seed, purpose, *counters, day=day_number(self.day))

    def bell(self, purpose: str, *counters: Ints) -> Floats:
        """Draw for this day, with mean 0 and standard deviation 1."""
        return bell(self.world.seed, purpose, *counters, day=day_number(self.day))

    def trait(self, purpose: str, people: Ints) -> Floats:
        """Draw what is the same for a person on all days, with mean 0 and standard deviation 1."""
        return bell(self.world.seed, purpose, people)


@dataclass(frozen=True, kw_only=True)
class _Events:
    """A day's events as arrays: position of the person, type, which of that person's of that type, ms in the day."""

    row: Ints
    kind: Ints
    nth: Ints
    at: Ints


def events_of(world: World, day: dt.date) -> pa.Table:
    """Return everything that happened on one day (UTC), whatever other days were made before.

    Args:
        world: The settings.
        day: The day. Before the epoch nothing happens.

    Returns:
        A table of `EVENT_SCHEMA`, sorted by time, then by the order of signing up, then by type. Ids are unique over
        all days.
    """
    if day < world.epoch:
        return EVENT_SCHEMA.empty_table()
    scene = _scene(world, day)
    return as_fed(world, day, _table(scene, _in_order(_laid_out(scene, _counts(scene)))))


def _scene(world: World, day: dt.date) -> _Scene:
    everyone = people_as_of(world, day)
    stays = stays_on(world, everyone, day)
    rows = np.flatnonzero(stays.present | is_paying(world, everyone, stays))
    people, stay = everyone.at(rows), stays.at(rows)
    return _Scene(world=world, day=day, people=people, stay=stay, mood=mood_on(world, people, stay, day))


def _counts(scene: _Scene) -> Ints:
    """How many events of each type, types × people."""
    counts = np.zeros((len(EVENT_TYPES), len(scene.people.number)), dtype=np.int64)
    rows = np.flatnonzero(scene.uniform("active", scene.people.number) < scene.mood.chance)
    who = scene.people.number[rows]
    depth = scene.mood.depth[rows] * np.exp(0.3 * scene.trait("depth", who))
    failing = 1.0 + 0.8 * (scene.mood.score_shift[rows] < -15.0)
    counts[_LOGIN, rows] = 1 + count(scene.uniform("login", who), 0.7 * depth, at_most=_MOST)
    counts[_VIDEO, rows] = count(scene.uniform("video", who), 4.2 * depth, at_most=_MOST)
    counts[_QUIZ, rows] = count(scene.uniform("quiz", who), 1.7 * depth * failing, at_most=_MOST)
    counts[_ENROLL, rows] = scene.uniform("enroll", who) < 0.05 * depth
    counts[_TICKET, rows] = scene.uniform("ticket", who) < np.where(scene.mood.complaining[rows], 0.5, 0.015)
    charges = charges_on(scene.world, scene.people, scene.stay, scene.mood, scene.day)
    counts[_PAID], counts[_FAILED] = charges.succeeded, charges.failed
    return counts


def _laid_out(scene: _Scene, counts: Ints) -> _Events:
    size, flat = counts.shape[1], counts.ravel()
    filled = np.flatnonzero(flat)
    cell = np.repeat(filled, flat[filled])
    first = np.cumsum(flat[filled]) - flat[filled]
    nth = np.arange(len(cell)) - np.repeat(first, flat[filled])
    kind, row = np.divmod(cell, max(size, 1))
    return _Events(row=row, kind=kind, nth=nth, at=_times(scene, row, kind, nth))


def _times(scene: _Scene, row: Ints, kind: Ints, nth: Ints) -> Ints:
    """Milliseconds into the day: a session at the person's usual hour begins with a login; charges come any time."""
    number = scene.people.number
    usual = 24.0 * uniform(scene.world.seed, "hour", number)
    begin = np.mod((usual + 1.5 * scene.bell("start", number)) * 3_600_000, _LATEST_START_MS)
    u = scene.uniform("time", number[row], kind * (_MOST + 2) + nth)
    within = np.where((kind == _LOGIN) & (nth == 0), 0.0, u * _SESSION_MS)
    return np.where(kind >= _PAID, u * (_DAY_MS - 1), begin[row] + within).astype(np.int64)


def _in_order(events: _Events) -> _Events:
    """Sort by time, person, type and ordinal, packed into one number: no two are equal, so any sort gives the same."""
    key = (events.at << 36) | (events.row << 10) | (events.kind << 7) | events.nth
    key.sort()
    return _Events(row=(key >> 10) & 0x3FFFFFF, kind=(key >> 7) & 0x7, nth=key & 0x7F, at=key >> 36)


def _table(scene: _Scene, events: _Events) -> pa.Table:
    today = day_number(scene.day)
    number = scene.people.number[events.row]
    columns = [
        pa.array(today * _EVENTS_A_DAY + np.arange(len(number))),
        user_ids(int(number.max(initial=-1)) + 1).take(pa.array(number)),
        names(EVENT_TYPES, events.kind),
        pa.array((today * _DAY_MS + events.at) * 1000).cast(EVENT_SCHEMA.field("event_time").type),
        _only(events, (_VIDEO,), _minutes(scene, events)),
        _only(events, (_QUIZ,), _scores(scene, events)),
        _only(events, (_PAID, _FAILED), np.array(PRICES)[scene.people.plan[events.row]]),
    ]
    return pa.Table.from_arrays(columns, schema=EVENT_SCHEMA)


def _only(events: _Events, kinds: tuple[int, ...], values: Floats) -> pa.DoubleArray:
    return pa.array(values, mask=~np.isin(events.kind, kinds))


def _minutes(scene: _Scene, events: _Events) -> Floats:
    noise = scene.bell("minutes", scene.people.number[events.row], events.nth)
    minutes: Floats = 14.0 * scene.mood.depth[events.row] * np.exp(0.6 * noise)
    return minutes.clip(0.5, 240.0).round(2)


def _scores(scene: _Scene, events: _Events) -> Floats:
    usual = 74.0 + 7.0 * scene.trait("skill", scene.people.number) + scene.mood.score_shift
    noise = scene.bell("score", scene.people.number[events.row], events.nth)
    score: Floats = usual[events.row] + 9.0 * noise
    return score.clip(0.0, 100.0).round(1)

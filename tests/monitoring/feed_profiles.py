"""Made-up profiles of raw days: a feed as it is, and what may become of it."""

import datetime as dt

import msgspec
import numpy as np

from churn_assets.monitoring.feed_profile import ColumnProfile, FeedProfile, TypeProfile
from churn_assets.monitoring.quality import judge_feed
from churn_assets.settings import QualitySettings

START = dt.date(2025, 3, 3)  # a Monday
SETTINGS = QualitySettings()
USERS = 400
A_USER = {"login": 1.7, "video_watch": 4.4, "quiz_attempt": 1.8, "enroll": 0.25, "support_ticket": 0.02}
CARRIES = {"video_watch": "watch_minutes", "quiz_attempt": "quiz_score"}
VALUES = {"watch_minutes": (6.0, 14.0, 30.0), "quiz_score": (58.0, 74.0, 88.0)}
WEEK = (1.08, 1.1, 1.08, 1.04, 0.9, 0.84, 0.96)
replaced = msgspec.structs.replace


def day(n):
    """The n-th day."""
    return START + dt.timedelta(days=n)


def profile(when, counts, users, *, rng=None):
    """A day on which each type came so often."""
    wobble = 1.0 if rng is None else float(np.exp(0.03 * rng.normal()))
    types = {
        name: TypeProfile(
            rows=n, repeated=0, users=max(min(users, n), 1), filled={CARRIES[name]: n} if name in CARRIES else {}
        )
        for name, n in counts.items()
        if n
    }
    filled = {CARRIES[name]: kind.rows for name, kind in types.items() if name in CARRIES}
    return FeedProfile(
        day=when,
        rows=sum(counts.values()),
        users=users,
        repeated=0,
        missing=dict.fromkeys(("user_id", "event_type", "event_time"), 0),
        types=types,
        columns={column: scaled(VALUES[column], wobble, n) for column, n in filled.items()},
        late_event=84_000.0 * min(wobble, 1.0),
        last_event=86_000.0,
    )


def scaled(quantiles, factor, filled):
    """A column whose values are those, times a factor."""
    p10, median, p90 = (value * factor for value in quantiles)
    return ColumnProfile(filled=filled, p10=p10, median=median, p90=p90)


def feed(days, *, level=lambda _: 1.0, week=WEEK, users=USERS, seed=1, first=0):
    """An ordinary feed: Poisson many people, each with their events; `level` is how many come on the n-th day."""
    rng = np.random.default_rng(seed)
    return [_ordinary(n, users * level(n) * week[day(n).weekday()], rng) for n in range(first, first + days)]


def _ordinary(n, people, rng):
    users = int(rng.poisson(people))
    counts = {name: int(rng.poisson(rate, users).sum()) for name, rate in A_USER.items()}
    return profile(day(n), counts, users, rng=rng)


def empty(whole):
    """The same day, and nothing came."""
    return replaced(profile(whole.day, {}, 0), late_event=None, last_event=None)


def part(whole, share):
    """A random part of the rows."""
    counts = {name: round(kind.rows * share) for name, kind in whole.types.items()}
    return replaced(profile(whole.day, counts, round(whole.users * min(1.0, share + 0.3))), columns=whole.columns)


def times(whole, factor):
    """Every count times a whole number."""
    types = {
        name: TypeProfile(
            rows=kind.rows * factor,
            repeated=kind.repeated * factor,
            users=kind.users * factor,
            filled={column: n * factor for column, n in kind.filled.items()},
        )
        for name, kind in whole.types.items()
    }
    columns = {name: replaced(column, filled=column.filled * factor) for name, column in whole.columns.items()}
    return replaced(
        whole,
        rows=whole.rows * factor,
        users=whole.users * factor,
        repeated=whole.repeated * factor,
        types=types,
        columns=columns,
    )


def rescaled(whole, column, factor):
    """The values of a column in another unit."""
    old = whole.columns[column]
    new = scaled((old.p10, old.median, old.p90), factor, old.filled)
    return replaced(whole, columns={**whole.columns, column: new})


def nulled(whole, column):
    """A column is null everywhere."""
    types = {name: replaced(kind, filled=_without(kind.filled, column)) for name, kind in whole.types.items()}
    return replaced(whole, types=types, columns=_without(whole.columns, column))


def doubled(whole):
    """Every row came twice."""
    types = {
        name: TypeProfile(
            rows=2 * kind.rows,
            repeated=kind.rows,
            users=kind.users,
            filled={column: 2 * n for column, n in kind.filled.items()},
        )
        for name, kind in whole.types.items()
    }
    return replaced(whole, rows=2 * whole.rows, repeated=whole.rows, types=types)


def without_type(whole, name):
    """One type of events is gone."""
    return replaced(whole, rows=whole.rows - whole.types[name].rows, types=_without(whole.types, name))


def with_type(whole, name, rows):
    """One more type of events came."""
    kind = TypeProfile(rows=rows, repeated=0, users=rows, filled={})
    return replaced(whole, rows=whole.rows + rows, types={**whole.types, name: kind})


def _without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def verdicts(profiles, settings=SETTINGS):
    """Every day judged by the 90 before it."""
    return [judge_feed(now, profiles[max(0, n - 90) : n], settings) for n, now in enumerate(profiles)]


def faults(profiles, settings=SETTINGS):
    """Positions of the broken days."""
    return [n for n, verdict in enumerate(verdicts(profiles, settings)) if verdict.status == "FAULT"]


def kinds(verdict):
    """What was found, by kind and place."""
    return {(found.kind, found.event_type, found.column) for found in verdict.findings}

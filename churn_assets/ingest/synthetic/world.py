"""The generated world: its settings, who signs up when, and what never changes about a person."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.ingest.synthetic.draws import Floats, Ints, choose, uniform

PLANS = ("free", "basic", "pro")
PRICES = (0.0, 12.99, 29.99)
COUNTRIES = ("US", "IN", "GB", "DE", "BR", "FR", "ES", "NG")
SOURCES = ("organic", "search_ads", "social", "referral", "email", "influencer")

USER_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("signup_date", pa.date32()),
        ("plan", pa.string()),
        ("is_paid", pa.bool_()),
        ("country", pa.string()),
        ("marketing_source", pa.string()),
    ]
)
"""Columns of `users_as_of`; none of them has nulls."""

_PLAN_WEIGHTS = (0.42, 0.36, 0.22)
_COUNTRY_WEIGHTS = (0.30, 0.20, 0.12, 0.11, 0.10, 0.08, 0.06, 0.03)
_COUNTRY_WEIGHTS_DRIFTED = (0.10, 0.12, 0.04, 0.04, 0.30, 0.04, 0.06, 0.30)
_SOURCE_WEIGHTS = (0.34, 0.24, 0.18, 0.14, 0.10, 0.0)
_INFLUENCER = SOURCES.index("influencer")
_MOVED_SHARE = 0.7  # of new signups, at full drift

_DAYS_BEFORE_EPOCH = 365
_DAYS_TO_NOMINAL = _DAYS_BEFORE_EPOCH + 150
_WEEKDAY_SIGNUPS = np.array([1.15, 1.1, 1.05, 1.0, 0.9, 0.8, 1.0])


@dataclass(frozen=True, kw_only=True)
class World:
    """What the generated history is made from: equal worlds have equal histories.

    Attributes:
        seed: Another seed, other people.
        epoch: First day (UTC) that has events. People have been signing up for a year by then.
        users: How many have signed up by the end of day epoch + 150. They go on signing up at that rate.
        drift: Strength of a shift in behaviour, 0 (none) to 1 (strong).
        drift_from: First shifted day; the epoch if left out. Days before it are the same with and without drift.

    Raises:
        ValueError: `users` is below 1 or `drift` outside 0 to 1.
    """

    seed: int = 7
    epoch: dt.date
    users: int = 2000
    drift: float = 0.0
    drift_from: dt.date | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be generated."""
        if self.users < 1:
            raise ValueError(f"users must be at least 1, not {self.users}")
        if not 0.0 <= self.drift <= 1.0:
            raise ValueError(f"drift must be between 0 and 1, not {self.drift}")

    @property
    def drift_day(self) -> int:
        """The first shifted day, as days since 1970-01-01."""
        return day_number(self.drift_from or self.epoch)

    def drift_on(self, day: dt.date) -> float:
        """Return the strength of the shift on one day, 0 to 1."""
        return self.drift if day_number(day) >= self.drift_day else 0.0


@dataclass(frozen=True, kw_only=True)
class People:
    """What never changes about each person; arrays of one length, in the order of signing up.

    Attributes:
        number: The person's number, from 0; the user id is made from it.
        signup: Day of signing up, days since 1970-01-01.
        plan: Position in `PLANS`.
        country: Position in `COUNTRIES`.
        source: Position in `SOURCES`.
    """

    number: Ints
    signup: Ints
    plan: Ints
    country: Ints
    source: Ints

    @property
    def paid(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether the plan costs money."""
        return self.plan > 0

    def at(self, rows: Ints) -> People:
        """Return the people at these positions only."""
        return People(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})


def day_number(day: dt.date) -> int:
    """Return the days from 1970-01-01 to `day`."""
    return day.toordinal() - dt.date(1970, 1, 1).toordinal()


def people_as_of(world: World, day: dt.date) -> People:
    """Return everybody who has signed up on or before `day`; a later day only adds people at the end."""
    signup = _signup_days(world, day)
    number = np.arange(len(signup), dtype=np.int64)
    moved = (signup >= world.drift_day) & (uniform(world.seed, "moved", number) < _MOVED_SHARE * world.drift)
    country = choose(uniform(world.seed, "country", number), _COUNTRY_WEIGHTS)
    source = choose(uniform(world.seed, "source", number), _SOURCE_WEIGHTS)
    elsewhere = choose(uniform(world.seed, "country", number[moved]), _COUNTRY_WEIGHTS_DRIFTED)
    country[moved], source[moved] = elsewhere, _INFLUENCER
    plan = choose(uniform(world.seed, "plan", number), _PLAN_WEIGHTS)
    return People(number=number, signup=signup, plan=plan, country=country, source=source)


def users_as_of(world: World, day: dt.date) -> pa.Table:
    """Return one row for each person who has signed up on or before `day`, in the order of signing up.

    Args:
        world: The settings.
        day: The last day of signing up that counts (UTC).

    Returns:
        A table of `USER_SCHEMA`: `user_id` as "u000123", `signup_date` from a year before the epoch on.
    """
    people = people_as_of(world, day)
    columns = [
        user_ids(len(people.number)),
        pa.array(people.signup.astype("datetime64[D]")),
        names(PLANS, people.plan),
        pa.array(people.paid),
        names(COUNTRIES, people.country),
        names(SOURCES, people.source),
    ]
    return pa.Table.from_arrays(columns, schema=USER_SCHEMA)


def user_ids(people: int) -> pa.StringArray:
    """Return the ids of the first so many people: "u000000", "u000001", ..."""
    digits = pc.utf8_lpad(pa.array(np.arange(people)).cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise("u", digits, "")


def names(words: tuple[str, ...], positions: Ints) -> pa.StringArray:
    """Return the words at these positions."""
    return pa.array(words, pa.string()).take(pa.array(positions))


def _signup_days(world: World, day: dt.date) -> Ints:
    first = day_number(world.epoch) - _DAYS_BEFORE_EPOCH
    days = np.arange(first, max(day_number(day), first + _DAYS_TO_NOMINAL) + 1, dtype=np.int64)
    reached = np.cumsum(_signup_weights(world, days))
    reached *= world.users / reached[_DAYS_TO_NOMINAL]
    so_far = np.floor(reached + 1e-6).astype(np.int64)
    signup = np.repeat(days, np.diff(so_far, prepend=0))
    return signup[signup <= day_number(day)]


def _signup_weights(world: World, days: Ints) -> Floats:
    # Day 0 of 1970 was a Thursday; the weekday table starts on Monday.
    return _WEEKDAY_SIGNUPS[(days + 3) % 7] * (0.7 + 0.6 * uniform(world.seed, "signups", days))

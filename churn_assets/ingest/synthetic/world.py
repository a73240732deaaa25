"""The generated world: its settings, who signs up when, and what never changes about a person."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.ingest.synthetic.draws import Flags, Floats, Ints, choose, uniform
from churn_assets.ingest.synthetic.shift import BEHAVIOUR, Shift, day_number
from churn_assets.source_settings import Scenario

if TYPE_CHECKING:
    import datetime as dt

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
INFLUENCER = SOURCES.index("influencer")
_COUNTRY_WEIGHTS_ELSEWHERE = (0.04, 0.05, 0.02, 0.02, 0.42, 0.02, 0.03, 0.40)
_MOVED_SHARE = 0.7  # of new signups, at full drift
_INFLUENCED_SHARE = 0.6  # of new signups, at the full strength of a new source

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
        scenario: What happens if `drift` is above 0; `shift` tells of each.
        drift: How strong it is, 0 (nothing happens) to 1.
        drift_from: First shifted day; the epoch if left out. Days before it are the same with and without drift.
        drift_until: Last shifted day; it stays if left out.

    Raises:
        ValueError: `users` is below 1, `drift` outside 0 to 1, the scenario unknown, or it ends before it begins.
    """

    seed: int = 7
    epoch: dt.date
    users: int = 2000
    scenario: Scenario = "behaviour"
    drift: float = 0.0
    drift_from: dt.date | None = None
    drift_until: dt.date | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be generated."""
        if self.users < 1:
            raise ValueError(f"users must be at least 1, not {self.users}")
        if not 0.0 <= self.drift <= 1.0:
            raise ValueError(f"drift must be between 0 and 1, not {self.drift}")
        if self.scenario not in get_args(Scenario):
            raise ValueError(f"scenario must be one of {', '.join(get_args(Scenario))}, not {self.scenario}")
        if self.drift_until and self.drift_until < (self.drift_from or self.epoch):
            raise ValueError(f"drift_until, {self.drift_until}, is before the drift's first day")

    @property
    def shift(self) -> Shift:
        """What happens, from when until when."""
        return Shift(
            scenario=self.scenario,
            strength=self.drift,
            first=day_number(self.drift_from or self.epoch),
            last=day_number(self.drift_until) if self.drift_until else None,
        )


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
    def paid(self) -> Flags:
        """Whether the plan costs money."""
        return self.plan > 0

    def at(self, rows: Ints) -> People:
        """Return the people at these positions only."""
        return People(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})


def people_as_of(world: World, day: dt.date) -> People:
    """Return everybody who has signed up on or before `day`; a later day only adds people at the end."""
    signup = _signup_days(world, day)
    number = np.arange(len(signup), dtype=np.int64)
    country = choose(uniform(world.seed, "country", number), _COUNTRY_WEIGHTS)
    source = choose(uniform(world.seed, "source", number), _SOURCE_WEIGHTS)
    elsewhere, influenced = _newcomers(world, number, signup)
    weights = _COUNTRY_WEIGHTS_ELSEWHERE if world.scenario == "countries" else _COUNTRY_WEIGHTS_DRIFTED
    country[elsewhere] = choose(uniform(world.seed, "country", number[elsewhere]), weights)
    source[influenced] = INFLUENCER
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


def _newcomers(world: World, number: Ints, signup: Ints) -> tuple[Ints, Ints]:
    """Positions of those whom a shift brings from other countries, and of those whom the new source brings."""
    moved = _MOVED_SHARE * world.shift.on(signup, *BEHAVIOUR)
    u = uniform(world.seed, "moved", number)
    elsewhere = u < moved + world.shift.on(signup, "countries")
    influenced = u < moved + _INFLUENCED_SHARE * world.shift.on(signup, "new_source")
    return np.flatnonzero(elsewhere), np.flatnonzero(influenced)


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

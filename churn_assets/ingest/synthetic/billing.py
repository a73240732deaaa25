"""What paying people pay: a charge every thirty days, a retry after a failure, and the failures that end a stay."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from churn_assets.ingest.synthetic.draws import Flags, Ints, uniform
from churn_assets.ingest.synthetic.lifecycle import Mood, Stay
from churn_assets.ingest.synthetic.shift import BEHAVIOUR, day_number
from churn_assets.ingest.synthetic.world import People, World

_CYCLE = 30  # days
_RETRY_AFTER = 2  # days
_TROUBLE_EVERY = 3  # days between attempts while the card fails
_FAILURE_SHARE = 0.03
_FAILURE_SHARE_DRIFT = 0.3  # added at full drift
_LONGEST_GRACE = 45.0  # days that somebody goes on paying after leaving, at most


@dataclass(frozen=True, kw_only=True)
class Charges:
    """Whose payment went through and whose failed on a day; never both."""

    succeeded: Flags
    failed: Flags


def is_paying(world: World, people: People, stay: Stay) -> Flags:
    """Return who has a subscription: people on a paid plan who are there, or left and have not cancelled yet."""
    grace = _LONGEST_GRACE * uniform(world.seed, "grace", people.number, stay.stint)
    return people.paid & (stay.present | (-stay.left < grace))


def charges_on(world: World, people: People, stay: Stay, mood: Mood, day: dt.date) -> Charges:
    """Return the payments of one day (UTC).

    Args:
        world: The settings.
        people: The people in question.
        stay: Their stays on that day.
        mood: Their state on that day.
        day: The day.
    """
    paying = is_paying(world, people, stay)
    today = day_number(day)
    since = today - people.signup
    fails = _charge_fails(world, people, (since // _CYCLE).astype(np.int64), world.shift.on_day(today, *BEHAVIOUR))
    due = paying & ~mood.card_trouble & (since % _CYCLE == 0)
    retried = paying & ~mood.card_trouble & (since % _CYCLE == _RETRY_AFTER) & fails
    trouble = paying & mood.card_trouble & (stay.left % _TROUBLE_EVERY == 1)
    return Charges(succeeded=(due & ~fails) | retried, failed=(due & fails) | trouble)


def _charge_fails(world: World, people: People, cycle: Ints, drift: float) -> Flags:
    share = _FAILURE_SHARE + _FAILURE_SHARE_DRIFT * drift
    return uniform(world.seed, "charge", people.number, cycle) < share

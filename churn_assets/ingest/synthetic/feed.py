"""What a broken feed makes of a day's events: people do as they always did, but what arrives is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.ingest.synthetic.draws import uniform
from churn_assets.ingest.synthetic.shift import day_number

if TYPE_CHECKING:
    import datetime as dt

    from churn_assets.ingest.synthetic.world import World

_SECONDS = 60.0  # a minute
_MISSING_SHARE = 0.5  # of the events, at full strength


def as_fed(world: World, day: dt.date, events: pa.Table) -> pa.Table:
    """Return a day's events as the feed delivers them.

    Args:
        world: The settings.
        day: The day.
        events: What happened.

    Returns:
        The same table, except in two scenarios: with minutes watched given in seconds, or without a random part of
        its rows.
    """
    today = day_number(day)
    if world.shift.on_day(today, "minutes_in_seconds"):
        return _in_seconds(events)
    lost = _MISSING_SHARE * world.shift.on_day(today, "half_missing")
    return _without(events, world.seed, lost) if lost else events


def _in_seconds(events: pa.Table) -> pa.Table:
    position = events.schema.get_field_index("watch_minutes")
    return events.set_column(position, events.schema.field(position), pc.multiply(events["watch_minutes"], _SECONDS))


def _without(events: pa.Table, seed: int, share: float) -> pa.Table:
    return events.filter(pa.array(uniform(seed, "missing", events["event_id"].to_numpy()) >= share))

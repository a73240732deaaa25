"""The generated platform as a source."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.demo import acknowledge_demo, read_demo
from churn_assets.ingest.source import EVENT_VALUES, USER_COLUMNS, Provided
from churn_assets.ingest.synthetic import World, events_of, users_as_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from churn_assets.demo import Demo
    from churn_assets.layout import Layout
    from churn_assets.source_settings import SyntheticSettings

EVENT_TYPES = frozenset(
    {"login", "video_watch", "quiz_attempt", "enroll", "support_ticket", "payment_success", "payment_failed"}
)


@dataclass
class GeneratedSource:
    """Users and events of a made-up e-learning platform; the same for the same settings and first day.

    Attributes:
        settings: What is generated.
        epoch: The first day.
        layout: Where a demonstration says that it is on; None for none.
    """

    settings: SyntheticSettings
    epoch: date
    layout: Layout | None = None
    _seen: Demo | None = field(default=None, init=False, repr=False)

    @property
    def world(self) -> World:
        """The generator, set up as the settings say."""
        return World(
            seed=self.settings.seed,
            epoch=self.epoch,
            users=self.settings.users,
            scenario=self.settings.scenario,
            drift=self.settings.drift,
            drift_from=self.settings.drift_from,
            drift_until=self.settings.drift_until,
        )

    @property
    def provided(self) -> Provided:
        """Everything but engagements."""
        values = frozenset(EVENT_VALUES) - {"event_count"}
        return Provided(EVENT_TYPES, values, frozenset(USER_COLUMNS[2:]), engagements=False)

    def first_day(self) -> date:
        """The first day of the generated history."""
        return self.epoch

    def users(self, last_day: date) -> pa.Table:
        """Everybody who signed up by `last_day`.

        Raises:
            SourceError: The file that switches a demonstration on is damaged.
        """
        usual, shifted, first_day = self._worlds()
        table = users_as_of(usual, last_day)
        if shifted == usual:
            return table
        kept = pc.sum(pc.less(table["signup_date"], pa.scalar(first_day))).as_py() or 0
        return pa.concat_tables([table.slice(0, kept), users_as_of(shifted, last_day).slice(kept)]).combine_chunks()

    def events(self, days: Sequence[date]) -> Iterator[tuple[date, pa.Table]]:
        """The events of each day.

        Raises:
            SourceError: The file that switches a demonstration on is damaged.
        """
        usual, shifted, first_day = self._worlds()
        return ((day, events_of(shifted if day >= first_day else usual, day)) for day in days)

    def engagements(self) -> pa.Table | None:
        """None: the platform has no courses that end."""
        return None

    def late_days(self, built: Sequence[date]) -> list[date]:
        """Days on which a demonstration was switched on or off since they were made.

        Raises:
            SourceError: The file that says so is damaged.
        """
        self._seen = demo = self._demo()
        return [day for day in built if demo and not demo.read and day >= demo.first_day]

    def has_news(self) -> bool:
        """Whether a demonstration was switched on or off.

        Raises:
            SourceError: The file that says so is damaged.
        """
        demo = self._demo()
        return demo is not None and not demo.read

    def acknowledge(self) -> None:
        """Remember that these days have been made anew.

        Raises:
            SourceError: The file that switches a demonstration on is damaged.
        """
        if self.layout and self._seen:
            acknowledge_demo(self.layout, self._seen)

    def _demo(self) -> Demo | None:
        return read_demo(self.layout) if self.layout else None

    def _worlds(self) -> tuple[World, World, date]:
        """The world as the settings have it; the world that takes its place, and from which day on."""
        usual, demo = self.world, self._demo()
        if demo is None or demo.strength <= usual.drift:
            return usual, usual, self.epoch
        shift: dict[str, Any] = {"scenario": "behaviour", "drift": demo.strength, "drift_until": None}
        return usual, dataclasses.replace(usual, **shift, drift_from=demo.first_day), demo.first_day

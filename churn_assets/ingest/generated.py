"""The generated platform as a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.ingest.source import EVENT_VALUES, USER_COLUMNS, Provided
from churn_assets.ingest.synthetic import World, events_of, users_as_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import pyarrow as pa

    from churn_assets.settings import SyntheticSettings

EVENT_TYPES = frozenset(
    {"login", "video_watch", "quiz_attempt", "enroll", "support_ticket", "payment_success", "payment_failed"}
)


@dataclass(frozen=True)
class GeneratedSource:
    """Users and events of a made-up e-learning platform; the same for the same settings and first day."""

    settings: SyntheticSettings
    epoch: date

    @property
    def world(self) -> World:
        """The generator, set up."""
        return World(
            seed=self.settings.seed,
            epoch=self.epoch,
            users=self.settings.users,
            drift=self.settings.drift,
            drift_from=self.settings.drift_from,
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
        """Everybody who signed up by `last_day`."""
        return users_as_of(self.world, last_day)

    def events(self, days: Sequence[date]) -> Iterator[tuple[date, pa.Table]]:
        """The events of each day."""
        world = self.world
        return ((day, events_of(world, day)) for day in days)

    def engagements(self) -> pa.Table | None:
        """None: the platform has no courses that end."""
        return None

    def late_days(self, built: Sequence[date]) -> list[date]:  # noqa: ARG002 - the protocol's form
        """None: nothing comes late here."""
        return []

    def acknowledge(self) -> None:
        """Nothing to remember."""

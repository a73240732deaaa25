"""What every source of raw data offers: users, events by day, engagements, and word of late arrivals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import pyarrow as pa

USER_COLUMNS = ("user_id", "signup_date", "plan", "is_paid", "country", "marketing_source")
"""Columns of `raw_users`; the first two are required. `users.attributes` adds to them."""

EVENT_VALUES = ("watch_minutes", "quiz_score", "amount", "event_count")
"""Numeric columns of `raw_events`, all optional. `event_count` is how many events a row stands for."""

ENGAGEMENT_COLUMNS = ("user_id", "started_on", "ended_on", "cancelled_on")
"""Columns of engagements: when somebody is expected to be active. `ended_on` is the planned end (null: open);
`cancelled_on` becomes known only on its day."""


class SourceError(RuntimeError):
    """The source cannot be read as it is described; the message says what, where and what to do."""


@dataclass(frozen=True)
class Provided:
    """What a source has at all. Features of anything else are absent, not zero.

    Attributes:
        event_types: Our names of the event types that can occur.
        values: The members of `EVENT_VALUES` that it has.
        user_columns: The optional user columns that it has.
        engagements: Whether it knows when somebody is expected to be active.
    """

    event_types: frozenset[str]
    values: frozenset[str]
    user_columns: frozenset[str]
    engagements: bool


class Source(Protocol):
    """A place that raw data comes from."""

    @property
    def provided(self) -> Provided:
        """What it has at all."""

    def first_day(self) -> date:
        """The first day of history.

        Raises:
            SourceError: The source cannot be read, or holds no event.
        """

    def users(self, last_day: date) -> pa.Table:
        """`raw_users`: everybody who signed up by `last_day`, as the source has them, under our column names."""

    def events(self, days: Sequence[date]) -> Iterator[tuple[date, pa.Table]]:
        """`raw_events` of each of `days`, in order, as the source has them, under our column names.

        Rows that belong to no day (no time, an impossible one, one in the future) come with the last of `days`.
        """

    def engagements(self) -> pa.Table | None:
        """Engagements, as the source has them, or None."""

    def late_days(self, built: Sequence[date]) -> list[date]:
        """Those of the days in `built` for which rows have come, gone or changed since they were read."""

    def has_news(self) -> bool:
        """Whether anything has come, gone or changed since `acknowledge`. Nothing is read, so it may be asked often.

        Ask a source that was opened just now: one that has been open for a day knows what there was then.
        """

    def acknowledge(self) -> None:
        """Remember what has been read, so that `late_days` speaks only of what comes after."""

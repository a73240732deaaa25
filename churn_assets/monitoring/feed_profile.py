"""What a day's raw feed looks like: how much of what came, how late in the day, what is missing, what came twice.

It is taken from the raw rows, before the contract is held against them: a fault of the source shows there first.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq

from churn_assets.engine import connect, identifier, list_literal
from churn_assets.ingest.source import EVENT_VALUES
from churn_serving import atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import duckdb

    from churn_assets.layout import Stamp
    from churn_assets.workspace import Workspace

REQUIRED = ("user_id", "event_type", "event_time")
"""Columns without which a row says nothing."""

MOST_TYPES = 100
"""Event types that are told apart; the rarest of a feed that has more are counted with all events only."""

ROWS_PER_QUERY = 4_000_000
"""As many days as hold about so many rows are read at once: what is counted as distinct must fit into memory."""


class TypeProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one event type.

    Attributes:
        rows: How many there are.
        repeated: Those of them that say what an earlier row says: all of our columns are equal, but for the event id.
        users: How many people they are about.
        filled: Numeric column → how many of these rows have it.
    """

    rows: int
    repeated: int
    users: int
    filled: dict[str, int]

    @property
    def distinct(self) -> int:
        """Rows without the repeated ones."""
        return self.rows - self.repeated


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one numeric column, over all rows that have it.

    Attributes:
        filled: How many rows have it; at least 1.
        p10: A tenth of the values are at most this.
        median: Half of them are at most this.
        p90: Nine tenths of them are at most this.
    """

    filled: int
    p10: float
    median: float
    p90: float


class FeedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One day of raw events.

    Attributes:
        day: The day (UTC).
        rows: How many rows came.
        users: How many people they are about.
        repeated: Rows that say what an earlier one says (see `TypeProfile`).
        missing: Required column → how many rows lack it.
        types: Event type → its rows, the most frequent types first.
        columns: Numeric column → its values. A column that is null in every row is not there.
        late_event: The time that 99 % of the events come before, in seconds after the day's midnight UTC; None if no
            row has a time of that day.
        last_event: The time of the last event, likewise.
    """

    day: date
    rows: int
    users: int
    repeated: int
    missing: dict[str, int]
    types: dict[str, TypeProfile]
    columns: dict[str, ColumnProfile]
    late_event: float | None
    last_event: float | None

    @property
    def distinct(self) -> int:
        """Rows without the repeated ones."""
        return self.rows - self.repeated

    @property
    def repeated_share(self) -> float:
        """Repeated rows of all rows; 0 of none."""
        return self.repeated / self.rows if self.rows else 0.0

    def null_share(self, column: str, event_type: str | None = None) -> float | None:
        """Share of rows without a value.

        Args:
            column: A numeric column, of the rows of `event_type`; or one of `REQUIRED`, of all rows.
            event_type: The event type; None for required columns.

        Returns:
            The share, 0 to 1; None if there is no row.
        """
        if event_type is None:
            return self.missing.get(column, 0) / self.rows if self.rows else None
        kind = self.types.get(event_type)
        return 1.0 - kind.filled.get(column, 0) / kind.rows if kind else None


class _Kept(msgspec.Struct, frozen=True):
    """A profile on disk, with the stamp of the raw file that it was taken from."""

    stamp: list[int]
    profile: FeedProfile


def profile_of(workspace: Workspace, day: date) -> FeedProfile:
    """Return what a day's raw events look like; taken once, and again when the raw day was replaced.

    Raises:
        MissingTableError: `raw_events` lacks the day.
    """
    return profiles(workspace, [day])[0]


def profiles(workspace: Workspace, days: Iterable[date]) -> list[FeedProfile]:
    """Return the profiles of many days, oldest first; those not at hand are taken in few queries, and kept.

    Raises:
        MissingTableError: `raw_events` lacks one of the days.
    """
    layout, wanted = workspace.layout, sorted(set(days))
    layout.raw_events.existing(wanted)
    stamps = {day: layout.raw_events.stamp(day) for day in wanted}
    found = {day: profile for day in wanted if (profile := _kept(workspace, day, stamps[day]))}
    todo = [day for day in wanted if day not in found]
    if todo:
        with connect(layout.temporary) as connection:
            for chunk in _chunks(workspace, todo):
                for profile in _taken(connection, workspace, chunk):
                    found[profile.day] = profile
                    _keep(workspace, profile, stamps[profile.day])
    return [found[day] for day in wanted]


def _kept(workspace: Workspace, day: date, stamp: Stamp | None) -> FeedProfile | None:
    """The profile on disk, unless it is damaged, of an older form, or of other bytes."""
    try:
        kept = msgspec.json.decode(workspace.layout.feed_profile(day).read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return kept.profile if kept.stamp == stamp and kept.profile.day == day else None


def _keep(workspace: Workspace, profile: FeedProfile, stamp: Stamp | None) -> None:
    content = msgspec.json.encode(_Kept(stamp or [], profile))
    atomic.write_bytes(workspace.layout.feed_profile(profile.day), msgspec.json.format(content) + b"\n")


def _chunks(workspace: Workspace, days: Sequence[date]) -> Iterator[list[date]]:
    chunk: list[date] = []
    rows = 0
    for day in days:
        more = pq.read_metadata(workspace.layout.raw_events.path(day)).num_rows
        if chunk and rows + more > ROWS_PER_QUERY:
            yield chunk
            chunk, rows = [], 0
        chunk.append(day)
        rows += more
    yield chunk


def _taken(connection: duckdb.DuckDBPyConnection, workspace: Workspace, days: Sequence[date]) -> Iterator[FeedProfile]:
    files = list_literal([str(path) for path in workspace.layout.raw_events.existing(days)])
    raw = f"read_parquet({files}, union_by_name = true, filename = 'raw_file')"
    columns = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {raw}").fetchall()}
    typed = _typed(raw, columns)
    by_type: dict[date, list[tuple[Any, ...]]] = {}
    for day, *row in connection.execute(_of_types(typed)).fetchall():
        by_type.setdefault(day, []).append(tuple(row))
    by_day = {row[0]: row[1:] for row in connection.execute(_of_days(typed)).fetchall()}
    for day in days:
        yield _profile(day, by_type.get(day, []), by_day.get(day))


def _typed(raw: str, columns: set[str]) -> str:
    """SQL: raw rows with the day of their file, typed; hashes stand for what is only counted."""
    texts = [f"nullif(trim(CAST({_or_null(name, columns)} AS VARCHAR)), '') AS {name}" for name in REQUIRED[:2]]
    numbers = [f"TRY_CAST({_or_null(name, columns)} AS DOUBLE) AS {name}" for name in EVENT_VALUES]
    finite = [f"CASE WHEN isfinite({name}) THEN {name} END AS {name}" for name in EVENT_VALUES]
    inner = (
        f"SELECT CAST(regexp_extract(raw_file, '([0-9-]+)\\.parquet$', 1) AS DATE) AS day, {', '.join(texts)}, "
        f"TRY_CAST({_or_null('event_time', columns)} AS TIMESTAMPTZ) AS event_time, {', '.join(numbers)} FROM {raw}"
    )
    said = f"hash({', '.join([*REQUIRED, *EVENT_VALUES])})"
    seconds = "CASE WHEN CAST(event_time AS DATE) = day THEN epoch_us(event_time) % 86400000000 / 1e6 END"
    return (
        f"SELECT day, event_type, {', '.join(finite)}, {seconds} AS seconds, event_time IS NULL AS timeless, "
        "CASE WHEN user_id IS NOT NULL THEN hash(user_id) END AS person, "
        f"CASE WHEN user_id IS NOT NULL AND event_time IS NOT NULL THEN {said} END AS said FROM ({inner})"
    )


def _of_types(typed: str) -> str:
    filled = ", ".join(f"count({name})" for name in EVENT_VALUES)
    return (
        "SELECT day, event_type, count(*) AS n, count(said) - count(DISTINCT said), count(DISTINCT person), "
        "count(*) - count(person), CAST(sum(CAST(timeless AS INTEGER)) AS BIGINT), "
        f"{filled} FROM ({typed}) GROUP BY day, event_type ORDER BY day, n DESC, event_type NULLS LAST"
    )


def _of_days(typed: str) -> str:
    parts = ", ".join(f"quantile_disc({name}, [0.1, 0.5, 0.9])" for name in EVENT_VALUES)
    return (
        "SELECT day, count(DISTINCT person), quantile_disc(seconds, 0.99), max(seconds), "
        f"{parts} FROM ({typed}) GROUP BY day"
    )


def _profile(day: date, kinds: Sequence[tuple[Any, ...]], whole: tuple[Any, ...] | None) -> FeedProfile:
    users, late, last, *quantiles = whole or (0, None, None, *(None,) * len(EVENT_VALUES))
    filled = {name: sum(row[6 + at] for row in kinds) for at, name in enumerate(EVENT_VALUES)}
    columns = {
        name: ColumnProfile(filled=filled[name], p10=of[0], median=of[1], p90=of[2])
        for name, of in zip(EVENT_VALUES, quantiles, strict=True)
        if filled[name]
    }
    return FeedProfile(
        day=day,
        rows=sum(row[1] for row in kinds),
        users=users,
        repeated=sum(row[2] for row in kinds),
        missing={
            "user_id": sum(row[4] for row in kinds),
            "event_type": sum(row[1] for row in kinds if row[0] is None),
            "event_time": sum(row[5] for row in kinds),
        },
        types=_types([row for row in kinds if row[0] is not None]),
        columns=columns,
        late_event=late,
        last_event=last,
    )


def _types(kinds: Sequence[tuple[Any, ...]]) -> dict[str, TypeProfile]:
    return {
        name: TypeProfile(
            rows=rows,
            repeated=repeated,
            users=users,
            filled={column: n for column, n in zip(EVENT_VALUES, filled, strict=True) if n},
        )
        for name, rows, repeated, users, _, _, *filled in kinds[:MOST_TYPES]
    }


def _or_null(name: str, columns: set[str]) -> str:
    return identifier(name) if name in columns else "NULL"

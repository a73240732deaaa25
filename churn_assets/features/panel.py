"""Daily activity as arrays: what `features_as_of` reads, in blocks of users with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.layout import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    import numpy.typing as npt

BLOCK_CELLS = 400_000
"""Users × days of one block: its arrays stay in a processor's cache and far below any memory limit."""

Values = dict[str, "npt.NDArray[Any]"]


def ordinal(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class Users:
    """Who there is, in the order of their ids.

    Attributes:
        ids: (n,) text.
        signup: (n,) ordinals.
        traits: Name → (n,) column of the users table (text, or boolean for `is_paid`).
    """

    ids: pa.Array
    signup: npt.NDArray[np.int32]
    traits: dict[str, pa.Array]

    @classmethod
    def of(cls, table: pa.Table) -> Users:
        """From `validated_users` (any order)."""
        table = table.combine_chunks().sort_by("user_id")
        columns = {name: _whole(table.column(name)) for name in table.column_names}
        signup = columns.pop("signup_date").cast(pa.int32()).to_numpy(zero_copy_only=False)
        return cls(columns.pop("user_id").cast(pa.string()), signup.astype(np.int32), columns)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Engagements:
    """When users are expected to be active; sorted by user.

    Attributes:
        user: (m,) position in `Users`.
        start: (m,) ordinal of the first day.
        end: (m,) ordinal of the last planned day; the largest integer if open.
        cancelled: (m,) ordinal of the day it was given up; the largest integer if it was not.
    """

    user: npt.NDArray[np.int64]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    cancelled: npt.NDArray[np.int32]

    @classmethod
    def of(cls, table: pa.Table, users: Users) -> Engagements:
        """From validated engagements; those of unknown users are left out."""
        position = _positions(_whole(table.column("user_id")), users.ids)
        dates = [_ordinals(table.column(name)) for name in ("started_on", "ended_on", "cancelled_on")]
        order = np.argsort(position, kind="stable")
        order = order[position[order] >= 0]
        return cls(position[order], *(dates_[order] for dates_ in dates))

    def within(self, low: int, high: int) -> Engagements:
        """Those of users `low` to `high`, positions counted from `low`."""
        start, stop = np.searchsorted(self.user, [low, high])
        part = slice(start, stop)
        return Engagements(self.user[part] - low, self.start[part], self.end[part], self.cancelled[part])


@dataclass(frozen=True)
class DayRows:
    """One day of `user_daily`: (r,) positions of users, ascending, and (r,) values a measure."""

    user: npt.NDArray[np.int32]
    values: Values


@dataclass(frozen=True)
class Panel:
    """Users and what they did on consecutive days.

    Attributes:
        first_day: Ordinal of the first day.
        days: One entry a day, without gaps.
    """

    users: Users
    first_day: int
    days: list[DayRows]
    engagements: Engagements | None = None

    def blocks(self) -> Iterator[Block]:
        """Cut into blocks of users."""
        size = max(64, BLOCK_CELLS // max(1, len(self.days)))
        for low in range(0, len(self.users), size):
            yield Block(self, low, min(low + size, len(self.users)))


@dataclass(frozen=True)
class Block:
    """Users `low` to `high` of a panel."""

    panel: Panel
    low: int
    high: int

    def dense(self, measure: str) -> npt.NDArray[Any]:
        """(days, users): the measure, 0 where there is no row."""
        days = self.panel.days
        kind = days[0].values[measure].dtype if days else np.dtype(np.float64)
        grid = np.zeros((len(days), self.high - self.low), dtype=kind)
        for row, day in zip(grid, days, strict=True):
            start, stop = np.searchsorted(day.user, [self.low, self.high])
            row[day.user[start:stop] - self.low] = day.values[measure][start:stop]
        return grid


def load_panel(
    users: Users,
    first_day: date,
    tables: Iterable[pa.Table],
    measures: Sequence[str],
    engagements: pa.Table | None = None,
) -> Panel:
    """Put daily tables into arrays.

    Args:
        users: Who there is; rows of anybody else are left out.
        first_day: The day of the first table; the others follow day by day.
        tables: `user_daily`, one table a day, each sorted by `user_id`.
        measures: The columns wanted.
        engagements: Validated engagements, if the source has them.
    """
    days = [_day_rows(table, users, measures) for table in tables]
    known = None if engagements is None else Engagements.of(engagements, users)
    return Panel(users, ordinal(first_day), days, known)


def _day_rows(table: pa.Table, users: Users, measures: Sequence[str]) -> DayRows:
    position = _positions(_whole(table.column("user_id")), users.ids)
    values: Mapping[str, npt.NDArray[Any]] = {
        name: table.column(name).to_numpy(zero_copy_only=False) for name in measures
    }
    known = position >= 0
    if not known.all():
        position, values = position[known], {name: column[known] for name, column in values.items()}
    if (np.diff(position) < 0).any():
        order = np.argsort(position, kind="stable")
        position, values = position[order], {name: column[order] for name, column in values.items()}
    return DayRows(position.astype(np.int32), dict(values))


def _positions(ids: pa.Array, known: pa.Array) -> npt.NDArray[np.int64]:
    """Where each id stands among the known ones; -1 if it does not."""
    found = pc.index_in(ids.cast(pa.string()), value_set=known)
    positions: npt.NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return positions


def _ordinals(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    largest = np.iinfo(np.int32).max
    filled: npt.NDArray[np.int32] = pc.fill_null(column.cast(pa.int32()), largest).to_numpy(zero_copy_only=False)
    return filled


def _whole(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined

"""Daily activity as arrays: what `features_as_of` reads, in blocks of users with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.layout import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    import numpy.typing as npt

BLOCK_CELLS = 200_000
"""Users × days of one block: its arrays stay far below any memory limit."""

DAYS_PER_LOOKUP = 16
"""Users are looked up for so many days at once: the look-up table costs more than the look-ups of a day."""

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

    @cached_property
    def _found(self) -> list[tuple[npt.NDArray[np.int32], slice]]:
        """For each day: the users who have a row, counted from `low`, and where their rows stand."""
        bounds = np.array([self.low, self.high], dtype=np.int32)
        spans = [slice(*np.searchsorted(day.user, bounds)) for day in self.panel.days]
        return [(day.user[span] - self.low, span) for day, span in zip(self.panel.days, spans, strict=True)]

    def active(self) -> npt.NDArray[np.bool_]:
        """(days, users): whether the user was active."""
        grid = np.zeros((len(self.panel.days), self.high - self.low), dtype=np.bool_)
        for row, day, (users, span) in zip(grid, self.panel.days, self._found, strict=True):
            row[users] = day.values["events"][span] > 0
        return grid

    def cumulative(self, measure: str) -> npt.NDArray[Any]:
        """(days + 1, users): the sum of a measure, or of `active_days`, over all days before."""
        name = "events" if measure == "active_days" else measure
        columns = [day.values[name] for day in self.panel.days]
        whole = all(column.dtype.kind in "iu" for column in columns)
        total = np.zeros((len(columns) + 1, self.high - self.low), dtype=np.int32 if whole else np.float64)
        for before, after, column, (users, span) in zip(total[:-1], total[1:], columns, self._found, strict=True):
            np.copyto(after, before)
            after[users] += column[span] > 0 if measure == "active_days" else column[span]
        return total


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
    days: list[DayRows] = []
    rest = iter(tables)
    while batch := list(islice(rest, DAYS_PER_LOOKUP)):
        days += _day_rows(batch, users, measures)
    known = None if engagements is None else Engagements.of(engagements, users)
    return Panel(users, ordinal(first_day), days, known)


def _day_rows(tables: Sequence[pa.Table], users: Users, measures: Sequence[str]) -> Iterator[DayRows]:
    ids = pa.concat_arrays([_whole(table.column("user_id")).cast(pa.string()) for table in tables])
    ends = np.cumsum([table.num_rows for table in tables])
    for table, position in zip(tables, np.split(_positions(ids, users.ids), ends[:-1]), strict=True):
        known = np.flatnonzero(position >= 0)
        rows = known[np.argsort(position[known], kind="stable")]
        values = {name: table.column(name).to_numpy(zero_copy_only=False)[rows] for name in measures}
        yield DayRows(position[rows].astype(np.int32), values)


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

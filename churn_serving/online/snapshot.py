"""Everybody's newest features, as the daily run published them, and as a model reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import numpy as np

from churn_serving.encoding import UNSEEN
from churn_serving.online.keyed_format import OnlineStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from typing import Self

    from numpy.typing import NDArray

    from churn_serving.online.keyed_table import KeyedTable
    from churn_serving.online.publication import Opened
    from churn_serving.schema import FeatureSpec

AT_RISK = "at_risk"
"""The column that says who is at risk: 1, or 0. All others are features."""


class Snapshot:
    """Who is known, who of them is at risk, and their features.

    Args:
        table: A keyed table with the column `at_risk`.
        created_at: When it was published, UTC.

    Attributes:
        table: The table.
        as_of_date: The last day that its features count.
        created_at: When it was published, UTC.
        rows: How many users it has.

    Raises:
        OnlineStoreError: The table does not say who is at risk.
    """

    def __init__(self, table: KeyedTable, created_at: datetime) -> None:
        if AT_RISK not in table.columns:
            raise OnlineStoreError(f"{table.path} has no column `{AT_RISK}`: materialize `user_features`")
        self.table = table
        self.as_of_date: date = table.header.as_of_date
        self.created_at = created_at
        self.rows = len(table)
        self.find = table.find
        self._at_risk = table.columns.index(AT_RISK)
        self._end = datetime.combine(self.as_of_date, time(), UTC) + timedelta(days=1)

    @classmethod
    def of(cls, opened: Opened) -> Self:
        """From a table that was published.

        Raises:
            OnlineStoreError: The table does not say who is at risk.
        """
        return cls(opened.table, opened.entry.published_at)

    def age_seconds(self, now: datetime) -> float:
        """Return how long ago the as-of day ended, UTC; 0 while it lasts."""
        return max((now - self._end).total_seconds(), 0.0)

    def cells(self, row: int) -> list[float]:
        """Return a row as it is in the table.

        Raises:
            IndexError: There is no such row.
        """
        cells: list[float] = self.table.row(row).tolist()
        return cells

    def at_risk(self, row: int) -> bool:
        """Return whether the user of a row is at risk.

        Raises:
            IndexError: There is no such row.
        """
        return self.is_at_risk(self.cells(row))

    def rows_at_risk(self, start: int, stop: int) -> NDArray[np.intp]:
        """Return which of the rows from `start` to before `stop` are of users at risk."""
        found: NDArray[np.intp] = np.flatnonzero(self.table.matrix[start:stop, self._at_risk] == 1.0) + start
        return found

    def is_at_risk(self, cells: list[float]) -> bool:
        """Return whether the user of a row, as `cells` returns it, is at risk."""
        return cells[self._at_risk] == 1.0


class Binding:
    """Vectors of one model from one snapshot; made once for each pair of them.

    A vector has the very bits that `Scorer.encode_row` and `encode_columns` give for the same user.

    Args:
        snapshot: The snapshot.
        features: The model's features, categories with their levels.

    Attributes:
        snapshot: The snapshot.
        features: The model's features.
        absent: Features that the snapshot lacks; they are missing (NaN) for everybody.

    Raises:
        OnlineStoreError: A feature is a category to one and a number to the other.
    """

    def __init__(self, snapshot: Snapshot, features: tuple[FeatureSpec, ...]) -> None:
        table = snapshot.table
        column_of = {name: place for place, name in enumerate(table.columns)}
        _check_kinds(snapshot, [feature for feature in features if feature.name in column_of])
        self.snapshot = snapshot
        self.features = features
        self.absent = tuple(feature.name for feature in features if feature.name not in column_of)
        self._row = table.row
        self._columns = np.array([column_of.get(feature.name, 0) for feature in features], dtype=np.intp)
        self._gaps = np.array([feature.name not in column_of for feature in features], dtype=np.bool_)
        self._places: list[int] = self._columns.tolist()
        self._holes: list[int] = np.flatnonzero(self._gaps).tolist()
        self._categories = tuple(
            _category(feature, position, column_of[feature.name], table.levels[feature.name])
            for position, feature in enumerate(features)
            if feature.kind == "category" and feature.name in column_of
        )
        self._codes = tuple((category.position, category.codes) for category in self._categories)

    def vector(self, row: int) -> NDArray[np.float64]:
        """Return the model's vector (F,) of the user of a row.

        Raises:
            IndexError: There is no such row.
        """
        return np.array(self.encoded(self.snapshot.cells(row)))

    def encoded(self, cells: list[float]) -> list[float]:
        """Return the model's vector of a row of the snapshot, as a list of F numbers."""
        found = [cells[column] for column in self._places]
        for position, codes in self._codes:
            code = found[position]
            if code == code:  # noqa: PLR0124 - NaN is no code, and isnan() takes longer
                found[position] = codes.get(code, UNSEEN)
        for position in self._holes:
            found[position] = math.nan
        return found

    def matrix(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the vectors of several rows, (n, F).

        Raises:
            IndexError: There is no such row.
        """
        wanted = np.asarray(rows, dtype=np.intp)
        if (wanted < 0).any():
            raise IndexError(f"{self.snapshot.table.path} has no row {wanted.min()}")
        matrix: NDArray[np.float64] = self.snapshot.table.matrix[wanted[:, None], self._columns]
        for category in self._categories:
            matrix[:, category.position] = category.translate(matrix[:, category.position])
        matrix[:, self._gaps] = np.nan
        return matrix

    def values(self, row: int) -> dict[str, float | str | None]:
        """Return the model's features of a row by name, for people: categories as text, None when missing.

        Raises:
            IndexError: There is no such row.
        """
        cells = self._row(row)[self._columns].tolist()
        values = {
            feature.name: None if gap or math.isnan(cell) else cell
            for feature, cell, gap in zip(self.features, cells, self._gaps, strict=True)
        }
        return values | {category.name: category.text(cells[category.position]) for category in self._categories}

    def unseen(self, row: int) -> tuple[str, ...]:
        """Return the categories in which the user of a row is of a kind that the model never saw.

        Raises:
            IndexError: There is no such row.
        """
        cells = self._row(row)
        return tuple(
            category.name
            for category in self._categories
            if not math.isnan(code := cells.item(category.column)) and category.codes.get(code, UNSEEN) == UNSEEN
        )


@dataclass(frozen=True)
class _Category:
    """A category of the model that the snapshot has.

    Attributes:
        name: The feature.
        position: In the model's vector.
        column: In the snapshot.
        levels: The text of each code of the snapshot.
        codes: The model's code for each code of the snapshot.
    """

    name: str
    position: int
    column: int
    levels: tuple[str, ...]
    codes: dict[float, float]

    def text(self, code: float) -> str | None:
        """The text of a code of the snapshot; None if it is missing."""
        return self.levels[int(code)] if code in self.codes else None

    def translate(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) codes of the snapshot as codes of the model."""
        distinct, where = np.unique(codes, return_inverse=True)
        translated = [code if math.isnan(code) else self.codes.get(code, UNSEEN) for code in distinct.tolist()]
        return np.array(translated, dtype=np.float64)[where]


def _category(feature: FeatureSpec, position: int, column: int, levels: tuple[str, ...]) -> _Category:
    known = {level: float(code) for code, level in enumerate(feature.categories)}
    codes = {float(code): known.get(level, UNSEEN) for code, level in enumerate(levels)}
    return _Category(feature.name, position, column, levels, codes)


def _check_kinds(snapshot: Snapshot, features: list[FeatureSpec]) -> None:
    for feature in features:
        if (feature.kind == "category") != (feature.name in snapshot.table.levels):
            here = "a number" if feature.kind == "category" else "a category"
            raise OnlineStoreError(
                f"{feature.name} is a {feature.kind} to the model, and {here} in {snapshot.table.path}: "
                "retrain the model, or materialize `user_features` with the settings it was trained with"
            )

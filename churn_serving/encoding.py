"""From named values to the vector a scorer reads: one number a feature, in the order of the schema."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from churn_serving.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from churn_serving.schema import FeatureSpec

UNSEEN = -1.0
"""The code of a category that training never saw."""

_NAN = math.nan


class Columns(Protocol):
    """Anything that gives a column by name: a mapping of lists or arrays, a data frame, an Arrow table."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the column called `name`."""


class Encoder:
    """Turns rows and tables into vectors of float64, one entry a feature.

    Numbers and flags stay as they are, NaN when missing. A category becomes the index of its level in
    `FeatureSpec.categories`, NaN when missing, `UNSEEN` when training never saw it.

    Args:
        features: The model's features, categories with their levels.
    """

    def __init__(self, features: tuple[FeatureSpec, ...]) -> None:
        self.features = features
        self.names = tuple(feature.name for feature in features)
        self.packed = struct.Struct(f"<{len(features)}d").pack
        """Return the F numbers of a vector, each an argument, as bytes: float64, little-endian."""
        self._levels = tuple(
            (
                position,
                {**{level: float(code) for code, level in enumerate(feature.categories)}, _NAN: _NAN, None: _NAN},
            )
            for position, feature in enumerate(features)
            if feature.kind == "category"
        )

    def row(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the vector (F,) of one row; an absent name or None means missing.

        Raises:
            EncodingError: A number or flag is neither a number nor None. Bounds are not checked here.
        """
        get = values.get
        try:
            return self.cells([_NAN if (value := get(name)) is None else value for name in self.names])
        except (struct.error, TypeError, OverflowError) as error:
            raise self._row_error(values) from error

    def cells(self, cells: list[Any]) -> NDArray[np.float64]:
        """Return the vector (F,) of one row of values in the schema's order, None or NaN where one is missing.

        The list is used up. Values are trusted to be of the right type.

        Raises:
            struct.error: A number is None, or no number.
        """
        self.code(cells)
        return np.frombuffer(self.packed(*cells), "<f8")

    def code(self, cells: list[Any]) -> None:
        """Put codes in the place of the categories of a row as `cells` takes it."""
        for position, levels in self._levels:
            code = levels.get(cells[position])
            cells[position] = _code_beyond(cells[position]) if code is None else code

    def cell_columns(self, columns: Sequence[Sequence[Any]]) -> NDArray[np.float64]:
        """Return the matrix (n, F) of F columns of n values as `cells` takes them."""
        levels = dict(self._levels)
        coded = [self._coded(column, levels.get(position)) for position, column in enumerate(columns)]
        return np.stack(coded, axis=1) if coded else np.empty((0, len(self.names)))

    def columns(self, table: Columns) -> NDArray[np.float64]:
        """Return the matrix (n, F) of a table that has every feature as a column.

        Raises:
            EncodingError: A column is absent, is not numeric where it should be, or differs in length.
        """
        levels = dict(self._levels)
        encoded = [self._column(table, name, levels.get(position)) for position, name in enumerate(self.names)]
        lengths = {name: len(column) for name, column in zip(self.names, encoded, strict=True)}
        if len(set(lengths.values())) > 1:
            raise EncodingError(f"columns differ in length: {lengths}")
        matrix = np.empty((len(encoded[0]) if encoded else 0, len(encoded)))
        for position, column in enumerate(encoded):
            matrix[:, position] = column
        return matrix

    @staticmethod
    def _coded(column: Sequence[Any], levels: Mapping[Any, float] | None) -> NDArray[np.float64]:
        if levels is not None:
            codes = [levels.get(value) for value in column]
            column = [_code_beyond(value) if code is None else code for code, value in zip(codes, column, strict=True)]
        try:
            return np.frombuffer(struct.pack(f"{len(column)}d", *column))  # four times as fast as making an array
        except struct.error:  # somewhere is a null
            return np.array(column, dtype=np.float64)

    def _column(self, table: Columns, name: str, levels: Mapping[Any, float] | None) -> NDArray[np.float64]:
        try:
            column = table[name]
        except KeyError:
            raise EncodingError(f"column {name!r} is absent; the model needs {', '.join(self.names)}") from None
        try:
            if levels is None:
                return np.asarray(column, dtype=np.float64)
            # Arrow's own way: as an array, its dictionaries would show a null as one of the categories.
            values = column.to_pylist() if hasattr(column, "to_pylist") else np.asarray(column, dtype=object).tolist()
            codes = [levels.get(_NAN if value is None else value) for value in values]
            pairs = zip(codes, values, strict=True)
            return np.array([_code_beyond(value) if code is None else code for code, value in pairs], dtype=np.float64)
        except (TypeError, ValueError) as error:
            wanted = "numbers" if levels is None else "text"
            raise EncodingError(f"column {name!r} should hold {wanted} or nulls: {error}") from error

    def _row_error(self, values: Mapping[str, Any]) -> EncodingError:
        for feature in self.features:
            value = values.get(feature.name)
            wanted = str if feature.kind == "category" else (int, float, np.number, np.bool_)
            if value is not None and not isinstance(value, wanted):
                kind = "text" if feature.kind == "category" else "a number"
                return EncodingError(f"{feature.name} should be {kind} or null, not {value!r}")
        return EncodingError("a number is too large for a float")


def _code_beyond(value: object) -> float:
    return _NAN if isinstance(value, float) and value != value else UNSEEN  # noqa: PLR0124 - so is NaN told

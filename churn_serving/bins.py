"""Between which of a forest's thresholds a value lies: a few comparisons, however many thresholds there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CELLS = 1024
"""Cells of the grid that is laid over each feature's thresholds."""

CROWD = 8
"""With more thresholds than this in one cell, a binary search is faster."""


class Bins:
    """Numbers the intervals that the thresholds of each feature cut out, all features in one numbering.

    A feature with k thresholds has k + 1 intervals, open below and closed above (scikit-learn's `x <= t` goes
    left), and one place more for missing values.

    Args:
        columns: Which columns of the encoded vector the forest reads, (U,).
        thresholds: For each of them the ascending, distinct thresholds.

    Attributes:
        columns: As given.
        thresholds: As given.
        first: (U + 1,) number of each feature's lowest interval; the last entry is the count of all.
    """

    def __init__(self, columns: NDArray[np.intp], thresholds: Sequence[NDArray[np.float64]]) -> None:
        self.columns = columns
        self.thresholds = tuple(thresholds)
        self.first = np.concatenate([[0], np.cumsum([len(cuts) + 2 for cuts in thresholds])]).astype(np.intp)
        absent = self.first[1:] - 1
        self._absent = absent
        self._grid = _Grid(self.thresholds, self.first)

    def matrix(self, encoded: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the numbers (n, U) of the intervals in which encoded rows (n, F) lie."""
        values = encoded.take(self.columns, axis=1)
        places = self._grid.places(values)
        np.copyto(places, self._absent, where=np.isnan(values))
        return places


class _Grid:
    """Equal cells over each feature's range of thresholds.

    The cell of a value grows with the value, and the cells of the thresholds are computed by the very same
    operations. So a threshold in a lower cell is below the value, one in a higher cell is not, and only those in the
    value's own cell need to be compared.
    """

    def __init__(self, thresholds: tuple[NDArray[np.float64], ...], first: NDArray[np.intp]) -> None:
        self._thresholds, self._first = thresholds, first
        bounds = [_bounds(cuts) for cuts in thresholds]
        self._low = np.array([low for low, _ in bounds])
        self._scale = np.array([scale for _, scale in bounds])
        self._cell_first = np.arange(len(thresholds), dtype=np.intp) * CELLS
        self._start = np.empty(len(thresholds) * CELLS, dtype=np.intp)
        self._next = np.full(first[-1], np.inf)  # the threshold that ends an interval; nothing ends the last one
        self._crowded: list[int] = []
        self._steps = 0
        for feature, cuts in enumerate(thresholds):
            self._lay(feature, cuts)

    def places(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the interval of each value (n, U); that of a missing value means nothing."""
        places = self._start.take(self._cells(values, self._low, self._scale) + self._cell_first)
        for _ in range(self._steps):
            places += values > self._next.take(places)
        for feature in self._crowded:
            places[:, feature] = np.searchsorted(self._thresholds[feature], values[:, feature])
            places[:, feature] += self._first[feature]
        return places

    def _lay(self, feature: int, cuts: NDArray[np.float64]) -> None:
        cells = self._cells(cuts, self._low[feature], self._scale[feature])
        crowd = int(np.bincount(cells, minlength=1).max())
        is_crowded = crowd > CROWD or not 0 < self._scale[feature] < np.inf
        start = np.zeros(CELLS, np.intp) if is_crowded else np.searchsorted(cells, np.arange(CELLS))
        self._start[feature * CELLS : (feature + 1) * CELLS] = start + self._first[feature]
        self._next[self._first[feature] : self._first[feature] + len(cuts)] = cuts
        if is_crowded:
            self._crowded.append(feature)
        else:
            self._steps = max(self._steps, crowd)

    @staticmethod
    def _cells(values: NDArray[np.float64], low: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.intp]:
        with np.errstate(over="ignore", invalid="ignore"):
            cells = values - low
            cells *= scale
            cells += 1
        np.fmax(cells, 0, out=cells)  # NaN becomes 0 as well
        return np.fmin(cells, CELLS - 1, out=cells).astype(np.intp)


def _bounds(cuts: NDArray[np.float64]) -> tuple[float, float]:
    """Return the lowest finite threshold and the cells per unit; the scale is 0 if no grid can be laid."""
    finite = cuts[np.isfinite(cuts)]
    if not len(finite):
        return 0.0, 0.0
    with np.errstate(over="ignore", divide="ignore"):
        spread = finite[-1] - finite[0]
        scale = (CELLS - 2) / spread if spread > 0 else 1.0
    return float(finite[0]), float(scale) if np.isfinite(scale) else 0.0

"""Boosted trees without branches: a row's exit leaves fall out of a bitwise AND.

After QuickScorer (Lucchese et al., SIGIR 2015) and RapidScorer (Ye et al., KDD 2018): for each feature and each
interval between its thresholds, one integer a tree says which leaves a value there leaves reachable. ANDed over all
features, exactly one bit a tree remains.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churn_serving.explain import TreeShares
from churn_serving.forest import Forest
from churn_serving.scorer import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_serving.schema import FeatureSpec

BLOCK = 256
"""Rows at a time; the masks of a block (77 kB with 150 trees) stay in the cache."""

_EXPONENT_BIAS = 1023
"""A double 2.0**k holds k + 1023 in the bits above the 52 of its fraction."""


class TreeScorer(Scorer):
    """Calibrated log-odds as an intercept plus one leaf a tree.

    Args:
        features: Schema of the encoded vector, F features.
        arrays: Those of `Forest`, by name.

    Raises:
        ScorerError: The arrays are not trees over these features.
    """

    kind: ClassVar[str] = "hist_gradient_boosting"

    def __init__(self, features: tuple[FeatureSpec, ...], **arrays: NDArray[Any]) -> None:
        super().__init__(features)
        self._forest = forest = Forest.of(arrays, len(features))
        self._bins = forest.bins
        self._intercept = forest.intercept[0]
        below = _leaves_below(forest)
        self._all_leaves, self._masks = _reachable(forest, below)
        leaves = np.flatnonzero(forest.feature < 0)
        self._leaf_values = forest.value[leaves]
        self._plan_row()
        self._first_leaf = np.searchsorted(leaves, forest.first_node[:-1]) - _EXPONENT_BIAS

    def _plan_row(self) -> None:
        """Lay the masks out for one row at a time: those of all trees as one long number."""
        self._row_kind = self._masks.dtype.newbyteorder("<")
        self._row_bytes = self._all_leaves.nbytes
        self._row_leaves = _as_number(self._all_leaves, self._row_kind)
        first = self._bins.first.tolist()
        spans = zip(self._bins.columns.tolist(), self._bins.thresholds, first[:-1], first[1:], strict=True)
        self._row_plan = [
            (column, cuts.tolist(), [_as_number(mask, self._row_kind) for mask in self._masks[start:stop]])
            for column, cuts, start, stop in spans
        ]

    @property
    def base(self) -> float:  # type: ignore[override]
        """Calibrated log-odds that the training rows' covers expect of an unknown row."""
        return self._shares.base

    def log_odds(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated log-odds (n,) of churn for an encoded matrix (n, F)."""
        result = np.empty(len(encoded))
        for start in range(0, len(encoded), BLOCK):
            places = self._bins.matrix(encoded[start : start + BLOCK])
            left = np.tile(self._all_leaves, (len(places), 1))
            allowed = np.empty_like(left)
            for column in range(places.shape[1]):
                # "clip" writes straight into `out`; every place is in range
                self._masks.take(places[:, column], axis=0, out=allowed, mode="clip")
                np.bitwise_and(left, allowed, out=left)
            result[start : start + BLOCK] = np.add.reduce(self._exit_values(left), axis=1)
        result += self._intercept
        return result

    def log_odds_cells(self, cells: list[float]) -> float:
        """Return what `log_odds` returns for this row, bit for bit."""
        left = self._row_leaves
        for column, cuts, masks in self._row_plan:
            value = cells[column]
            left &= masks[bisect_left(cuts, value)] if value == value else masks[-1]  # noqa: PLR0124 - so is NaN told
        leaves = np.frombuffer(left.to_bytes(self._row_bytes, "little"), self._row_kind)
        return float(np.add.reduce(self._exit_values(leaves)) + self._intercept)

    def contributions(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return path-dependent TreeSHAP values, a category counting as one feature, (n, F)."""
        return self._shares.contributions(encoded)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that make this scorer, by name."""
        return self._forest.arrays()

    @cached_property
    def _shares(self) -> TreeShares:
        return TreeShares(self._forest, len(self.features))

    def _exit_values(self, left: NDArray[Any]) -> NDArray[np.float64]:
        """Return the leaf values (..., T) for masks (..., T) of which each has one bit set."""
        leaves = left.astype(np.float64).view(np.int64)  # a power of two is exact, its exponent the leaf's number
        leaves >>= 52
        leaves += self._first_leaf
        return self._leaf_values.take(leaves)


def _as_number(masks: NDArray[Any], kind: np.dtype[Any]) -> int:
    """The masks (T,) of all trees, one after the other, as one number; the first tree's is the lowest part."""
    return int.from_bytes(masks.astype(kind).tobytes(), "little")


def _reachable(forest: Forest, below: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return each tree's leaves (T,), and those that a value in each interval (rows) can still reach (columns)."""
    widest = max(below, default=0)
    kind = np.dtype(next(kind for kind in (np.uint16, np.uint32, np.uint64) if widest <= np.iinfo(kind).max))
    everything = np.array([below[root] for root in forest.first_node[:-1].tolist()], dtype=kind)
    masks = np.tile(everything, (forest.bins.first[-1], 1))
    tree = np.repeat(np.arange(forest.tree_count), np.diff(forest.first_node)).tolist()
    under = np.array(below, dtype=kind)
    for node, place, goes_left in forest.splits():
        column = masks[forest.bins.first[place] : forest.bins.first[place + 1], tree[node]]
        column &= ~np.where(goes_left, under[forest.right[node]], under[forest.left[node]])
    return everything, masks


def _leaves_below(forest: Forest) -> list[int]:
    """Return for each node the leaves under it, as bits in the order of the tree's leaves."""
    is_leaf = forest.feature < 0
    before: NDArray[np.int64] = np.cumsum(is_leaf) - is_leaf
    number: NDArray[np.int64] = before - np.repeat(before[forest.first_node[:-1]], np.diff(forest.first_node))
    below = [1 << bit if leaf else 0 for leaf, bit in zip(is_leaf.tolist(), number.tolist(), strict=True)]
    left, right = forest.left.tolist(), forest.right.tolist()
    for node in np.flatnonzero(~is_leaf)[::-1].tolist():  # children come after their parents
        below[node] = below[left[node]] | below[right[node]]
    return below

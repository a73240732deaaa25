"""Boosted trees as node arrays, in terms of features rather than of one-hot columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_serving.bins import Bins
from churn_serving.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_LEAVES = 64
"""Leaves of a tree that fit into the bits of one integer."""

_FORMS = {
    "first_node": np.int64,
    "feature": np.int32,
    "threshold": np.float64,
    "level": np.int32,
    "missing_left": np.bool_,
    "left": np.int32,
    "right": np.int32,
    "value": np.float64,
    "cover": np.float64,
    "intercept": np.float64,
}


@dataclass(frozen=True)
class Forest:
    """All nodes of all trees, one after the other; N nodes, T trees.

    Attributes:
        first_node: (T + 1,) index of each tree's root; the last entry is N.
        feature: (N,) column of the encoded vector that the node splits on; -1 in a leaf.
        threshold: (N,) a number at most this large goes left; may be infinite (all that is not missing).
        level: (N,) for a category: the level that goes right, all others left; -1 for numbers.
        missing_left: (N,) bool, whether a missing value goes left.
        left: (N,) index of the left child, always larger than the node's own.
        right: (N,) index of the right child, likewise.
        value: (N,) what a leaf adds to the calibrated log-odds; 0 elsewhere.
        cover: (N,) training rows that came through the node.
        intercept: (1,) calibrated log-odds before any tree.
    """

    first_node: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    level: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    cover: NDArray[np.float64]
    intercept: NDArray[np.float64]

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]], feature_count: int) -> Forest:
        """Return the forest made of `arrays`.

        Raises:
            ScorerError: An array lacks, or they are not trees over `feature_count` features.
        """
        if set(arrays) != set(_FORMS):
            raise ScorerError(f"a tree scorer has the arrays {sorted(_FORMS)}, not {sorted(arrays)}")
        forest = cls(**{name: np.ascontiguousarray(arrays[name], dtype=form) for name, form in _FORMS.items()})
        _check(forest, feature_count)
        return forest

    @property
    def tree_count(self) -> int:
        """Number of trees."""
        return len(self.first_node) - 1

    @cached_property
    def bins(self) -> Bins:
        """The intervals that the splits cut out. A category's level lies between two thresholds of its own."""
        columns = np.unique(self.feature[self.feature >= 0]).astype(np.intp)
        return Bins(columns, [self._cuts(column) for column in columns])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def splits(self) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
        """Yield each split: node, place of its feature in `bins.columns`, which of its intervals go left."""
        bins = self.bins
        places = np.searchsorted(bins.columns, self.feature)
        for node in np.flatnonzero(self.feature >= 0).tolist():
            place = int(places[node])
            cuts = bins.thresholds[place]
            goes_left = np.empty(len(cuts) + 2, dtype=np.bool_)
            intervals = np.arange(len(cuts) + 1)
            if self.level[node] < 0:
                goes_left[:-1] = intervals <= np.searchsorted(cuts, self.threshold[node])
            else:
                goes_left[:-1] = intervals != np.searchsorted(cuts, self.level[node])
            goes_left[-1] = self.missing_left[node]
            yield node, place, goes_left

    def _cuts(self, column: np.intp) -> NDArray[np.float64]:
        here = self.feature == column
        levels = self.level[here & (self.level >= 0)]
        return np.unique(np.concatenate([self.threshold[here & (self.level < 0)], levels - 0.5, levels + 0.5]))


def _check(forest: Forest, feature_count: int) -> None:
    count, first = len(forest.feature), forest.first_node
    if any(len(getattr(forest, name)) != count for name in _FORMS if name not in {"first_node", "intercept"}):
        raise ScorerError("the scorer's node arrays differ in length")
    if len(first) < 1 or first[0] != 0 or first[-1] != count or (np.diff(first) <= 0).any():
        raise ScorerError("the scorer's trees do not cover its nodes")
    if forest.intercept.shape != (1,) or not all(np.isfinite(a).all() for a in (forest.intercept, forest.value)):
        raise ScorerError("the scorer's leaf values are not finite")
    split = np.flatnonzero(forest.feature >= 0)
    if (forest.feature >= feature_count).any() or np.isnan(forest.threshold[split]).any():
        raise ScorerError(f"the scorer's splits do not fit its {feature_count} features")
    if (forest.cover <= 0).any() or not np.isfinite(forest.cover).all():
        raise ScorerError("the scorer's nodes have no training rows")
    _check_shape(forest, split)


def _check_shape(forest: Forest, split: NDArray[np.intp]) -> None:
    """Raise unless every node but the roots has one parent, in its own tree and before itself."""
    tree = np.repeat(np.arange(forest.tree_count), np.diff(forest.first_node))
    children = np.concatenate([forest.left[split], forest.right[split]])
    parents = np.concatenate([split, split])
    if (children <= parents).any() or (children >= len(tree)).any():
        raise ScorerError("the scorer's trees are not trees: a child comes before its parent")
    everybody = np.sort(np.concatenate([children, forest.first_node[:-1]]))
    if not np.array_equal(everybody, np.arange(len(tree))) or (tree[children] != tree[parents]).any():
        raise ScorerError("the scorer's trees are not trees: a node has no parent, or two")
    leaves = np.add.reduceat(forest.feature < 0, forest.first_node[:-1]) if forest.tree_count else np.zeros(1)
    if leaves.max() > MAX_LEAVES:
        raise ScorerError(
            f"a tree has {leaves.max()} leaves; at most {MAX_LEAVES} fit into the scorer: train smaller ones"
        )

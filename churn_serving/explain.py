"""Why a score is what it is: path-dependent TreeSHAP (Lundberg, Erion, Lee 2018), exact, from tables.

A leaf's share for feature j, with d distinct features on its path, is `value * (o_j - z_j) * I_j`, where o_k says
whether the row meets the path's conditions on feature k, z_k is the fraction of training rows that did, and I_j is
the integral over t from 0 to 1 of the product over k != j of `t * o_k + (1 - t) * z_k` (Owen's multilinear extension).
The integrand is a polynomial of degree d - 1, so Gauss-Legendre quadrature with d / 2 nodes gives it exactly.

Neighbouring leaves are gathered into clusters that depend on few intervals. A cluster's shares are tabulated once, for
every combination of intervals that it tells apart; a row's shares are then looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_serving.forest import Forest

TABLE_CELLS = 128
"""Most combinations in one cluster's table; a leaf that needs more is computed row by row."""

BLOCK = 32
"""Rows at a time, so that what is looked up stays in the cache."""


@dataclass(frozen=True)
class Condition:
    """What a path asks of one feature.

    Attributes:
        met: For each of the feature's intervals, whether it meets the condition.
        ratio: The fraction of training rows that did, among those that came so far.
    """

    met: NDArray[np.bool_]
    ratio: float


@dataclass(frozen=True)
class Leaf:
    """A leaf's value and its path's conditions, one a feature (by place in `Bins.columns`)."""

    value: float
    path: dict[int, Condition]


@dataclass(frozen=True)
class States:
    """What a cluster tells apart about one feature.

    Attributes:
        number: For each of the feature's intervals the state that it is in.
        met: (states, leaves) whether the state meets each leaf's condition on the feature.
    """

    number: NDArray[np.intp]
    met: NDArray[np.bool_]


@dataclass(frozen=True)
class Cluster:
    """Neighbouring leaves, and the states of every feature on their paths."""

    leaves: list[Leaf]
    states: dict[int, States]

    @classmethod
    def of(cls, leaves: list[Leaf]) -> Cluster:
        """Return the cluster of these leaves."""
        return cls(
            leaves, {place: _states(place, leaves) for place in dict.fromkeys(p for x in leaves for p in x.path)}
        )

    @property
    def cells(self) -> int:
        """Number of combinations of states."""
        return prod(len(states.met) for states in self.states.values())

    def table(self) -> NDArray[np.float64]:
        """Return the shares of every feature (rows) for every combination of states, the last feature's fastest."""
        sizes = [len(states.met) for states in self.states.values()]
        combination = np.indices(sizes).reshape(len(sizes), -1)
        met = [states.met[number].T for states, number in zip(self.states.values(), combination, strict=True)]
        values = np.array([leaf.value for leaf in self.leaves])
        return np.add.reduce(leaf_shares(np.stack(met, axis=1), self.ratios(), values), axis=0)

    def ratios(self) -> NDArray[np.float64]:
        """Return each leaf's (rows) ratio for each feature (columns); 1 where it has no condition."""
        return np.array([[c.ratio if (c := leaf.path.get(p)) else 1.0 for p in self.states] for leaf in self.leaves])


def leaf_shares(
    met: NDArray[np.bool_], ratios: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the Shapley values of leaves.

    Args:
        met: (leaves, d, n) whether each row meets each leaf's condition on each feature.
        ratios: (leaves, d) fraction of training rows that do; where there is no condition, 1 (and `met` true).
        values: (leaves,) the leaves' values.

    Returns:
        (leaves, d, n) shares.
    """
    nodes, weights = np.polynomial.legendre.leggauss((met.shape[1] + 1) // 2)
    met_as_number = met.astype(np.float64)
    integral = np.zeros(met.shape)
    for node, weight in zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
        factors = met_as_number * node
        factors += (1 - node) * ratios[:, :, None]  # never 0: every node has training rows
        whole = np.multiply.reduce(factors, axis=1)
        whole *= weight * values[:, None]
        integral += np.divide(whole[:, None], factors, out=factors)
    met_as_number -= ratios[:, :, None]
    integral *= met_as_number
    return integral


class TreeShares:
    """Shares of each feature in a forest's log-odds.

    Args:
        forest: The trees; their covers are the background distribution.
        width: Number of features in the encoded vector.

    Attributes:
        base: The log-odds when no feature is known.
    """

    def __init__(self, forest: Forest, width: int) -> None:
        self._bins = forest.bins
        self._width = width
        self.base = float(forest.intercept[0])
        clusters: list[Cluster] = []
        deep: dict[int, list[Leaf]] = {}
        for cluster in _clusters(forest):
            self.base += float(cluster.ratios().prod(axis=1) @ [leaf.value for leaf in cluster.leaves])
            if cluster.cells > TABLE_CELLS:
                deep.setdefault(len(cluster.states), []).extend(cluster.leaves)
            elif cluster.states:
                clusters.append(cluster)
        first = forest.bins.first
        self._parts = [_Tables(clusters, first), *(_Deep(leaves, first) for leaves in deep.values())]

    def contributions(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares (n, F) of encoded rows (n, F); with `base` they sum to the log-odds."""
        shares = np.zeros((len(encoded), self._width))
        for start in range(0, len(encoded), BLOCK):
            places = np.ascontiguousarray(self._bins.matrix(encoded[start : start + BLOCK]).T)
            block = np.zeros(places.shape)
            for part in self._parts:
                part.add_shares(places, block)
            shares[start : start + BLOCK, self._bins.columns] = block.T
        return shares


class _Tables:
    """The tables of all clusters, end to end, and where in them a row's shares are.

    A pair is a feature in a cluster. Its `codes` say what an interval adds to the number of the cluster's cell.
    """

    def __init__(self, clusters: list[Cluster], first: NDArray[np.intp]) -> None:
        codes, tables = [np.empty(0, np.int32)], [np.empty(0)]
        pairs: list[tuple[int, int, int, int]] = []  # place, cluster, where its codes are, where its table is
        code_end = table_end = 0
        for number, cluster in enumerate(clusters):
            stride = cells = cluster.cells
            for place, states in cluster.states.items():
                stride //= len(states.met)
                pairs.append((place, number, code_end - int(first[place]), table_end))
                codes.append((states.number * stride).astype(np.int32))
                code_end, table_end = code_end + len(states.number), table_end + cells
            tables.append(cluster.table().ravel())
        self._codes, self._table = np.concatenate(codes), np.concatenate(tables)
        self._place, cluster_of, code_start, table_start = np.array(pairs, dtype=np.intp).reshape(-1, 4).T.copy()
        self._code_start, self._first_pair = code_start[:, None], np.flatnonzero(np.diff(cluster_of, prepend=-1))
        self._by_place = _ByPlace(self._place)
        self._cluster_of = cluster_of[self._by_place.order]
        self._table_start = table_start[self._by_place.order][:, None]

    def add_shares(self, places: NDArray[np.intp], shares: NDArray[np.float64]) -> None:
        """Add to `shares` (U, n) those of rows whose intervals (U, n) are given."""
        if len(self._place):
            where = places.take(self._place, axis=0)
            where += self._code_start
            cells = np.add.reduceat(self._codes.take(where), self._first_pair, axis=0)
            where = cells.take(self._cluster_of, axis=0) + self._table_start
            self._by_place.add(self._table.take(where), shares)


class _Deep:
    """Leaves with d features each on their paths, more than a table has room for."""

    def __init__(self, leaves: list[Leaf], first: NDArray[np.intp]) -> None:
        conditions = [condition for leaf in leaves for condition in leaf.path.values()]
        places = np.array([place for leaf in leaves for place in leaf.path])
        ends = np.cumsum([len(condition.met) for condition in conditions])
        self._place, self._by_place = places, _ByPlace(places)
        self._met = np.concatenate([condition.met for condition in conditions])
        self._met_start = (np.concatenate([[0], ends[:-1]]) - first[places])[:, None]
        self._ratios = np.array([condition.ratio for condition in conditions]).reshape(len(leaves), -1)
        self._values = np.array([leaf.value for leaf in leaves])

    def add_shares(self, places: NDArray[np.intp], shares: NDArray[np.float64]) -> None:
        """Add to `shares` (U, n) those of rows whose intervals (U, n) are given."""
        met = self._met.take(places.take(self._place, axis=0) + self._met_start)
        own = leaf_shares(met.reshape(*self._ratios.shape, -1), self._ratios, self._values)
        self._by_place.add(own.reshape(met.shape).take(self._by_place.order, axis=0), shares)


class _ByPlace:
    """Sums pairs of one feature, once they stand in `order`."""

    def __init__(self, place: NDArray[np.intp]) -> None:
        self.order = np.argsort(place, kind="stable")
        self._places, self._first = np.unique(place[self.order], return_index=True)

    def add(self, ordered: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
        """Add pairs (pairs, n) to the shares (U, n) of their features."""
        shares[self._places] += np.add.reduceat(ordered, self._first, axis=0)


def _clusters(forest: Forest) -> list[Cluster]:
    """Return clusters that hold every leaf once, each with at most `TABLE_CELLS` cells or a single leaf."""
    sides = {node: (place, goes_left) for node, place, goes_left in forest.splits()}

    def grow(node: int, path: dict[int, Condition]) -> list[Cluster]:
        if node not in sides:
            return [Cluster.of([Leaf(float(forest.value[node]), path)])]
        place, goes_left = sides[node]
        before = path.get(place, Condition(np.ones_like(goes_left), 1.0))
        both = []
        for child, side in ((forest.left[node], goes_left), (forest.right[node], ~goes_left)):
            ratio = before.ratio * float(forest.cover[child] / forest.cover[node])
            both.append(grow(int(child), {**path, place: Condition(before.met & side, ratio)}))
        if all(len(part) == 1 for part in both):
            together = Cluster.of(both[0][0].leaves + both[1][0].leaves)
            if together.cells <= TABLE_CELLS:
                return [together]
        return both[0] + both[1]

    return [cluster for root in forest.first_node[:-1].tolist() for cluster in grow(root, {})]


def _states(place: int, leaves: list[Leaf]) -> States:
    """Number the different answers that the feature's intervals give to the leaves' conditions."""
    conditions = [leaf.path.get(place) for leaf in leaves]
    distinct = {id(c.met): c.met for c in conditions if c}
    bit = {key: number for number, key in enumerate(distinct)}
    answers = sum((met.astype(np.uint64) << np.uint64(bit[key]) for key, met in distinct.items()), np.uint64(0))
    patterns, number = np.unique(answers, return_inverse=True)
    met = [patterns >> np.uint64(bit[id(c.met)]) & np.uint64(1) if c else np.ones_like(patterns) for c in conditions]
    return States(number, np.stack(met, axis=1).astype(np.bool_))

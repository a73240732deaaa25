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
from functools import cache
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from churn_serving.forest import Forest

TABLE_CELLS = 1024
"""Most combinations in one cluster's table; a leaf that needs more is computed row by row."""

BLOCK = 32
"""Rows at a time, so that what is looked up stays in the cache."""


@dataclass(frozen=True)
class Condition:
    """What a path asks of one feature.

    Attributes:
        met: The feature's intervals that meet the condition, as bits.
        ratio: The fraction of training rows that did, among those that came so far.
    """

    met: int
    ratio: float


@dataclass(frozen=True)
class Leaf:
    """A leaf's value and its path's conditions, one a feature (by place in `Bins.columns`)."""

    value: float
    path: dict[int, Condition]


@dataclass(frozen=True)
class Cluster:
    """Neighbouring leaves, and the states that they tell apart about each feature on their paths.

    Attributes:
        leaves: The leaves.
        states: By feature, a partition of its intervals (sets as bits): within one state all leaves' conditions have
            the same answers.
    """

    leaves: list[Leaf]
    states: dict[int, list[int]]

    def __add__(self, other: Cluster) -> Cluster:
        """Return the cluster of both clusters' leaves."""
        states = self.states | other.states
        for place in self.states.keys() & other.states.keys():
            pairs = ((mine, yours) for mine in self.states[place] for yours in other.states[place])
            states[place] = [mine & yours for mine, yours in pairs if mine & yours]
        return Cluster(self.leaves + other.leaves, states)

    @property
    def cells(self) -> int:
        """Number of combinations of states."""
        return prod(len(sets) for sets in self.states.values())

    def table(self, own: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the shares of every feature (rows) for every combination of states, the last feature's fastest.

        Args:
            own: Of each leaf, its `answer_shares`.
        """
        sizes = [len(sets) for sets in self.states.values()]
        numbers = dict(zip(self.states, np.indices(sizes).reshape(len(sizes), -1), strict=True))
        row_of = {place: row for row, place in enumerate(self.states)}
        shares = np.zeros((len(sizes), self.cells))
        for leaf, answers in zip(self.leaves, own, strict=True):
            answer = sum(
                self._met(place, c.met, bit)[numbers[place]] for bit, (place, c) in enumerate(leaf.path.items())
            )
            shares[[row_of[place] for place in leaf.path]] += answers.take(answer, axis=1)
        return shares

    def ratios(self) -> NDArray[np.float64]:
        """Return each leaf's (rows) ratio for each feature (columns); 1 where it has no condition."""
        return np.array([[c.ratio if (c := leaf.path.get(p)) else 1.0 for p in self.states] for leaf in self.leaves])

    def _met(self, place: int, met: int, bit: int) -> NDArray[np.intp]:
        """Return `2 ** bit` for each state of a feature that meets a condition, else 0."""
        return np.array([(met & state > 0) << bit for state in self.states[place]])


def answer_shares(leaves: list[Leaf]) -> list[NDArray[np.float64]]:
    """Return each leaf's shares of its own d features, (d, 2 ** d): bit k of the column says if the k-th is met."""
    shares: list[NDArray[np.float64]] = [np.empty((0, 1))] * len(leaves)
    by_depth: dict[int, list[int]] = {}
    for number, leaf in enumerate(leaves):
        by_depth.setdefault(len(leaf.path), []).append(number)
    for depth, numbers in by_depth.items():
        met = (np.arange(2**depth) >> np.arange(depth)[:, None] & 1).astype(np.bool_)
        ratios = np.array([[c.ratio for c in leaves[number].path.values()] for number in numbers]).reshape(-1, depth)
        values = np.array([leaves[number].value for number in numbers])
        found = leaf_shares(np.broadcast_to(met, (len(numbers), *met.shape)), ratios, values)
        for number, own in zip(numbers, found, strict=True):
            shares[number] = own
    return shares


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
    nodes, weights = _quadrature((met.shape[1] + 1) // 2)
    met_as_number = met.astype(np.float64)
    integral = np.zeros(met.shape)
    for node, weight in zip(nodes, weights, strict=True):
        factors = met_as_number * node
        factors += (1 - node) * ratios[:, :, None]  # never 0: every node has training rows
        whole = np.multiply.reduce(factors, axis=1)
        whole *= weight * values[:, None]
        integral += np.divide(whole[:, None], factors, out=factors)
    met_as_number -= ratios[:, :, None]
    integral *= met_as_number
    return integral


@cache
def _quadrature(count: int) -> tuple[list[float], list[float]]:
    """Return nodes and weights of Gauss-Legendre quadrature from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


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
        self._parts: list[_Tables | _Deep] = [
            _Tables(clusters, first),
            *(_Deep(leaves, first) for leaves in deep.values()),
        ]

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
        sizes = np.diff(first).tolist()
        own = iter(answer_shares([leaf for cluster in clusters for leaf in cluster.leaves]))
        code_end = table_end = 0
        for number, cluster in enumerate(clusters):
            stride = cells = cluster.cells
            for place, sets in cluster.states.items():
                stride //= len(sets)
                pairs.append((place, number, code_end - int(first[place]), table_end))
                added = sum(np.int32(state * stride) * _to_array(bits, sizes[place]) for state, bits in enumerate(sets))
                codes.append(np.asarray(added, dtype=np.int32))
                code_end, table_end = code_end + sizes[place], table_end + cells
            tables.append(cluster.table(islice(own, len(cluster.leaves))).ravel())
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
        sizes = np.diff(first)[places]
        self._place, self._by_place = places, _ByPlace(places)
        met = [_to_array(c.met, size) for c, size in zip(conditions, sizes.tolist(), strict=True)]
        self._met = np.concatenate(met).astype(np.bool_)
        self._met_start = (np.cumsum(sizes) - sizes - first[places])[:, None]
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
    sides = {node: (place, _to_bits(goes_left), len(goes_left)) for node, place, goes_left in forest.splits()}
    left, right, cover = forest.left.tolist(), forest.right.tolist(), forest.cover.tolist()

    def grow(node: int, path: dict[int, Condition]) -> list[Cluster]:
        if node not in sides:
            return [_single(Leaf(float(forest.value[node]), path), forest.bins.first)]
        place, goes_left, size = sides[node]
        before = path.get(place, Condition((1 << size) - 1, 1.0))
        both = []
        for child, side in ((left[node], goes_left), (right[node], ~goes_left)):
            condition = Condition(before.met & side, before.ratio * cover[child] / cover[node])
            both.append(grow(child, {**path, place: condition}))
        if all(len(part) == 1 for part in both):
            together = both[0][0] + both[1][0]
            if together.cells <= TABLE_CELLS:
                return [together]
        return both[0] + both[1]

    return [cluster for root in forest.first_node[:-1].tolist() for cluster in grow(root, {})]


def _single(leaf: Leaf, first: NDArray[np.intp]) -> Cluster:
    states = {}
    for place, condition in leaf.path.items():
        everything = (1 << int(first[place + 1] - first[place])) - 1
        states[place] = [bits for bits in (condition.met, everything & ~condition.met) if bits]
    return Cluster([leaf], states)


def _to_bits(flags: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def _to_array(bits: int, size: int) -> NDArray[np.uint8]:
    """Return the lowest `size` bits as zeros and ones."""
    content = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(content, count=size, bitorder="little")

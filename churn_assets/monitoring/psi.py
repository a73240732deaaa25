"""The population stability index: how far a distribution has moved from the one it is compared with.

    PSI = sum over bins of (q - p) * ln(q / p)

with p and q the bin's share then and now (Siddiqi 2006, "Credit Risk Scorecards", who also gives the usual readings:
below 0.1 little, above 0.25 much). It is the symmetric Kullback-Leibler divergence: 0 for equal shares, never negative.

Bins come from the reference alone, so that every day is measured with the same rule. Samples differ by chance: without
any drift, PSI / (1/n + 1/m) follows a chi-squared law with B - 1 degrees of freedom for B bins (Yurdakul 2018,
"Statistical Properties of Population Stability Index"), and that gives the noise below which an index says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

BINS = 10
"""Bins of equal share that a number is cut into: deciles."""

MAX_LEVELS = 50
"""Levels of a category with a bin of their own; all others share the bin of the unseen ones."""

PSEUDO_OBSERVATIONS = 1.0
"""What is added to either sample in smoothing."""

NOISE_QUANTILE = 3.090232306167813
"""Standard normal quantile of 0.999: of 46 stable features, one in about 20 days comes above its noise limit."""


def psi(reference: Counts, current: Counts) -> float:
    """Return the population stability index of two samples, counted in the same bins.

    An empty bin has no logarithm, so each sample gets one imaginary observation more, spread over the bins as the two
    samples taken together are. Unlike a constant for every bin, that leaves equal shares equal however different the
    sizes of the samples, and adds nothing for bins that are empty in both.

    Args:
        reference: (B,) counts then.
        current: (B,) counts now.

    Raises:
        ValueError: A sample is empty.
    """
    if not reference.sum() or not current.sum():
        raise ValueError("an empty sample has no distribution to compare")
    used = (reference + current) > 0
    then, now = reference[used].astype(np.float64), current[used].astype(np.float64)
    pooled = (then + now) / (then.sum() + now.sum()) * PSEUDO_OBSERVATIONS
    p = (then + pooled) / (then.sum() + PSEUDO_OBSERVATIONS)
    q = (now + pooled) / (now.sum() + PSEUDO_OBSERVATIONS)
    return max(float(np.sum((q - p) * np.log(q / p))), 0.0)  # rounding may leave -1e-17 for equal shares


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What the index comes to by chance alone, when nothing has changed.

    Attributes:
        expected: Its mean, (B - 1) * (1/n + 1/m).
        limit: What it stays below in 999 of 1,000 cases; nothing below it is a signal.
    """

    expected: float
    limit: float


def noise(bins: int, reference_size: int, current_size: int) -> Noise:
    """Return the index that two samples of one population show (Yurdakul 2018).

    The quantile of the chi-squared law is Wilson and Hilferty's (1931): 3 % too high at most.

    Args:
        bins: Bins in use, B.
        reference_size: Independent observations then, n: users, not rows.
        current_size: Independent observations now, m.
    """
    freedom = bins - 1
    if freedom < 1:
        return Noise(expected=0.0, limit=0.0)
    scale = 1.0 / reference_size + 1.0 / current_size
    spread = 2.0 / (9.0 * freedom)
    return Noise(
        expected=freedom * scale,
        limit=freedom * (1.0 - spread + NOISE_QUANTILE * spread**0.5) ** 3 * scale,
    )


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """How one column was distributed in the reference: bins, and how many rows fell into each.

    A number's bins, in order: below all that was seen; `(…, edges[0]]`, `(edges[0], edges[1]]`, … ; above all that was
    seen; missing. A category's: each of `levels`; any other; missing.

    Attributes:
        name: Column.
        kind: How it is binned. A flag is a number with two values.
        lowest: Smallest finite number seen; None if there was none.
        edges: Upper ends of a number's bins, each of them a value that was seen, ascending.
        levels: Levels of a category, most frequent first.
        counts: Rows of each bin.
        typical: Median, or most frequent level; None if all were missing.
    """

    name: str
    kind: Literal["number", "category"]
    counts: tuple[int, ...]
    lowest: float | None = None
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    typical: float | str | None = None

    @property
    def rows(self) -> int:
        """Rows in all bins."""
        return sum(self.counts)

    def count(self, column: pa.ChunkedArray) -> Counts:
        """Count another sample in this distribution's bins."""
        if self.kind == "category":
            return self._count_texts(column)
        return self._count_numbers(numbers_of(column))

    def count_missing(self, rows: int) -> Counts:
        """The counts of a column that is not there at all."""
        counts = np.zeros(len(self.counts), dtype=np.int64)
        counts[-1] = rows
        return counts

    def outside(self, counts: Counts) -> int:
        """Rows, counted in these bins, whose value was not seen in the reference: beyond its range, or a new level."""
        return int(counts[-2]) + (int(counts[0]) if self.kind == "number" else 0)

    def labels(self) -> list[str]:
        """The bins in words, in order."""
        if self.kind == "category":
            return [*self.levels, "other", "missing"]
        ends = [f"{edge:.4g}" for edge in self.edges]
        starts = ["" if self.lowest is None else f"{self.lowest:.4g}", *ends]
        inner = [end if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=False)]
        return [f"below {starts[0]}", *inner, f"above {starts[-1]}", "missing"]

    def _count_numbers(self, values: Floats) -> Counts:
        place = np.searchsorted(np.array(self.edges), values, side="left") + 1
        if self.lowest is not None:
            place[values < self.lowest] = 0
        place[np.isnan(values)] = len(self.edges) + 2
        return np.bincount(place, minlength=len(self.edges) + 3)

    def _count_texts(self, column: pa.ChunkedArray) -> Counts:
        place = {level: number for number, level in enumerate(self.levels)}
        counts = np.zeros(len(self.levels) + 2, dtype=np.int64)
        for level, rows in levels_of(column).items():
            counts[-1 if level is None else place.get(level, -2)] += rows
        return counts


def describe_numbers(name: str, column: pa.ChunkedArray, bins: int = BINS) -> Distribution:
    """Choose a number's bins from a reference, and count it.

    Bins end at observed values of equal steps of rank (ties merged), and a value so frequent that it takes a bin's
    whole share (most often 0) gets a bin of its own. With few different values each has its own. Only the order of
    the values matters: whoever stretches the scale, then and now alike, gets the same bins and the same index.
    """
    values = numbers_of(column)
    finite = np.sort(values[np.isfinite(values)])
    edges = _edges(finite, bins)
    empty = Distribution(
        name=name,
        kind="number",
        counts=(),
        lowest=float(finite[0]) if len(finite) else None,
        edges=tuple(edges.tolist()),
        typical=float(np.median(finite)) if len(finite) else None,
    )
    return msgspec.structs.replace(empty, counts=tuple(empty.count(column).tolist()))


def describe_texts(name: str, column: pa.ChunkedArray, max_levels: int = MAX_LEVELS) -> Distribution:
    """Choose a category's bins from a reference, and count it: one a level, most frequent first."""
    found = levels_of(column)
    named = sorted(((-rows, level) for level, rows in found.items() if level is not None))
    levels = tuple(level for _, level in named[:max_levels])
    empty = Distribution(name=name, kind="category", counts=(), levels=levels, typical=levels[0] if levels else None)
    return msgspec.structs.replace(empty, counts=tuple(empty.count(column).tolist()))


def numbers_of(column: pa.ChunkedArray) -> Floats:
    """A column as floats, NaN where it is null."""
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values


def levels_of(column: pa.ChunkedArray) -> dict[str | None, int]:
    """Rows of each level of a column of text (or a dictionary of it), nulls as None."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    counted = column.cast(pa.string()).value_counts()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _edges(finite: Floats, bins: int) -> Floats:
    """Upper ends of the bins of sorted, finite values."""
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) <= bins:
        return distinct
    ranks = np.ceil(np.arange(1, bins + 1) / bins * len(finite)).astype(np.intp) - 1
    frequent = np.flatnonzero(counts * bins >= len(finite))
    alone = np.concatenate([frequent, frequent[frequent > 0] - 1])
    return np.unique(np.concatenate([finite[ranks], distinct[alone]]))

"""The population that a model learned from, as it travels with the model; and how today's differs from it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.monitoring.promise import Promise, promised
from churn_assets.monitoring.psi import (
    BINS,
    Distribution,
    Noise,
    describe_numbers,
    describe_texts,
    levels_of,
    noise,
    numbers_of,
    psi,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from churn_serving.schema import FeatureSpec

    Floats = NDArray[np.float64]

SCORE = "churn_risk"
"""Name of the score's distribution."""

HISTOGRAM_EDGES = np.arange(-6.0, 4.25, 0.5)
"""Log-odds between which the bars of the score's picture lie; most risks are small, and there the bars are finer."""

KEYS = ("user_id", "as_of_date", "at_risk", "churned")
"""Columns that are no features."""


ORDINARY_QUANTILE = 0.75
"""Of the index of single dates of the holdout against all of it: what lies below is an ordinary day."""

LEAST_DATES = 5
"""Dates that say what is ordinary; with fewer, chance alone does."""

SEASON = timedelta(days=365)
SEASON_TOLERANCE = timedelta(days=10)
SEASON_SLACK = 0.02
"""ROC-AUC by which a good season may have been below the usual, beside what two standard errors of it explain."""


class DayShape(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one as-of date of the training set.

    Attributes:
        day: The date.
        counts: Rows in each bin of the reference's score.
        promise: What they promise.
        held_out: Whether the model did not learn from that date.
        roc_auc: What they reached, as the labels say; None if all left or none did.
        error: Standard error of that.
    """

    day: date
    counts: tuple[int, ...]
    promise: Promise
    held_out: bool
    roc_auc: float | None = None
    error: float = 0.0


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What drift is measured against: the population of a model's holdout.

    Attributes:
        first_date: First as-of date.
        last_date: Last as-of date.
        rows: Users × dates.
        users: Different users; two dates of one user are no two independent observations.
        features: One distribution a feature, in the schema's order.
        score: The distribution of the model's scores.
        score_histogram: Rows by score, in bars of equal log-odds (`HISTOGRAM_EDGES`); the outer ones have no end.
        mean_score: Mean of the scores.
        history: The scores of each as-of date of the training set, oldest first.
        importance: Share of each feature in what moves scores, by name: mean absolute contribution to the log-odds
            about its mean, over that of all.
    """

    first_date: date
    last_date: date
    rows: int
    users: int
    features: tuple[Distribution, ...]
    score: Distribution
    score_histogram: tuple[int, ...]
    mean_score: float
    history: tuple[DayShape, ...] = ()
    importance: dict[str, float] = {}

    @property
    def ordinary_psi(self) -> float:
        """What the score's index of most single dates of the holdout, against all of it, stays below; 0 if too few."""
        whole = np.array(self.score.counts)
        found = [psi(whole, np.array(shape.counts)) for shape in self.history if shape.held_out]
        return float(np.quantile(found, ORDINARY_QUANTILE)) if len(found) >= LEAST_DATES else 0.0

    @property
    def promise(self) -> Promise:
        """What scores of people the model did not learn from promised: the median over the holdout's dates."""
        known = [shape.promise for shape in self.history if shape.held_out and shape.promise.roc_auc is not None]
        if not known:
            return Promise(roc_auc=None)
        middle = sorted(known, key=lambda found: found.roc_auc or 0.0)[len(known) // 2]
        return Promise(roc_auc=middle.roc_auc, error=middle.error / len(known) ** 0.5)

    def season(self, day: date) -> DayShape | None:
        """The date a whole number of years before `day`, if one is near and the model told people apart then.

        A season in which it surely did not is no excuse: scores that look as they did then are an alarm all the same.
        """
        near = [shape for shape in self.history if _off_season(day, shape) <= SEASON_TOLERANCE]
        if not near:
            return None
        shape = min(near, key=lambda found: _off_season(day, found))
        usual = self.usual_roc_auc
        if usual is None or shape.roc_auc is None:
            return None
        return shape if shape.roc_auc >= usual - SEASON_SLACK - 2 * shape.error else None

    @property
    def usual_roc_auc(self) -> float | None:
        """The median over the holdout's dates of the ROC-AUC reached; None if it is not known."""
        known = [shape.roc_auc for shape in self.history if shape.held_out and shape.roc_auc is not None]
        return float(np.median(known)) if known else None

    @property
    def typical(self) -> dict[str, float | str | None]:
        """What users commonly have, by feature name: median, or most frequent level."""
        return {feature.name: feature.typical for feature in self.features}

    def to_bytes(self) -> bytes:
        """Return it as JSON; equal references give equal bytes."""
        return msgspec.json.encode(self)

    @staticmethod
    def from_bytes(content: bytes) -> Reference:
        """Return what `to_bytes` wrote.

        Raises:
            msgspec.ValidationError: It is something else.
        """
        return msgspec.json.decode(content, type=Reference)


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """How one column differs from the reference.

    Attributes:
        name: Column.
        kind: How it is binned.
        psi: Population stability index.
        noise: What the index comes to by chance alone.
        bins: The bins in words.
        shares_then: Share of each bin in the reference.
        shares_now: Share of each bin now.
        missing_then: Share of missing values in the reference.
        missing_now: Share of missing values now.
        outside_now: Share of values beyond what the reference held: out of its range, or a level of which it had none.
        typical_then: Median or most frequent level of the reference.
        typical_now: The same, now.
        vanished: Whether the column is no longer there; all its values then count as missing.
    """

    name: str
    kind: str
    psi: float
    noise: Noise
    bins: list[str]
    shares_then: list[float]
    shares_now: list[float]
    missing_then: float
    missing_now: float
    outside_now: float
    typical_then: float | str | None
    typical_now: float | str | None
    vanished: bool = False

    def reaches(self, limit: float) -> bool:
        """Whether the index is at or above `limit`, and above what chance alone explains."""
        return self.psi >= limit and self.psi > self.noise.limit


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Today's population against the reference.

    Attributes:
        features: One shift a feature of the reference, in its order.
        score: The shift of the score.
        new: Columns that the reference does not know.
        weighted_psi: Mean of the features' indices, each weighted with its importance; None if that is not known.
    """

    features: tuple[Shift, ...]
    score: Shift
    new: tuple[str, ...]
    weighted_psi: float | None = None

    @property
    def psi_by_feature(self) -> dict[str, float]:
        """The index of each feature, by name."""
        return {shift.name: shift.psi for shift in self.features}

    @property
    def score_psi(self) -> float:
        """The index of the score."""
        return self.score.psi


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one as-of date of the training set.

    Attributes:
        scores: (n,) probabilities.
        held_out: Whether the model did not learn from that date.
        roc_auc: What they reached; None if all left or none did.
        error: Standard error of that.
    """

    scores: Floats
    held_out: bool
    roc_auc: float | None = None
    error: float = 0.0


def make_reference(  # noqa: PLR0913 - three by name, with defaults
    table: pa.Table,
    scores: Floats,
    features: Sequence[FeatureSpec],
    *,
    history: Mapping[date, Scored] | None = None,
    importance: Mapping[str, float] | None = None,
    bins: int = BINS,
) -> Reference:
    """Describe the population that a model learned from.

    Args:
        table: Rows at risk on the last training dates: `user_id`, `as_of_date`, features.
        scores: (n,) the model's scores of these rows.
        features: What the model reads; one that the table lacks counts as missing everywhere.
        history: The scores of each as-of date of the training set.
        importance: Share of each feature in what moves scores.
        bins: Bins of equal share for a number.

    Raises:
        ValueError: There are no rows, or not one score a row.
    """
    _require_scores(table, scores)
    if not len(scores):
        raise ValueError("a reference needs rows: nobody was at risk on the given dates")
    dates = pc.min_max(table["as_of_date"].cast(pa.date32())).as_py()
    score = describe_numbers(SCORE, pa.chunked_array([scores]), bins)
    return Reference(
        first_date=dates["min"],
        last_date=dates["max"],
        rows=len(scores),
        users=pc.count_distinct(table["user_id"]).as_py(),
        features=tuple(_describe(table, spec, bins) for spec in features),
        score=score,
        score_histogram=score_histogram(scores),
        mean_score=float(np.mean(scores)),
        history=tuple(_shape(score, day, found) for day, found in sorted((history or {}).items())),
        importance=dict(importance or {}),
    )


def compare(reference: Reference, table: pa.Table, scores: Floats) -> Comparison:
    """Measure how far a population has moved from the reference.

    Args:
        reference: What to compare with.
        table: The scored rows: `user_id` and features. A feature that is no longer there counts as missing everywhere.
        scores: (m,) the scores of these rows, by the model that the reference belongs to.

    Raises:
        ValueError: There are no rows, or not one score a row.
    """
    _require_scores(table, scores)
    if not len(scores):
        raise ValueError("an empty population cannot be compared")
    users = pc.count_distinct(table["user_id"]).as_py()
    known = {feature.name for feature in reference.features}
    sizes = (reference.users, users)
    shifts = tuple(_shift(feature, table, sizes) for feature in reference.features)
    return Comparison(
        features=shifts,
        score=score_shift(reference, scores, users),
        new=tuple(name for name in table.column_names if name not in known and name not in KEYS),
        weighted_psi=_weighted(shifts, reference.importance),
    )


def score_shift(reference: Reference, scores: Floats, users: int) -> Shift:
    """Measure how far the scores of a population have moved from the reference.

    Args:
        reference: What to compare with.
        scores: (m,) scores, at least one.
        users: Different users behind them.
    """
    return _shift(reference.score, pa.table({SCORE: scores}), (reference.users, users))


def season_psi(reference: Reference, scores: Floats, day: date) -> float | None:
    """The index of scores against the same season of an earlier year, a good one; None if the history has none."""
    then = reference.season(day)
    if then is None or not len(scores):
        return None
    return psi(np.array(then.counts), reference.score.count(pa.chunked_array([scores])))


def score_histogram(scores: Floats) -> tuple[int, ...]:
    """Count scores in bars of equal log-odds (`HISTOGRAM_EDGES`)."""
    inner = 1.0 / (1.0 + np.exp(-HISTOGRAM_EDGES[1:-1]))
    counts = np.bincount(np.searchsorted(inner, scores, side="right"), minlength=len(inner) + 1)
    return tuple(counts.tolist())


def _off_season(day: date, shape: DayShape) -> timedelta:
    """How far a date is from a whole number of years before `day`, at least one."""
    years = max(round((day - shape.day) / SEASON), 1)
    return abs(day - shape.day - years * SEASON)


def _shape(score: Distribution, day: date, found: Scored) -> DayShape:
    counts = score.count(pa.chunked_array([found.scores]))
    return DayShape(
        day=day,
        counts=tuple(counts.tolist()),
        promise=promised(found.scores),
        held_out=found.held_out,
        roc_auc=found.roc_auc,
        error=found.error,
    )


def _weighted(shifts: Sequence[Shift], importance: Mapping[str, float]) -> float | None:
    if not importance:
        return None
    return sum(importance.get(shift.name, 0.0) * shift.psi for shift in shifts)


def _describe(table: pa.Table, spec: FeatureSpec, bins: int) -> Distribution:
    absent = pa.chunked_array([pa.nulls(table.num_rows)])
    column = table[spec.name] if spec.name in table.column_names else absent
    return describe_texts(spec.name, column) if spec.kind == "category" else describe_numbers(spec.name, column, bins)


def _shift(then: Distribution, table: pa.Table, sizes: tuple[int, int]) -> Shift:
    vanished = then.name not in table.column_names
    before = np.array(then.counts)
    counts = then.count_missing(table.num_rows) if vanished else then.count(table[then.name])
    rows_then, rows_now = then.rows, table.num_rows
    return Shift(
        name=then.name,
        kind=then.kind,
        psi=psi(before, counts),
        noise=noise(int(np.count_nonzero(before + counts)), *sizes),
        bins=then.labels(),
        shares_then=(before / rows_then).tolist(),
        shares_now=(counts / rows_now).tolist(),
        missing_then=then.counts[-1] / rows_then,
        missing_now=int(counts[-1]) / rows_now,
        outside_now=then.outside(counts) / rows_now,
        typical_then=then.typical,
        typical_now=None if vanished else _typical(then, table[then.name]),
        vanished=vanished,
    )


def _typical(then: Distribution, column: pa.ChunkedArray) -> float | str | None:
    if then.kind == "number":
        values = numbers_of(column)
        finite = values[np.isfinite(values)]
        return float(np.median(finite)) if len(finite) else None
    named = sorted((-rows, level) for level, rows in levels_of(column).items() if level is not None)
    return named[0][1] if named else None


def _require_scores(table: pa.Table, scores: Floats) -> None:
    if len(scores) != table.num_rows:
        raise ValueError(f"there are {len(scores)} scores for {table.num_rows} rows: give the scored rows only")

"""How good predictions turned out, on rows whose labels have matured; each number with its interval.

Rows of one user on several days resemble each other, so intervals are those of a bootstrap over users. It is not
drawn: its variance is the sum over users of their squared influence (`areas`), which costs one sort whatever the size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.monitoring.areas import Ranking, areas
from churn_assets.monitoring.performance.estimated import (
    Z95,
    Expectation,
    Interval,
    around,
    at_share,
    expectation,
    share_of,
    tops_of,
)
from churn_assets.training.bootstrap import bin_starts, calibration_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Source = Literal["batch", "http"]


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How some predictions came true. What is not defined (areas with one class only) is None.

    Attributes:
        source: Whether from the daily lists or from the service's answers.
        model_version: What predicted; None if whatever did.
        rows: Predictions (user and as-of date).
        users: Users.
        positives: Rows whose user left.
        prevalence: Share of the rows whose user left.
        mean_score: What the model said, on average.
        pr_auc: Average precision.
        roc_auc: Area under the ROC curve.
        brier: Mean squared error of the probability.
        ece: Expected calibration error, 10 equal-mass bins (`training.bootstrap.calibration_error`).
        precision_at_50: Share that left of the 50 highest scores of each day's list.
        precision_at_10pct: The same of the highest tenth of each day's list.
        gap: `mean_score` minus `prevalence`.
        intervals: 95 % interval by name, over users; empty with a single user.
        promised: What the same scores promised.
        promised_at_prevalence: What they promise if as many leave as did (`estimated.at_share`).
    """

    source: Source
    model_version: str | None
    rows: int
    users: int
    positives: int
    prevalence: float | None = None
    mean_score: float | None = None
    pr_auc: float | None = None
    roc_auc: float | None = None
    brier: float | None = None
    ece: float | None = None
    precision_at_50: float | None = None
    precision_at_10pct: float | None = None
    gap: float | None = None
    intervals: dict[str, Interval] = {}
    promised: Expectation = Expectation()
    promised_at_prevalence: Expectation = Expectation()


@dataclass(frozen=True)
class Rows:
    """Predictions of one or several days with what happened.

    Attributes:
        users: Code of each row's user, shape (n,).
        scores: Probabilities of churn, shape (n,).
        labels: 1 churned, 0 stayed, shape (n,).
        days: Rows of each day, in order; they add up to n.
    """

    users: Integers
    scores: Floats
    labels: Floats
    days: Sequence[int]

    @classmethod
    def of(cls, tables: Sequence[pa.Table]) -> Rows:
        """From one table a day: `user_id`, `score`, `churned`."""
        empty = pa.schema([("user_id", pa.string()), ("score", pa.float64()), ("churned", pa.int8())]).empty_table()
        rows = pa.concat_tables([empty, *(table.select(empty.column_names) for table in tables)])
        codes = pc.dictionary_encode(rows["user_id"]).combine_chunks().indices
        return cls(
            codes.to_numpy(zero_copy_only=False).astype(np.int64),
            rows["score"].to_numpy(),
            rows["churned"].to_numpy().astype(np.float64),
            [table.num_rows for table in tables],
        )

    def tops(self) -> dict[str, Floats]:
        """How much of each row is in each top of its day (`estimated.tops_of`)."""
        parts = [tops_of(scores) for scores in np.split(self.scores, np.cumsum(self.days)[:-1]) if len(scores)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class _Number:
    """A metric, and what more weight on each row does to it."""

    name: str
    value: float
    influence: Floats


def measure(rows: Rows, source: Source = "batch", model_version: str | None = None) -> Performance:
    """Say how predictions came true.

    Args:
        rows: The predictions; there may be none.
        source: Where from.
        model_version: What predicted, if it is one.
    """
    if not len(rows.scores):
        return Performance(source=source, model_version=model_version, rows=0, users=0, positives=0)
    ranking, tops = Ranking.of(rows.scores), rows.tops()
    numbers = [*_errors(rows, ranking), *_areas(rows, ranking), *_precisions(rows, tops)]
    users = int(np.count_nonzero(np.bincount(rows.users)))
    prevalence = float(rows.labels.mean())
    return Performance(
        source=source,
        model_version=model_version,
        rows=len(rows.scores),
        users=users,
        positives=int(rows.labels.sum()),
        prevalence=prevalence,
        mean_score=float(rows.scores.mean()),
        intervals={number.name: _interval(number, rows.users) for number in numbers} if users > 1 else {},
        promised=expectation(rows.scores, ranking, tops),
        promised_at_prevalence=_promised_at(rows, ranking, tops, prevalence),
        **{number.name: number.value for number in numbers},
    )


def _errors(rows: Rows, ranking: Ranking) -> Iterator[_Number]:
    gaps = rows.scores - rows.labels
    n, gap, brier = len(gaps), float(gaps.mean()), float((gaps**2).mean())
    yield _Number("gap", gap, (gaps - gap) / n)
    yield _Number("brier", brier, (gaps**2 - brier) / n)
    placed = gaps[ranking.order]
    starts = bin_starts(rows.scores[ranking.order])
    ece = calibration_error(placed, np.ones(n), starts)
    signs = np.sign(np.add.reduceat(placed, starts))
    influence = np.empty(n)
    influence[ranking.order] = (np.repeat(signs, np.diff(starts, append=n)) * placed - ece) / n
    yield _Number("ece", ece, influence)


def _areas(rows: Rows, ranking: Ranking) -> Iterator[_Number]:
    labels = rows.labels[ranking.order]
    found = areas(ranking, labels)
    if found is None:
        return
    for name, area in (("pr_auc", found.pr_auc), ("roc_auc", found.roc_auc)):
        influence = np.empty(len(labels))
        influence[ranking.order] = area.influence(ranking, labels)
        yield _Number(name, area.value, influence)


def _precisions(rows: Rows, tops: dict[str, Floats]) -> Iterator[_Number]:
    for name, top in tops.items():
        value = share_of(top, rows.labels)
        yield _Number(name, value, top * (rows.labels - value) / top.sum())


def _interval(number: _Number, users: Integers) -> Interval:
    by_user = np.bincount(users, weights=number.influence)
    error = float(np.sqrt((by_user**2).sum()))
    if number.name == "gap":
        return number.value - Z95 * error, number.value + Z95 * error
    return around(number.value, error)


def _promised_at(rows: Rows, ranking: Ranking, tops: dict[str, Floats], prevalence: float) -> Expectation:
    if not 0 < prevalence < 1:
        return Expectation()
    return expectation(at_share(rows.scores, prevalence), ranking, tops)

"""How good a model is on rows it has not seen, with the recency-only score beside it.

Whatever is not defined (a ranking metric where one class only is there) is None, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from churn_assets.training import bootstrap
from churn_assets.training.bootstrap import Estimate
from churn_assets.training.models import require_both_classes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """One of the equal-mass bins of the calibration curve.

    Attributes:
        n: Rows.
        mean_score: What the model said, on average.
        churn_rate: What happened.
        lowest: Lowest score of the bin.
        highest: Highest score of the bin.
    """

    n: int
    mean_score: float
    churn_rate: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class AtThreshold:
    """What calling everybody at or above the threshold would have meant.

    Attributes:
        threshold: The threshold.
        flagged_share: Share of the rows at or above it.
        precision: Share of these that churned; None if there are none.
        recall: Share of the churned that are among them; None if nobody churned.
    """

    threshold: float
    flagged_share: float
    precision: float | None
    recall: float | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model's test.

    Attributes:
        n_rows: Rows (user and as-of date).
        n_users: Users.
        prevalence: Share of the rows that churned.
        pr_auc: Average precision.
        roc_auc: Area under the ROC curve.
        brier: Mean squared error of the probability.
        ece: Expected calibration error, 10 equal-mass bins (`bootstrap.calibration_error`).
        log_loss: Mean negative log-likelihood, in nats.
        precision_at_50: Share of churned rows among the 50 highest scores (of all rows if there are fewer).
        precision_at_10pct: The same among the highest tenth.
        lift_at_10pct: `precision_at_10pct` over `prevalence`.
        recall_at_10pct: Share of the churned rows that are in the highest tenth.
        recency_pr_auc: PR-AUC of "days since last activity" alone.
        recency_roc_auc: ROC-AUC of the same.
        gain_over_recency: `pr_auc` minus `recency_pr_auc`, paired on the same resamples.
        at_threshold: Precision and recall at the threshold.
        calibration: The calibration curve, lowest scores first.
    """

    n_rows: int
    n_users: int
    prevalence: float
    pr_auc: Estimate
    roc_auc: Estimate
    brier: Estimate
    ece: Estimate
    log_loss: float
    precision_at_50: float
    precision_at_10pct: float
    lift_at_10pct: float | None
    recall_at_10pct: float | None
    recency_pr_auc: Estimate
    recency_roc_auc: Estimate
    gain_over_recency: Estimate
    at_threshold: AtThreshold
    calibration: tuple[CalibrationBin, ...]

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers alone, by name, as `metrics/<version>.json` holds them."""
        named: dict[str, float | None] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, Estimate):
                named[name] = value.value
            elif value is None or isinstance(value, float):
                named[name] = value
        return named

    def as_json(self) -> dict[str, Any]:
        """Return everything, intervals and curve included, as plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Where risk becomes medium and high; always `medium` < `high`.

    Attributes:
        high: The threshold: scores at or above it are high.
        medium: Scores at or above it, and below `high`, are medium.
        f1: F1 at `high` on the rows it was chosen on.
    """

    high: float
    medium: float
    f1: float


_LEAST_THRESHOLD = 1e-9

_ESTIMATED = ("pr_auc", "roc_auc", "brier", "ece", "recency_pr_auc", "recency_roc_auc", "gain_over_recency")


def evaluate(  # noqa: PLR0913 - five are by name
    labels: ArrayLike,
    scores: ArrayLike,
    user_ids: ArrayLike,
    *,
    recency: ArrayLike | None,
    threshold: float,
    seed: int,
    replicates: int = 200,
) -> Evaluation:
    """Judge scores against what happened.

    Args:
        labels: 1 churned, 0 stayed, shape (n,), n > 0.
        scores: Probabilities of churn, shape (n,).
        user_ids: User a row, shape (n,).
        recency: Days since last activity, shape (n,): the score that any model has to beat. NaN (never active) counts
            as longest ago. None if the source cannot tell.
        threshold: Score from which risk is called high.
        seed: Seed of the bootstrap.
        replicates: Resamples of the bootstrap.

    Returns:
        The evaluation; intervals by a bootstrap over users.

    Raises:
        ValueError: There are no rows, or a label is not 0 or 1, or a score is not a probability.
    """
    from sklearn.metrics import brier_score_loss, log_loss

    truth, score = checked(labels, scores)
    users, n_users = bootstrap.user_codes(user_ids)
    names, statistic = _statistics(truth, score, users, recency)
    points: dict[str, float | None] = dict(zip(names, statistic(np.ones(n_users)), strict=True))
    points["pr_auc"], points["roc_auc"] = ranking_metrics(truth, score)
    points["brier"] = float(brier_score_loss(truth, score, pos_label=1))
    resampled = bootstrap.replicate(statistic, n_users, replicates=replicates, seed=seed)
    estimates: dict[str, Any] = dict.fromkeys(_ESTIMATED, bootstrap.UNDEFINED)
    for column, name in enumerate(names):
        estimates[name] = bootstrap.estimate(points[name], resampled[:, column], unbiased=name != "ece")
    return Evaluation(
        n_rows=len(truth),
        n_users=n_users,
        prevalence=float(truth.mean()),
        log_loss=float(log_loss(truth, score, labels=[0, 1])),
        at_threshold=_at_threshold(truth, score, threshold),
        calibration=_calibration_curve(truth, score),
        **_top_metrics(truth, score),
        **estimates,
    )


def ranking_metrics(labels: Labels, scores: Floats) -> tuple[float | None, float | None]:
    """Return PR-AUC (average precision) and ROC-AUC; both None where one class only."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if len(np.unique(labels)) < 2:
        return None, None
    return float(average_precision_score(labels, scores)), float(roc_auc_score(labels, scores))


def choose_threshold(labels: ArrayLike, scores: ArrayLike) -> Bands:
    """Choose where risk is called high, on the calibration slice.

    `high` is the threshold with the best F1, half-way to the next lower score so that rounding moves nobody across.
    `medium` is the prevalence: more at risk than the average user. Should the F1 threshold not be above that (F1 is
    best at half of its own best value, which a weak model can have below the prevalence), `medium` is half of `high`.

    Args:
        labels: 1 churned, 0 stayed, shape (n,).
        scores: Probabilities of churn, shape (n,).

    Returns:
        The bands.

    Raises:
        OneClassOnly: There are (nearly) no rows of one class.
    """
    truth, score = checked(labels, scores)
    require_both_classes(truth, "calibration")
    order = np.argsort(-score, kind="stable")
    descending, hits = score[order], np.cumsum(truth[order], dtype=np.int64)
    lasts = np.flatnonzero(np.r_[descending[1:] != descending[:-1], True])
    f1 = 2 * hits[lasts] / (lasts + 1 + hits[-1])
    best = int(np.argmax(f1))
    at = float(descending[lasts[best]])
    below = float(descending[lasts[best] + 1]) if best + 1 < len(lasts) else at
    high, prevalence = max((at + below) / 2, _LEAST_THRESHOLD), float(truth.mean())
    return Bands(high=high, medium=prevalence if prevalence < high else high / 2, f1=float(f1[best]))


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Labels, Floats]:
    """Return labels and scores as arrays of one length.

    Raises:
        ValueError: There are no rows, or a label is not 0 or 1, or a score is not a probability.
    """
    truth, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.shape != score.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(f"labels and scores have shapes {truth.shape} and {score.shape}; expected (n,) with n > 0")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("a label is neither 0 nor 1")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a score is not a probability between 0 and 1")
    return truth.astype(np.int8), score


def _statistics(
    truth: Labels, score: Floats, users: NDArray[np.int64], recency: ArrayLike | None
) -> tuple[tuple[str, ...], bootstrap.Statistic]:
    """Return the names of the estimated metrics and the function from user weights to their values."""
    ranked = bootstrap.rank(truth, score, users)
    by_recency = None if recency is None else bootstrap.rank(truth, _longest_ago(recency), users)
    gaps = (score - truth)[ranked.order]
    squares = gaps**2
    starts = bootstrap.bin_starts(score[ranked.order])

    def statistic(user_weights: Floats) -> list[float]:
        weights = user_weights[ranked.users]
        pr_auc, roc_auc = bootstrap.areas(ranked, user_weights)
        brier = float((weights * squares).sum() / weights.sum())
        values = [pr_auc, roc_auc, brier, bootstrap.calibration_error(gaps, weights, starts)]
        if by_recency is not None:
            recency_pr_auc, recency_roc_auc = bootstrap.areas(by_recency, user_weights)
            values += [recency_pr_auc, recency_roc_auc, pr_auc - recency_pr_auc]
        return values

    return _ESTIMATED if by_recency is not None else _ESTIMATED[:4], statistic


def _longest_ago(recency: ArrayLike) -> Floats:
    days = np.asarray(recency, dtype=np.float64)
    return np.where(np.isnan(days), np.inf, days)


def _top_metrics(truth: Labels, score: Floats) -> dict[str, Any]:
    tenth = max(1, round(len(truth) / 10))
    hits, churned = _hits_among_top(truth, score, tenth), int(truth.sum())
    return {
        "precision_at_50": _hits_among_top(truth, score, 50) / min(50, len(truth)),
        "precision_at_10pct": hits / tenth,
        "lift_at_10pct": hits / tenth / float(truth.mean()) if churned else None,
        "recall_at_10pct": hits / churned if churned else None,
    }


def _hits_among_top(truth: Labels, score: Floats, count: int) -> float:
    """Count the churned among the highest scores; of those that tie for the last places, the expected share."""
    if count >= len(score):
        return float(truth.sum())
    last = np.partition(score, len(score) - count)[len(score) - count]
    above, tied = score > last, score == last
    return float(truth[above].sum() + (count - above.sum()) * truth[tied].mean())


def _at_threshold(truth: Labels, score: Floats, threshold: float) -> AtThreshold:
    flagged = score >= threshold
    hits = float(truth[flagged].sum())
    return AtThreshold(
        threshold=threshold,
        flagged_share=float(flagged.mean()),
        precision=hits / float(flagged.sum()) if flagged.any() else None,
        recall=hits / float(truth.sum()) if truth.any() else None,
    )


def _calibration_curve(truth: Labels, score: Floats) -> tuple[CalibrationBin, ...]:
    order = np.argsort(-score, kind="stable")
    places = np.split(order, bootstrap.bin_starts(score[order])[1:])
    return tuple(
        CalibrationBin(
            n=len(rows),
            mean_score=float(score[rows].mean()),
            churn_rate=float(truth[rows].mean()),
            lowest=float(score[rows].min()),
            highest=float(score[rows].max()),
        )
        for rows in reversed(places)
    )

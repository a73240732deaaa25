"""Intervals by a bootstrap over users, fast: rows are sorted once, each replicate is a few cumulative sums.

A user stands in the data with several as-of dates, and those rows resemble each other. So whole users are drawn with
replacement (Efron and Tibshirani 1993, chapter 8), which gives each user a weight: how often they were drawn. A
metric of the replicate is then the metric with row weights. The 95 % interval is the 2.5th to 97.5th percentile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Statistic = Callable[[Floats], Sequence[float]]

EQUAL_MASS_BINS = 10
"""Bins of the expected calibration error, each with about the same number of rows."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where it is not defined (one class only, one user).

    Attributes:
        value: The estimate on the rows as they are.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


UNDEFINED = Estimate(None)


@dataclass(frozen=True)
class Ranked:
    """Rows sorted by score, highest first, with what the areas under both curves need.

    Attributes:
        order: Row at each place, shape (n,).
        users: User code at each place, shape (n,).
        positives: Places of the churned rows, shape (p,).
        tie_starts: For each churned row, first place of the rows with the same score, shape (p,).
        tie_ends: For each churned row, last place of the rows with the same score, shape (p,).
        positives_before: For each churned row, number of churned rows with a higher score, shape (p,).
        positives_until: For each churned row, number of churned rows with at least its score, shape (p,).
    """

    order: Integers
    users: Integers
    positives: Integers
    tie_starts: Integers
    tie_ends: Integers
    positives_before: Integers
    positives_until: Integers


def rank(labels: NDArray[np.int8], scores: Floats, users: Integers) -> Ranked:
    """Sort rows by score, highest first.

    Args:
        labels: 1 churned, 0 stayed, shape (n,).
        scores: Higher means more at risk, no NaN, shape (n,).
        users: User codes 0, 1, ..., shape (n,).

    Returns:
        The ranked rows.
    """
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    positives = np.flatnonzero(labels[order])
    starts = np.flatnonzero(np.r_[True, descending[1:] != descending[:-1]][: len(scores)])
    group = np.searchsorted(starts, positives, side="right") - 1
    tie_starts = starts[group]
    tie_ends = np.r_[starts[1:], len(scores)][group] - 1
    return Ranked(
        order=order,
        users=users[order],
        positives=positives,
        tie_starts=tie_starts,
        tie_ends=tie_ends,
        positives_before=np.searchsorted(positives, tie_starts, side="left"),
        positives_until=np.searchsorted(positives, tie_ends, side="right"),
    )


def areas(ranked: Ranked, user_weights: Floats) -> tuple[float, float]:
    """Return the areas under the precision-recall and the ROC curve with a weight a user.

    With all weights 1 they equal scikit-learn's `average_precision_score` and `roc_auc_score`, ties included.

    Args:
        ranked: The rows.
        user_weights: Weight of each user, shape (n_users,).

    Returns:
        PR-AUC (average precision) and ROC-AUC; both NaN where one class has no weight.
    """
    weights = user_weights[ranked.users]
    above = np.r_[0.0, np.cumsum(weights)]
    positive_weights = weights[ranked.positives]
    positives_above = np.r_[0.0, np.cumsum(positive_weights)]
    churned = positives_above[-1]
    stayed = above[-1] - churned
    if churned == 0 or stayed == 0:
        return np.nan, np.nan
    until, positives_until = above[ranked.tie_ends + 1], positives_above[ranked.positives_until]
    before, positives_before = above[ranked.tie_starts], positives_above[ranked.positives_before]
    precision = np.divide(positives_until, until, out=np.zeros_like(until), where=until > 0)
    negatives_above = (before - positives_before + until - positives_until) / 2
    pr_auc = (positive_weights * precision).sum() / churned
    roc_auc = 1 - (positive_weights * negatives_above).sum() / (churned * stayed)
    return float(pr_auc), float(roc_auc)


def bin_starts(sorted_scores: Floats, bins: int = EQUAL_MASS_BINS) -> Integers:
    """Return the first place of each equal-mass bin; equal scores are never parted, so there may be fewer bins.

    Args:
        sorted_scores: Scores in ascending or descending order, shape (n,), n > 0.
        bins: Bins wanted.

    Returns:
        Ascending places, the first of them 0.
    """
    wanted = np.arange(bins) * len(sorted_scores) // bins
    firsts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
    nearest = np.searchsorted(firsts, wanted, side="right") - 1
    return np.unique(firsts[nearest])


def calibration_error(gaps: Floats, weights: Floats, starts: Integers) -> float:
    """Return the expected calibration error: the mean over bins, by mass, of |mean score - churn rate|.

    With M bins of equal mass this is the ECE of Naeini et al. (2015) in the adaptive form of Nguyen and O'Connor
    (2015).

    Args:
        gaps: Score minus label of each row, sorted by score, shape (n,).
        weights: Weight of each row, in the same order, shape (n,).
        starts: First place of each bin.
    """
    return float(np.abs(np.add.reduceat(weights * gaps, starts)).sum() / weights.sum())


def replicate(statistic: Statistic, n_users: int, *, replicates: int, seed: int) -> Floats:
    """Compute statistics on resamples of the users.

    The draws depend on `n_users` and `seed` alone, so that two statistics can be compared replicate by replicate.

    Args:
        statistic: From user weights of shape (n_users,) to k numbers, NaN where undefined.
        n_users: Number of users.
        replicates: Number of resamples.
        seed: Seed of the draws.

    Returns:
        Shape (replicates, k); no rows if there are fewer than two users, who cannot be resampled.
    """
    if n_users < 2 or replicates < 1:
        return np.empty((0, len(statistic(np.ones(n_users)))))
    rng = np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(0, n_users, n_users), minlength=n_users) for _ in range(replicates))
    return np.array([statistic(draw.astype(np.float64)) for draw in draws])


def estimate(value: float | None, replicates: Floats, *, unbiased: bool = True) -> Estimate:
    """Put a 95 % percentile interval around a value.

    Args:
        value: The value on the rows as they are; None or NaN if undefined.
        replicates: The same statistic on resamples, NaN where undefined.
        unbiased: False for a statistic that resampling inflates (a calibration error is a sum of absolute values, and
            noise never cancels): the mean excess over the value is taken off the interval, down to 0 at least.

    Returns:
        The estimate. It has no interval if fewer than half of the replicates are defined.
    """
    if value is None or np.isnan(value):
        return UNDEFINED
    defined = replicates[~np.isnan(replicates)]
    if len(defined) == 0 or 2 * len(defined) < len(replicates):
        return Estimate(float(value))
    if not unbiased:
        defined = np.maximum(defined - max(float(defined.mean()) - value, 0.0), 0.0)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def paired_difference(  # noqa: PLR0913 - two are by name
    labels: ArrayLike,
    challenger: ArrayLike,
    champion: ArrayLike,
    user_ids: ArrayLike,
    *,
    seed: int,
    replicates: int = 200,
) -> Estimate:
    """Compare two models on the same rows and the same resamples of users.

    What is hard for one model is mostly hard for the other; resampling both together keeps that out of the interval.

    Args:
        labels: 1 churned, 0 stayed, shape (n,).
        challenger: Scores of the challenger, shape (n,).
        champion: Scores of the champion, shape (n,).
        user_ids: User a row, shape (n,).
        seed: Seed of the draws.
        replicates: Number of resamples.

    Returns:
        PR-AUC of the challenger minus that of the champion; undefined where one class only.
    """
    users, n_users = user_codes(user_ids)
    truth = np.asarray(labels, dtype=np.int8)
    first, second = (rank(truth, np.asarray(scores, dtype=np.float64), users) for scores in (challenger, champion))

    def difference(weights: Floats) -> tuple[float]:
        return (areas(first, weights)[0] - areas(second, weights)[0],)

    resampled = replicate(difference, n_users, replicates=replicates, seed=seed)
    return estimate(difference(np.ones(n_users))[0], resampled[:, 0])


def user_codes(user_ids: ArrayLike) -> tuple[Integers, int]:
    """Number the users 0, 1, ... in the order of their ids, so that the order of rows does not matter.

    Args:
        user_ids: User a row, shape (n,).

    Returns:
        The code of each row's user, and the number of users.
    """
    import pandas as pd

    codes, users = pd.factorize(np.asarray(user_ids, dtype=object), sort=True)
    return codes.astype(np.int64), len(users)

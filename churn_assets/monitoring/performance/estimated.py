"""What scores promise: the performance to expect if each risk comes true as often as it says.

Confidence-based performance estimation: a calibrated probability says how often it will turn out wrong, so metrics can
be expected before any label is known. It follows a change of the population for as long as the model stays calibrated.
It is blind to concept drift: if people come to behave differently at unchanged features, the scores know nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from churn_assets.monitoring.areas import Ranking, areas

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Z95 = 1.96
"""Standard errors on either side of a 95 % interval."""

LIST = 50
"""Users of the short list, whose precision is told."""

BLIND_SPOT = (
    "An estimate from the scores alone, before anybody can know: it is blind to concept drift. If people come to "
    "behave differently at unchanged features, it stays as it is, and only the labels show it."
)

Interval = tuple[float, float]

_NEWTON_STEPS = 50
_LONGEST_STEP = 2.0
_CLOSE = 1e-10


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What scores promise; None where it is not defined.

    Attributes:
        churned: Share of the users who will leave: the mean score.
        pr_auc: Average precision.
        roc_auc: Area under the ROC curve.
        brier: Mean squared error of the probability.
        precision_at_50: Share that will leave of the 50 highest scores.
        precision_at_10pct: The same of the highest tenth.
    """

    churned: float | None = None
    pr_auc: float | None = None
    roc_auc: float | None = None
    brier: float | None = None
    precision_at_50: float | None = None
    precision_at_10pct: float | None = None


class Estimated(msgspec.Struct, frozen=True, kw_only=True):
    """The performance of a day whose labels are not known yet.

    Attributes:
        as_of_date: The day that was scored.
        model_version: What scored it; the model of most rows, if there are several.
        rows: Users scored.
        expected: What the scores promise.
        intervals: 95 % interval of each: how far what happens may be from it by chance, if every score is right.
        labels_mature_on: The day since which it is known what happened.
        caution: What this cannot see.
    """

    as_of_date: date
    model_version: str
    rows: int
    expected: Expectation
    intervals: dict[str, Interval]
    labels_mature_on: date
    caution: str = BLIND_SPOT


def expectation(scores: Floats, ranking: Ranking | None = None, tops: dict[str, Floats] | None = None) -> Expectation:
    """Return what scores promise.

    Args:
        scores: Probabilities of churn, shape (n,).
        ranking: The same, sorted, if that is known.
        tops: From `tops_of`, if that is known; else all rows are one list.
    """
    if not len(scores):
        return Expectation()
    ranking = ranking or Ranking.of(scores)
    found = areas(ranking, scores[ranking.order])
    return Expectation(
        churned=float(scores.mean()),
        pr_auc=found.pr_auc.value if found else None,
        roc_auc=found.roc_auc.value if found else None,
        brier=float((scores * (1.0 - scores)).mean()),
        **{name: share_of(top, scores) for name, top in (tops or tops_of(scores)).items()},
    )


def expectation_intervals(scores: Floats) -> dict[str, Interval]:
    """Return the 95 % interval of each number of `expectation`, for users who leave independently of each other.

    To first order a metric moves by its slope when one label does; labels vary by score × (1 - score).

    Args:
        scores: Probabilities of churn, one a user, shape (n,).
    """
    if not len(scores):
        return {}
    ranking, tops = Ranking.of(scores), tops_of(scores)
    descending = scores[ranking.order]
    found, middle = areas(ranking, descending), expectation(scores, ranking, tops)
    slopes = {
        "churned": (scores, np.full(len(scores), 1.0 / len(scores))),
        "brier": (scores, (1.0 - 2.0 * scores) / len(scores)),
    }
    slopes |= {name: (scores, top / top.sum()) for name, top in tops.items()}
    if found:
        slopes |= {"pr_auc": (descending, found.pr_auc.slope(ranking))}
        slopes |= {"roc_auc": (descending, found.roc_auc.slope(ranking))}
    return {
        name: around(getattr(middle, name), float(np.sqrt((slope**2 * risk * (1.0 - risk)).sum())))
        for name, (risk, slope) in slopes.items()
    }


def at_share(scores: Floats, churned: float) -> Floats:
    """Move probabilities by one factor of their odds so that their mean is `churned`; their order stays.

    PR-AUC depends on how many leave. What scores promise at another share of leavers than they say is told by the
    scores so moved: the correction for a changed prior (Saerens et al. 2002), for a mean that is known.

    Args:
        scores: Probabilities of churn, shape (n,).
        churned: The share that left, above 0 and below 1.

    Returns:
        The probabilities, shape (n,). Scores of exactly 0 and 1 cannot move.
    """
    moved, log_factor = scores, 0.0
    for _ in range(_NEWTON_STEPS):
        gap = float(moved.mean()) - churned
        slope = float((moved * (1.0 - moved)).mean())
        if abs(gap) < _CLOSE or slope < _CLOSE:
            break
        log_factor -= float(np.clip(gap / slope, -_LONGEST_STEP, _LONGEST_STEP))
        factor = np.exp(log_factor)
        moved = scores * factor / (1.0 - scores + scores * factor)
    return moved


def tops_of(scores: Floats) -> dict[str, Floats]:
    """Return how much of each row is among the 50 highest, and in the highest tenth; shape (n,), n > 0."""
    return {
        "precision_at_50": _top(scores, LIST),
        "precision_at_10pct": _top(scores, max(1, round(len(scores) / 10))),
    }


def share_of(top: Floats, values: Floats) -> float:
    """Return the mean of `values` over a top of `tops_of`."""
    return float((top * values).sum() / top.sum())


def around(value: float, error: float) -> Interval:
    """Return the 95 % interval of a number between 0 and 1 with a standard error."""
    return max(value - Z95 * error, 0.0), min(value + Z95 * error, 1.0)


def _top(scores: Floats, count: int) -> Floats:
    """1 for the `count` highest scores; those that tie for the last places share them."""
    if count >= len(scores):
        return np.ones(len(scores))
    last = np.partition(scores, len(scores) - count)[len(scores) - count]
    above, tied = scores > last, scores == last
    top: Floats = above + tied * ((count - above.sum()) / tied.sum())
    return top

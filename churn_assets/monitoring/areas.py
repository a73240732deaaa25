"""Areas under the precision-recall and the ROC curve, and how far each moves with any one row.

A label may lie between 0 and 1: then it is a probability, and the areas are those to expect of labels drawn from it.
Ratios of expected sums are taken, which is a little high for PR-AUC where very few churn (0.01 at 20 of 400). With
labels 0 and 1 they equal scikit-learn's `average_precision_score` and `roc_auc_score`, ties included.

How far an area moves with a row's weight is its influence. Summed by user, the influences give the variance that a
bootstrap over users tends to, without drawing anything (the infinitesimal jackknife: Efron 1982, chapter 6). For the
ROC curve these are the components of DeLong et al. (1988), by clusters as in Obuchowski (1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Rows sorted by score, highest first; rows of one score are one step.

    Attributes:
        order: Row at each place, shape (n,).
        starts: First place of each step, shape (g,).
        step: Step of each place, shape (n,).
    """

    order: Integers
    starts: Integers
    step: Integers

    @classmethod
    def of(cls, scores: Floats) -> Ranking:
        """Sort rows by score, shape (n,), without NaN."""
        order = np.argsort(-scores, kind="stable")
        descending = scores[order]
        is_first = np.ones(len(order), dtype=np.bool_)
        is_first[1:] = descending[1:] != descending[:-1]
        return cls(order, np.flatnonzero(is_first), np.cumsum(is_first) - 1)

    def by_step(self, values: Floats) -> Floats:
        """Sum values, given by place, over each step: (n,) to (g,), n > 0."""
        sums: Floats = np.add.reduceat(values, self.starts)
        return sums

    @property
    def until(self) -> Floats:
        """Rows down to the end of each step, shape (g,)."""
        ends: Floats = np.append(self.starts[1:], len(self.order)).astype(np.float64)
        return ends


@dataclass(frozen=True)
class Area:
    """One of the areas.

    Attributes:
        value: The area.
        positive: What more weight on a churned row of each step does to it, shape (g,).
        negative: The same of a row that stayed, shape (g,).
    """

    value: float
    positive: Floats
    negative: Floats

    def influence(self, ranking: Ranking, labels: Floats) -> Floats:
        """What more weight on each row does to the area; by place, as the labels are, shape (n,)."""
        return self.negative[ranking.step] + labels * self.slope(ranking)

    def slope(self, ranking: Ranking) -> Floats:
        """What it does to the area that a row has churned instead of stayed; by place, shape (n,)."""
        return (self.positive - self.negative)[ranking.step]


@dataclass(frozen=True)
class Areas:
    """Both areas."""

    pr_auc: Area
    roc_auc: Area


def areas(ranking: Ranking, labels: Floats) -> Areas | None:
    """Return the areas under both curves; None where there is one class only.

    Args:
        ranking: The rows.
        labels: 1 churned, 0 stayed, or the probability of it; by place, shape (n,).
    """
    positives = float(labels.sum())
    doubtful = float((labels * (1.0 - labels)).sum())
    if positives * (len(labels) - positives) - doubtful <= 0:
        return None
    return Areas(_pr_auc(ranking, labels), _roc_auc(ranking, labels, doubtful))


def roc_auc(labels: NDArray[np.int8], scores: Floats) -> tuple[float | None, float]:
    """The area under the ROC curve, and its standard error if each row is another user.

    Args:
        labels: 1 churned, 0 stayed; by row, shape (n,).
        scores: By row, shape (n,), without NaN.

    Returns:
        None and 0 where there is one class only.
    """
    ranking = Ranking.of(scores)
    by_place = labels[ranking.order].astype(np.float64)
    found = areas(ranking, by_place)
    if found is None:
        return None, 0.0
    return found.roc_auc.value, float(np.linalg.norm(found.roc_auc.influence(ranking, by_place)))


def _pr_auc(ranking: Ranking, labels: Floats) -> Area:
    """Average precision: the mean over churned rows of the precision down to their step.

    A row that counts as churned has churned for certain: `1 - label` is added to what it finds above itself.
    """
    until, here = ranking.until, ranking.by_step(labels)
    found = np.cumsum(here)
    total = found[-1]
    itself = ranking.by_step(labels * (1.0 - labels))
    value = float(((here * found + itself) / until).sum() / total)
    precision = found / until
    rise = (precision + _from_here_down(here / until) - value) / total
    fall = _from_here_down(here * precision / until) / total
    return Area(value, rise - fall, -fall)


def _roc_auc(ranking: Ranking, labels: Floats, doubtful: float) -> Area:
    """The share of pairs of a churned row and another that stayed in which the first scores higher; ties are half."""
    until, here = ranking.until, ranking.by_step(labels)
    found = np.cumsum(here)
    rows = np.diff(until, prepend=0.0)
    positives, negatives = found[-1], until[-1] - found[-1]
    stayed_below = negatives - (until - found) + (rows - here) / 2
    churned_above = found - here / 2
    pairs = positives * negatives
    value = float(((here * stayed_below).sum() - doubtful / 2) / (pairs - doubtful))
    return Area(value, stayed_below / pairs - value / positives, churned_above / pairs - value / negatives)


def _from_here_down(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]

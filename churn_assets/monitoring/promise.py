"""What calibrated scores promise: the ROC-AUC that they would reach if each risk came true as often as it says.

For users with risks p, a pair (i, j) counts if i leaves and j stays, which happens with p_i (1 - p_j):

    ROC-AUC = sum over i != j of p_i (1 - p_j) [p_i > p_j] / sum over i != j of p_i (1 - p_j)

with ties counted half. It needs no labels, so it is known at once, and it falls when the model can no longer tell
people apart: when everybody looks alike to it. It is blind to what changes at unchanged inputs. (The idea is that of
confidence-based performance estimation; the error is that of a ratio of U-statistics, van der Vaart 1998, chapter 12.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a population's scores promise.

    Attributes:
        roc_auc: Expected ROC-AUC; None if no pair of users can be told apart, as with fewer than two.
        error: Its standard error, from the users being a sample.
    """

    roc_auc: float | None
    error: float = 0.0


def promised(scores: Floats) -> Promise:
    """Return the ROC-AUC that scores (n,), probabilities, promise."""
    risk = np.sort(scores)
    stay = 1.0 - risk
    pairs = risk.sum() * stay.sum() - float(risk @ stay)
    if len(risk) < 2 or pairs <= 0.0:
        return Promise(roc_auc=None)
    stay_below, stay_equal = _below(risk, stay)
    risk_below, risk_equal = _below(risk, risk)
    risk_above = risk.sum() - risk_below - risk_equal
    won = risk * (stay_below + 0.5 * (stay_equal - stay))  # a user makes no pair with himself
    lost = stay * (risk_above + 0.5 * (risk_equal - risk))
    roc_auc = float(won.sum() / pairs)
    met = risk * (stay.sum() - stay) + stay * (risk.sum() - risk)
    influence = (won + lost - roc_auc * met) / pairs
    return Promise(roc_auc=roc_auc, error=float(np.sqrt(np.sum(influence**2))))


def _below(ordered: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """For each of ascending values, the weights of all that are smaller, and of all that are equal."""
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    total = np.concatenate([[0.0], np.cumsum(weights)])
    return total[first], total[last] - total[first]

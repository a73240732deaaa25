"""What calibrated scores promise: the ROC-AUC that they would reach if each risk came true as often as it says.

For users with risks p, a pair (i, j) counts if i leaves and j stays, which happens with p_i (1 - p_j):

    ROC-AUC = sum over i != j of p_i (1 - p_j) [p_i > p_j] / sum over i != j of p_i (1 - p_j)

with ties counted half: the area under the curve of labels that are probabilities. It needs no labels, so it is known at
once, and it falls when the model can no longer tell people apart: when everybody looks alike to it. It is blind to what
changes at unchanged inputs. (The idea is that of confidence-based performance estimation; the error is that of a ratio
of U-statistics, van der Vaart 1998, chapter 12.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from churn_assets.monitoring.areas import Ranking, areas

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
    ranking = Ranking.of(scores)
    risk = scores[ranking.order]
    found = areas(ranking, risk)
    if found is None:
        return Promise(roc_auc=None)
    influence = found.roc_auc.influence(ranking, risk)
    return Promise(roc_auc=found.roc_auc.value, error=float(np.sqrt(np.sum(influence**2))))

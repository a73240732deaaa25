"""One day's drift signal: whether the scores have moved so far, or promise so little, that it matters.

Two things are looked at, and neither needs a label. The population stability index of the score says whether the model
sees other people than it learned from. The ROC-AUC that the scores promise says whether it can still tell people apart.
On a real e-learning set the second finds bad weeks that the first does not see; features' indices find next to none.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from churn_assets.monitoring.promise import promised
from churn_assets.monitoring.psi import NOISE_QUANTILE
from churn_assets.monitoring.reference import score_shift, season_psi

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from churn_assets.monitoring.reference import Reference, Shift
    from churn_assets.settings import DriftSettings


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What a day's scores say.

    Attributes:
        day: As-of date.
        users: Users at risk.
        score_psi: Index of the score; None if nobody is at risk.
        season_psi: The same against the season a year or more before; None if the model's history has none.
        promised_roc_auc: ROC-AUC that the scores promise; None if nothing is promised.
        promise_drop: By how much that is less than in the holdout; None if either is not known.
        promise_noise: What the drop stays below by chance in 999 of 1,000 cases.
        has_moved: Whether the index is at or above the alert limit, above chance, above what is ordinary from one
            date to the next, and not explained by the season.
        tells_less: Whether the drop is at or above its limit and above chance.
    """

    day: date
    users: int
    score_psi: float | None
    season_psi: float | None
    promised_roc_auc: float | None
    promise_drop: float | None
    promise_noise: float
    has_moved: bool
    tells_less: bool

    @property
    def is_raised(self) -> bool:
        """Whether this day calls for an alert."""
        return self.has_moved or self.tells_less


def signal_of(
    reference: Reference, scores: NDArray[np.float64], users: int, day: date, settings: DriftSettings
) -> Signal:
    """Return the signal of one day.

    Args:
        reference: What travels with the model.
        scores: (m,) its scores of that day's users at risk; may be empty.
        users: Different users behind them.
        day: As-of date.
        settings: The limits.
    """
    shift = score_shift(reference, scores, users) if len(scores) else None
    season = season_psi(reference, scores, day)
    now, then = promised(scores), reference.promise
    drop = None if now.roc_auc is None or then.roc_auc is None else then.roc_auc - now.roc_auc
    noise = float(NOISE_QUANTILE * (now.error**2 + then.error**2) ** 0.5)
    return Signal(
        day=day,
        users=users,
        score_psi=shift.psi if shift else None,
        season_psi=season,
        promised_roc_auc=now.roc_auc,
        promise_drop=drop,
        promise_noise=noise,
        has_moved=shift is not None and _has_moved(shift, reference, season, settings),
        tells_less=drop is not None and drop >= settings.alert_promise_drop and drop > noise,
    )


def _has_moved(shift: Shift, reference: Reference, season: float | None, settings: DriftSettings) -> bool:
    is_seasonal = season is not None and season < settings.warn_score_psi
    return shift.reaches(settings.alert_score_psi) and shift.psi > reference.ordinary_psi and not is_seasonal

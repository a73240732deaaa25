"""What the day's scores look like: the first thing to see when a model or its input goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray


def score_proxy(scores: NDArray[np.float64], threshold: float, day: date, model_version: str) -> dict[str, Any]:
    """Summarise a day's scores.

    Args:
        scores: (n,) probabilities of churn.
        threshold: Probability from which a user counts as at high risk.
        day: As-of date.
        model_version: The model that scored.

    Returns:
        JSON-ready `as_of_date, model_version, n, mean, p10, p50, p90, p99, high_risk_rate, threshold`. What is not
        defined without users is None, never NaN.
    """
    empty = len(scores) == 0
    quantiles = [None] * 4 if empty else np.quantile(scores, [0.1, 0.5, 0.9, 0.99]).tolist()
    return {
        "as_of_date": day.isoformat(),
        "model_version": model_version,
        "n": len(scores),
        "mean": None if empty else float(np.mean(scores)),
        **dict(zip(("p10", "p50", "p90", "p99"), quantiles, strict=True)),
        "high_risk_rate": None if empty else float(np.mean(scores >= threshold)),
        "threshold": threshold,
    }

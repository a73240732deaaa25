"""Which features move a score most, and that in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_serving.wording import Reason, Value, reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from churn_serving.scorer import Scorer

REASONS = 3
"""Reasons a user."""


def strongest(contributions: NDArray[np.float64], count: int = REASONS) -> NDArray[np.intp]:
    """Find the features that move each row's score most.

    Args:
        contributions: (n, F) what each feature adds to the log-odds.
        count: How many features a row.

    Returns:
        (n, min(count, F)) places of features, largest absolute contribution first; of equal ones that which raises
        the risk, then the earlier in the schema.
    """
    size = np.abs(contributions)
    count = min(count, size.shape[1])
    found = np.empty((len(size), count), dtype=np.intp)
    rows = np.arange(len(size))
    for place in range(count):
        largest = size.max(axis=1, keepdims=True)
        best = np.where(size == largest, np.where(contributions > 0, 2, 1), 0).argmax(axis=1)
        found[:, place] = best
        size[rows, best] = -1.0
    return found


def explain(
    scorer: Scorer, vectors: NDArray[np.float64], values: Sequence[Mapping[str, Value]], typical: Mapping[str, Value]
) -> list[list[Reason]]:
    """Say what moves each row's score most.

    Contributions are exact: with `scorer.base` they sum to the score's log-odds. For logistic regression each is the
    feature's own term less its mean in training; for trees it is a Shapley value (Lundberg et al. 2020, "From local
    explanations to global understanding with explainable AI for trees", Nature Machine Intelligence 2).

    Args:
        scorer: The model.
        vectors: (n, F) encoded rows.
        values: The n rows by feature name, None when missing.
        typical: What users commonly have, by feature name.

    Returns:
        For each row at most `REASONS` reasons, the strongest first.
    """
    contributions = scorer.contributions(vectors)
    return [
        [
            reason(spec, row.get(spec.name), amount, typical.get(spec.name))
            for place in places
            if (amount := float(amounts[place])) and (spec := scorer.features[place])
        ]
        for row, amounts, places in zip(values, contributions, strongest(contributions).tolist(), strict=True)
    ]

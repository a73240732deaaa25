"""The scores of a snapshot's users by the model that serves, made ahead of the questions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from churn_serving.online.snapshot import Binding
    from churn_serving.scorer import Scorer

BLOCK = 64
"""Users that are scored at once: about 0.2 ms, in which no request is answered."""

PAUSE = 0.001
"""Seconds between two blocks, for requests."""


class SnapshotScores:
    """Scores by row of a snapshot: the very bits that scoring the row gives, for a tenth of its cost.

    Until `fill` has come to a row, there is none.

    Args:
        binding: The snapshot in the model's terms.
        scorer: The model.
    """

    def __init__(self, binding: Binding, scorer: Scorer) -> None:
        self._binding = binding
        self._scorer = scorer
        self._scores = np.full(binding.snapshot.rows, np.nan)
        self.of = self._scores.item
        """Return the score of a row; NaN if there is none yet."""

    async def fill(self) -> None:
        """Score everybody at risk, a few at a time; requests go first."""
        rows = self._binding.snapshot.rows
        for start in range(0, rows, BLOCK):
            at_risk = self._binding.snapshot.rows_at_risk(start, min(start + BLOCK, rows))
            if len(at_risk):
                self._scores[at_risk] = self._scorer.score(self._binding.matrix(at_risk))
            await asyncio.sleep(PAUSE)

"""The features that move each user's score most, found for many users at once and said in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_serving.reasons import REASONS, strongest
from churn_serving.wording import Direction, Value, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn_serving.scorer import Scorer


class Reasons:
    """Words for contributions.

    Users share most of their values ("active days: 0"), so each sentence is made once and kept while the object lives.

    Args:
        scorer: The model whose contributions are explained.
        typical: What users commonly have, by feature name; others are said without it.
    """

    def __init__(self, scorer: Scorer, typical: Mapping[str, Value]) -> None:
        self._features = scorer.features
        self._typical = [typical.get(spec.name) for spec in scorer.features]
        self._kept: dict[tuple[int, Value, bool], str] = {}

    def texts(
        self, contributions: NDArray[np.float64], columns: Mapping[str, NDArray[np.object_]], count: int = REASONS
    ) -> list[list[str | None]]:
        """Say why, for every row.

        Args:
            contributions: (n, F), features in the scorer's order.
            columns: (n,) values by feature name, None or NaN when missing.
            count: How many reasons a row.

        Returns:
            One list of n texts for each of the `count` reasons, the strongest first. A row that fewer features move
            has None.
        """
        places = strongest(contributions, count)
        amounts = np.take_along_axis(contributions, places, axis=1)
        said = [self._column(places[:, k], amounts[:, k], columns) for k in range(places.shape[1])]
        return said + [[None] * len(contributions)] * (count - len(said))

    def _column(
        self, places: NDArray[np.intp], amounts: NDArray[np.float64], columns: Mapping[str, NDArray[np.object_]]
    ) -> list[str | None]:
        values = np.empty(len(places), dtype=object)
        for place in np.unique(places).tolist():
            rows = places == place
            values[rows] = columns[self._features[place].name][rows]
        triples = zip(places.tolist(), values.tolist(), amounts.tolist(), strict=True)
        return [self._say(place, value, amount) for place, value, amount in triples]

    def _say(self, place: int, value: Value, amount: float) -> str | None:
        if amount == 0:
            return None
        known = None if value != value else value  # noqa: PLR0124 - so is NaN told
        key = (place, known, amount > 0)
        text = self._kept.get(key)
        if text is None:
            direction: Direction = "raises" if amount > 0 else "lowers"
            text = self._kept[key] = sentence(self._features[place], known, direction, self._typical[place])
        return text

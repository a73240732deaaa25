"""Logistic regression, imputation, scaling, one-hot encoding and calibration folded into a few vectors."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churn_serving.encoding import UNSEEN
from churn_serving.errors import ScorerError
from churn_serving.scorer import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_serving.schema import FeatureSpec

BLOCK = 4096
"""Rows at a time, so that what is worked on stays in the cache."""

LOG1P_FLOOR = -1 + 2.0**-40
"""Counts are never negative; should one be, its logarithm stays finite."""


class LinearScorer(Scorer):
    """Calibrated log-odds as a sum of one term a feature.

    A number's term is `weight * t(x) + offset`, with t the identity or log1p, and `missing` if x is NaN.
    A category's term is read from `levels`: at `level_start + 1 + code`, with the unseen level first, and
    `missing` again if it has none.

    Args:
        features: Schema of the encoded vector, F features.
        weight: (F,) log-odds per unit of the transformed value; 0 for categories.
        offset: (F,) added to the term when the value is there; 0 for categories.
        missing: (F,) the term when the value is missing.
        center: (F,) mean of the term in training, from which contributions are counted.
        logarithmic: (F,) bool, whether t is log1p.
        level_start: (F,) where a category's terms begin in `levels`; -1 for numbers and flags.
        levels: (L,) terms of categories.
        intercept: (1,) log-odds where every term is 0.

    Raises:
        ScorerError: The arrays do not fit together or are not finite.
    """

    kind: ClassVar[str] = "logistic_regression"

    def __init__(self, features: tuple[FeatureSpec, ...], **arrays: NDArray[Any]) -> None:
        super().__init__(features)
        self._arrays = _checked(features, arrays)
        self._order, self._logs, self._categories = _grouped(self._arrays)
        is_category = self._arrays["level_start"] >= 0
        self._weight = np.where(is_category, 1.0, self._arrays["weight"])[self._order]  # a level's term stays as it is
        self._offset = np.where(is_category, 0.0, self._arrays["offset"])[self._order]
        self._missing = self._arrays["missing"][self._order]
        self._first_level = self._arrays["level_start"][self._order][self._categories] + 1
        self._levels = self._arrays["levels"]
        self._intercept = self._arrays["intercept"][0]
        self._plan_row()
        self.base = float(self._intercept + np.add.reduce(self._arrays["center"]))

    def _plan_row(self) -> None:
        """Lay the arrays out for one row at a time."""
        order: list[int] = self._order.tolist()
        self._plain_places, self._log_places = order[: self._logs.start], order[self._logs]
        self._category_places = order[self._categories]
        numbers = len(order) - len(self._category_places)
        columns = (self._weight.tolist(), self._offset.tolist(), self._missing.tolist())
        self._numbers: list[tuple[float, float, float]] = list(zip(*columns, strict=True))[:numbers]
        first: list[int] = self._first_level.tolist()
        self._level_plan = list(zip(first, columns[2][numbers:], strict=True))
        self._level_terms: list[float] = self._levels.tolist()
        self._plain_intercept = float(self._intercept)

    def log_odds(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated log-odds (n,) of churn for an encoded matrix (n, F)."""
        result = np.empty(len(encoded))
        for start in range(0, len(encoded), BLOCK):
            terms = self._terms(np.ascontiguousarray(encoded[start : start + BLOCK]))
            total = result[start : start + BLOCK]
            total[:] = 0.0
            for column in range(terms.shape[1]):  # one after the other, as a row on its own adds them up
                total += terms[:, column]
        result += self._intercept
        return result

    def log_odds_cells(self, cells: list[float]) -> float:
        """Return what `log_odds` returns for this row, bit for bit."""
        logs = np.array([cells[place] for place in self._log_places])
        np.log1p(np.maximum(logs, LOG1P_FLOOR, out=logs), out=logs)
        total = 0.0
        values = chain([cells[place] for place in self._plain_places], logs.tolist())
        for value, (weight, offset, missing) in zip(values, self._numbers, strict=True):
            total += value * weight + offset if value == value else missing  # noqa: PLR0124 - so is NaN told
        for place, (first, missing) in zip(self._category_places, self._level_plan, strict=True):
            code = cells[place]
            total += self._level_terms[first + int(code)] if code == code else missing  # noqa: PLR0124
        return total + self._plain_intercept

    def contributions(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each feature's term less its mean in training, (n, F)."""
        terms = np.empty_like(encoded)
        terms[:, self._order] = self._terms(encoded)
        terms -= self._arrays["center"]
        return terms

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that make this scorer, by name."""
        return dict(self._arrays)

    def _terms(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the terms (..., F), in `_order`, of one row or many: the same operations on the same numbers."""
        terms = encoded.take(self._order, axis=-1)
        absent = np.isnan(terms)
        logs, codes = terms[..., self._logs], terms[..., self._categories]
        np.maximum(logs, LOG1P_FLOOR, out=logs)
        np.log1p(logs, out=logs)
        codes[...] = self._levels.take(np.fmax(codes, UNSEEN).astype(np.intp) + self._first_level)
        terms *= self._weight
        terms += self._offset
        return np.where(absent, self._missing, terms)


def _grouped(arrays: dict[str, NDArray[Any]]) -> tuple[NDArray[np.intp], slice, slice]:
    """Return an order of the features that has logarithmic ones and categories together, and where those stand."""
    is_category = arrays["level_start"] >= 0
    group = np.where(is_category, 2, arrays["logarithmic"])
    categories = len(group) - int(is_category.sum())
    plain = int((group == 0).sum())
    return np.argsort(group, kind="stable"), slice(plain, categories), slice(categories, len(group))


def _checked(features: tuple[FeatureSpec, ...], arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    wide = {"weight": float, "offset": float, "missing": float, "center": float}
    forms = {**wide, "logarithmic": bool, "level_start": np.int64}
    if set(arrays) != {*forms, "levels", "intercept"}:
        raise ScorerError(f"a linear scorer has the arrays {sorted({*forms, 'levels', 'intercept'})}")
    count = len(features)
    if any(arrays[name].shape != (count,) for name in forms) or arrays["intercept"].shape != (1,):
        raise ScorerError(f"the scorer's arrays do not have one entry for each of its {count} features")
    if not all(np.isfinite(arrays[name]).all() for name in (*wide, "levels", "intercept")):
        raise ScorerError("the scorer's weights are not finite")
    for feature, start in zip(features, arrays["level_start"].tolist(), strict=True):
        inside = 0 <= start <= len(arrays["levels"]) - len(feature.categories) - 1
        if (feature.kind == "category") != (start >= 0) or (start >= 0 and not inside):
            raise ScorerError(f"the scorer's levels do not fit the categories of {feature.name}")
    ordered = {name: np.ascontiguousarray(arrays[name], dtype=form) for name, form in forms.items()}
    return ordered | {name: np.ascontiguousarray(arrays[name], dtype=float) for name in ("levels", "intercept")}

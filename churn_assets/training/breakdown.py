"""Where the model is good and what it goes by: its metrics by segment, its features by importance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.training.evaluation import checked, ranking_metrics
from churn_assets.training.models import LABEL
from churn_serving.schema import MISSING_CATEGORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from churn_serving.schema import FeatureSpec

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int8]

OTHER_LEVELS = "(other)"
"""The segment of all levels that are too rare for a row of their own."""

TENURE_BANDS = ((30, "up to 30 days"), (90, "31 to 90 days"), (180, "91 to 180 days"), (364, "181 to 364 days"))
"""Upper ends, in days since signup, and names of the tenure bands; whoever is beyond has been there for a year."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The model on a part of the users.

    Attributes:
        column: What the rows are parted by.
        level: Value of the column.
        n_rows: Rows.
        prevalence: Share that churned.
        mean_score: Mean probability that the model gave.
        pr_auc: None where one class only.
        roc_auc: None where one class only.
        calibration_gap: `mean_score` minus `prevalence`: above 0 the model is too gloomy here.
    """

    column: str
    level: str
    n_rows: int
    prevalence: float
    mean_score: float
    pr_auc: float | None
    roc_auc: float | None
    calibration_gap: float


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What a feature is worth to the model.

    Attributes:
        feature: Name.
        phrase: The feature in words.
        value: Loss of PR-AUC without it, or the mean size of its contribution: the card says which.
    """

    feature: str
    phrase: str
    value: float


def segments(
    frame: pd.DataFrame, scores: Floats, columns: Sequence[str], *, most_levels: int = 12
) -> tuple[Segment, ...]:
    """Judge the model on parts of the users.

    Args:
        frame: Rows with `churned` and the columns.
        scores: Probabilities of churn, shape (n,).
        columns: What to part the rows by, one after the other; a column that the frame lacks is left out.
        most_levels: Levels shown of a column, most rows first; the rest are one segment, `(other)`.

    Returns:
        The segments, in the order of `columns`, most rows first.
    """
    truth, score = checked(frame[LABEL], scores)
    found: list[Segment] = []
    for column in columns:
        if column in frame:
            levels = frame[column].astype(object).where(frame[column].notna(), MISSING_CATEGORY).astype(str)
            counts = sorted(levels.value_counts().items(), key=lambda item: (-item[1], str(item[0])))
            shown = [
                str(level) for level, _ in counts[: most_levels if len(counts) <= most_levels else most_levels - 1]
            ]
            level_of_row = levels.where(levels.isin(shown), OTHER_LEVELS).to_numpy()
            rest = [OTHER_LEVELS] if len(counts) > len(shown) else []
            found += [_segment(column, level, level_of_row == level, truth, score) for level in [*shown, *rest]]
    return tuple(found)


def tenure_bands(days_since_signup: pd.Series) -> pd.Series:
    """Name the tenure band of each row (`TENURE_BANDS`); missing stays missing."""
    import pandas as pd

    names = [name for _, name in TENURE_BANDS] + ["a year and more"]
    edges = [-np.inf, *(upper for upper, _ in TENURE_BANDS), np.inf]
    return pd.Series(pd.cut(days_since_signup.astype(np.float64), edges, labels=names), index=days_since_signup.index)


def ranked_importance(features: Sequence[FeatureSpec], values: ArrayLike) -> tuple[Importance, ...]:
    """Pair features with what they are worth, most first; of equal ones the earlier in the schema comes first."""
    worth = np.asarray(values, dtype=np.float64)
    return tuple(
        Importance(feature=features[i].name, phrase=features[i].phrase or features[i].meaning, value=float(worth[i]))
        for i in np.argsort(-worth, kind="stable")
    )


def permutation_importance(
    predict: Callable[[pd.DataFrame], Floats],
    frame: pd.DataFrame,
    features: Sequence[FeatureSpec],
    *,
    seed: int,
    rows: int = 5000,
) -> tuple[Importance, ...]:
    """Measure how much PR-AUC falls when a feature's values are shuffled among rows (Breiman 2001).

    Args:
        predict: From rows to probabilities of churn.
        frame: Rows with `churned` and the feature columns; a seeded sample of them is used.
        features: Features in schema order.
        seed: Seed of the sample and the shuffles.
        rows: Most rows of the sample.

    Returns:
        The features, most important first; all 0 where the sample has one class only.
    """
    rng = np.random.default_rng(seed)
    sample = frame.iloc[np.sort(rng.permutation(len(frame))[:rows])]
    truth = sample[LABEL].to_numpy(np.int8)
    whole = ranking_metrics(truth, predict(sample))[0]
    losses = np.zeros(len(features))
    for i, feature in enumerate(features):
        shuffled = sample.assign(**{feature.name: sample[feature.name].to_numpy()[rng.permutation(len(sample))]})
        without = ranking_metrics(truth, predict(shuffled))[0] if whole is not None else None
        losses[i] = whole - without if whole is not None and without is not None else 0.0
    return ranked_importance(features, losses)


def _segment(column: str, level: str, rows: NDArray[np.bool_], truth: Labels, score: Floats) -> Segment:
    labels, scores = truth[rows], score[rows]
    pr_auc, roc_auc = ranking_metrics(labels, scores)
    return Segment(
        column=column,
        level=level,
        n_rows=len(labels),
        prevalence=float(labels.mean()),
        mean_score=float(scores.mean()),
        pr_auc=pr_auc,
        roc_auc=roc_auc,
        calibration_gap=float(scores.mean() - labels.mean()),
    )

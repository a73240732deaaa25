"""The two models: a logistic regression as baseline, histogram gradient boosting as candidate, both calibrated.

Both are plain scikit-learn objects of one form, so that a joblib file of them opens wherever scikit-learn is:
`CalibratedClassifierCV(FrozenEstimator(Pipeline([("encode", ColumnTransformer), ("classify", ...)])))`, with one
sigmoid calibrator (Platt 1999) on the log-odds, fitted on rows the classifier has not seen. Classes are not
re-weighted: a weight buys nothing in ranking and takes the meaning from the probabilities.

The same rows in the same order with the same seed give the same bytes of predictions: the logistic regression is
fitted on one thread, and scikit-learn's gradient boosting sums in one order whatever the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from churn_assets.settings import ModelSettings
from churn_serving.schema import MISSING_CATEGORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from churn_serving.schema import FeatureSpec

LABEL = "churned"
"""Column of the label, 0 or 1."""

LEAST_PER_CLASS = 5
"""Rows that each class must have to fit or calibrate a model at all."""


class OneClassOnly(ValueError):  # noqa: N818 - it names what was found
    """A part of the data holds (nearly) nothing but one class, so nothing can be learned from it.

    Attributes:
        churned: Rows with label 1.
        stayed: Rows with label 0.
    """

    def __init__(self, part: str, *, churned: int, stayed: int) -> None:
        super().__init__(
            f"The {part} rows are (nearly) all of one class: {churned} churned, {stayed} stayed; at least "
            f"{LEAST_PER_CLASS} of each are needed. Check churn.window_days and population.active_within_days, "
            "or bring more users or more history."
        )
        self.churned = churned
        self.stayed = stayed


def levels_seen(
    train: pd.DataFrame, features: Sequence[FeatureSpec], *, max_levels: int = 50, min_rows: int = 20
) -> tuple[FeatureSpec, ...]:
    """Return the features with `categories` filled in from the training rows.

    Levels come most frequent first (ties by name). `(missing)` is a level whenever a row lacks the value. A level
    with fewer than `min_rows` rows is left out and so treated like an unseen one; the most frequent always stays.

    Args:
        train: Training rows.
        features: Features in schema order.
        max_levels: Most levels of one feature, `(missing)` not counted.
        min_rows: Fewest rows of a level.

    Returns:
        The features in the same order; numbers and flags unchanged.
    """
    return tuple(
        msgspec.structs.replace(feature, categories=_levels(train[feature.name], max_levels, min_rows))
        if feature.kind == "category"
        else feature
        for feature in features
    )


def feature_frame(frame: pd.DataFrame, features: Sequence[FeatureSpec]) -> pd.DataFrame:
    """Return the feature columns alone, in schema order and in the types that the models expect.

    Args:
        frame: Rows with at least the feature columns.
        features: Features in schema order.

    Returns:
        Numbers and flags as float64 with NaN, categories as objects (text, NaN when missing).

    Raises:
        KeyError: A feature's column is missing.
        ValueError: A number is infinite, or negative where the schema says that it cannot be.
    """
    import pandas as pd

    columns = {feature.name: _column(frame[feature.name], feature) for feature in features}
    return pd.DataFrame(columns, index=frame.index, copy=False)


def fit_baseline(
    train: pd.DataFrame,
    calibration: pd.DataFrame,
    features: Sequence[FeatureSpec],
    *,
    seed: int,
    settings: ModelSettings | None = None,
) -> Any:
    """Fit and calibrate the logistic regression.

    Missing numbers take the training median, and an indicator column says so; non-negative numbers pass through
    `log1p`; all are standardised; categories are one-hot.

    Args:
        train: Rows to learn from, with `churned` and the feature columns.
        calibration: Rows to calibrate on, of another time or other users.
        features: Features in schema order, categories with their levels (`levels_seen`).
        seed: Seed of whatever is random.
        settings: Tuning; the defaults if None.

    Returns:
        A fitted `CalibratedClassifierCV` that takes `feature_frame(rows, features)`.

    Raises:
        OneClassOnly: Training or calibration rows are (nearly) all of one class.
        ValueError: A category has no levels, or a value is outside its bounds.
    """
    from sklearn.linear_model import LogisticRegression

    settings = settings or ModelSettings()
    encoder = _column_transformer([*_scaled_groups(features), *_category_group(features)])
    # Newton's method ends at the optimum to rounding, where L-BFGS stops early and needs ten times as long.
    strength = 1.0 / (settings.logistic_penalty * len(train))  # scikit-learn's C is for the sum over all rows
    classifier = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=100, random_state=seed)
    with _threads(1):
        return _fit(encoder, classifier, train, calibration, features)


def fit_candidate(
    train: pd.DataFrame,
    calibration: pd.DataFrame,
    features: Sequence[FeatureSpec],
    *,
    seed: int,
    settings: ModelSettings | None = None,
) -> Any:
    """Fit and calibrate the gradient boosting.

    Numbers and flags go in as they are, missing ones too; categories are one-hot. A number that (nearly) no training
    row knows is left out of the encoder, though not of the schema: no leaf could be split on it, and scikit-learn 1.9
    cannot bin a column without values. All trees are grown: there is no
    early stopping, since the split that it would draw ignores time and users.

    Args:
        train: Rows to learn from, with `churned` and the feature columns.
        calibration: Rows to calibrate on, of another time or other users.
        features: Features in schema order, categories with their levels (`levels_seen`).
        seed: Seed of whatever is random.
        settings: Tuning; the defaults if None.

    Returns:
        A fitted `CalibratedClassifierCV` that takes `feature_frame(rows, features)`.

    Raises:
        OneClassOnly: Training or calibration rows are (nearly) all of one class.
        ValueError: A category has no levels, or a value is outside its bounds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    settings = settings or ModelSettings()
    numbers = _known_numbers(train, features, settings.min_samples_leaf)
    groups = [("numbers", "passthrough", numbers)] if numbers else []
    classifier = HistGradientBoostingClassifier(
        learning_rate=settings.learning_rate,
        max_iter=settings.iterations,
        max_leaf_nodes=settings.max_leaf_nodes,
        min_samples_leaf=settings.min_samples_leaf,
        l2_regularization=settings.l2,
        categorical_features=None,
        early_stopping=False,
        random_state=seed,
    )
    encoder = _column_transformer([*groups, *_category_group(features)])
    with _threads(settings.threads):
        return _fit(encoder, classifier, train, calibration, features)


def predict(model: Any, frame: pd.DataFrame, features: Sequence[FeatureSpec]) -> NDArray[np.float64]:
    """Return the calibrated probability of churn a row, shape (n_rows,)."""
    with _threads(1):
        probabilities: NDArray[np.float64] = model.predict_proba(feature_frame(frame, features))[:, 1]
    return probabilities


def require_both_classes(labels: NDArray[np.generic], part: str) -> None:
    """Raise `OneClassOnly` unless both classes have at least `LEAST_PER_CLASS` rows."""
    churned = int(np.count_nonzero(labels))
    if min(churned, len(labels) - churned) < LEAST_PER_CLASS:
        raise OneClassOnly(part, churned=churned, stayed=len(labels) - churned)


def _fit(
    encoder: Any, classifier: Any, train: pd.DataFrame, calibration: pd.DataFrame, features: Sequence[FeatureSpec]
) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    labels, calibration_labels = (part[LABEL].to_numpy(np.int8) for part in (train, calibration))
    require_both_classes(labels, "training")
    require_both_classes(calibration_labels, "calibration")
    pipeline = Pipeline([("encode", encoder), ("classify", classifier)])
    pipeline.fit(feature_frame(train, features), labels)
    # The frozen pipeline is never refitted, so the folds only say in how many pieces it predicts: the fewest allowed.
    calibrated = CalibratedClassifierCV(FrozenEstimator(pipeline), method="sigmoid", cv=2, ensemble=False)
    return calibrated.fit(feature_frame(calibration, features), calibration_labels)


def _threads(count: int) -> Any:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # A dot product of BLAS adds up in an order that depends on its threads, and calibration uses it.
    return threadpool_limits(limits={"openmp": count, "blas": 1})


def _known_numbers(train: pd.DataFrame, features: Sequence[FeatureSpec], least: int) -> list[str]:
    # The bins are made from 200,000 rows at most: one row in 10,000 is always among them.
    least = max(least, len(train) // 10_000)
    return [
        feature.name
        for feature in features
        if feature.kind != "category" and int(train[feature.name].notna().sum()) >= least
    ]


def _column_transformer(groups: list[tuple[str, Any, list[str]]]) -> Any:
    from sklearn.compose import ColumnTransformer

    return ColumnTransformer(groups, sparse_threshold=0.0)


def _scaled_groups(features: Sequence[FeatureSpec]) -> list[tuple[str, Any, list[str]]]:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    counts = [feature.name for feature in features if _is_count(feature)]
    numbers = [feature.name for feature in features if feature.kind != "category" and not _is_count(feature)]
    logarithm = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    groups = [
        ("counts", Pipeline([("fill", _median()), ("log", logarithm), ("scale", StandardScaler())]), counts),
        ("numbers", Pipeline([("fill", _median()), ("scale", StandardScaler())]), numbers),
    ]
    return [group for group in groups if group[2]]


def _median() -> Any:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _category_group(features: Sequence[FeatureSpec]) -> list[tuple[str, Any, list[str]]]:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    categories = [feature for feature in features if feature.kind == "category"]
    bare = [feature.name for feature in categories if not feature.categories]
    if bare:
        raise ValueError(f"categories without levels: {', '.join(bare)}; fill them in with levels_seen first")
    if not categories:
        return []
    levels = [np.array(feature.categories, dtype=object) for feature in categories]
    steps = [
        ("fill", SimpleImputer(strategy="constant", fill_value=MISSING_CATEGORY, keep_empty_features=True)),
        ("one_hot", OneHotEncoder(categories=levels, handle_unknown="ignore", sparse_output=False)),
    ]
    return [("categories", Pipeline(steps), [feature.name for feature in categories])]


def _is_count(feature: FeatureSpec) -> bool:
    return feature.kind == "number" and feature.lower >= 0


def _column(values: pd.Series, feature: FeatureSpec) -> pd.Series:
    if feature.kind == "category":
        return values.astype(object).where(values.notna(), np.nan)
    numbers = values.astype(np.float64)
    array = numbers.to_numpy()
    if np.isinf(array).any():
        raise ValueError(f"feature {feature.name!r} has infinite values")
    if _is_count(feature) and (array < 0).any():
        raise ValueError(f"feature {feature.name!r} has values below 0, down to {np.nanmin(array)}")
    return numbers


def _levels(values: pd.Series, max_levels: int, min_rows: int) -> tuple[str, ...]:
    filled = values.astype(object).where(values.notna(), MISSING_CATEGORY)
    counts = sorted(filled.value_counts().items(), key=lambda item: (-item[1], str(item[0])))
    named = [level for level, _ in counts if level != MISSING_CATEGORY]
    frequent = [level for level, rows in counts if level != MISSING_CATEGORY and rows >= min_rows]
    kept = {MISSING_CATEGORY, *(frequent[:max_levels] or named[:1])}
    return tuple(str(level) for level, _ in counts if level in kept) or (MISSING_CATEGORY,)

"""From a fitted scikit-learn model to the arrays that score: nothing approximated, and checked against the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from churn_serving.linear import LinearScorer
from churn_serving.schema import MISSING_CATEGORY
from churn_serving.trees import TreeScorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from churn_serving.encoding import Columns
    from churn_serving.schema import FeatureSpec
    from churn_serving.scorer import Scorer

TOLERANCE = 1e-9
"""How far the scorer's log-odds may be from the model's, relative to their size where that is above 1."""

PROBES = 64
"""Made-up rows on which the two are compared."""


class CompileError(ValueError):
    """The model is not of a form that can be compiled, or the compiled scorer disagrees with it."""


def compile_model(model: Any, features: tuple[FeatureSpec, ...], background: Columns | None = None) -> Scorer:
    """Return the scorer of a calibrated pipeline.

    Args:
        model: `CalibratedClassifierCV(FrozenEstimator(Pipeline([("encode", ColumnTransformer), ("classify", ...)])))`
            with sigmoid calibration, fitted; the classifier a `LogisticRegression` or a
            `HistGradientBoostingClassifier`.
        features: The features in the order of the encoded vector. A category without levels gets the encoder's.
        background: Training rows, by column. A linear model's contributions are counted from the mean of each
            term over them; without them numbers are counted from the mean that the scaler saw, and categories from
            the plain mean of their levels. Trees carry their own background.

    Raises:
        CompileError: The model has another form, other features or other levels, or the scorer's log-odds differ
            from the model's on made-up rows.
    """
    pipeline, slope, shift = _calibration(model)
    try:
        encode, classifier = pipeline.named_steps["encode"], pipeline.named_steps["classify"]
    except (AttributeError, KeyError):
        raise CompileError('the calibrated model should be a Pipeline with the steps "encode" and "classify"') from None
    columns = _read_columns(encode)
    features = tuple(_with_levels(feature, columns) for feature in features)
    if unknown := set(columns) - {feature.name for feature in features}:
        raise CompileError(f"the model reads what the schema does not have: {', '.join(sorted(unknown))}")
    fitted = _Fitted(pipeline, classifier, columns, features, slope, shift)
    scorer: Scorer
    match type(classifier).__name__:
        case "LogisticRegression":
            scorer = _linear(fitted) if background is None else _centered(_linear(fitted), background)
        case "HistGradientBoostingClassifier":
            scorer = _trees(fitted)
        case other:
            raise CompileError(f"a {other} cannot be compiled: only a logistic regression or histogram boosting can")
    _compare(scorer, fitted)
    return scorer


@dataclass
class _Column:
    """What the encoder makes of one feature.

    Attributes:
        place: Output column of the (imputed, transformed) value; None if the encoder drops it.
        indicator: Output column of the missing indicator, if any.
        levels: For a category: output column of each level.
        logarithmic: Whether log1p is applied.
        imputed: The value that stands in for a missing one.
        mean: What the scaler subtracts, by output column.
        scale: What the scaler divides by, by output column.
        missing: For a category: what the encoder takes for missing, NaN or None.
    """

    place: int | None = None
    indicator: int | None = None
    levels: dict[str, int] | None = None
    logarithmic: bool = False
    imputed: float = np.nan
    mean: dict[int, float] = field(default_factory=dict)
    scale: dict[int, float] = field(default_factory=dict)
    missing: Any = np.nan

    def scaled(self, output: int, value: float) -> float:
        """Return what the classifier reads in column `output` when the imputed (or indicator) value is `value`."""
        transformed = float(np.log1p(value)) if self.logarithmic else value
        return (transformed - self.mean.get(output, 0.0)) / self.scale.get(output, 1.0)


@dataclass(frozen=True)
class _Fitted:
    """The parts of a fitted model; `slope` and `shift` take its log-odds to calibrated ones."""

    pipeline: Any
    classifier: Any
    columns: dict[str, _Column]
    features: tuple[FeatureSpec, ...]
    slope: float
    shift: float


def _calibration(model: Any) -> tuple[Any, float, float]:
    """Return the pipeline, and slope and shift that take its log-odds to calibrated ones."""
    parts = getattr(model, "calibrated_classifiers_", None)
    if parts is None or len(parts) != 1:
        raise CompileError("the model should be a fitted CalibratedClassifierCV with one calibrator (FrozenEstimator)")
    calibrators = parts[0].calibrators
    if len(calibrators) != 1 or not hasattr(calibrators[0], "a_"):
        raise CompileError('the calibration should be method="sigmoid" of a model with two classes')
    pipeline = getattr(parts[0].estimator, "estimator", parts[0].estimator)
    return pipeline, -float(calibrators[0].a_), -float(calibrators[0].b_)


def _read_columns(encode: Any) -> dict[str, _Column]:
    columns: dict[str, _Column] = {}
    for name, transformer, inputs in encode.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        start = encode.output_indices_[name].start
        steps = [step for _, step in transformer.steps] if hasattr(transformer, "steps") else [transformer]
        if type(steps[-1]).__name__ == "OneHotEncoder":
            columns |= dict(_read_categories(steps, inputs, start))
        else:
            columns |= _read_numbers(steps, list(inputs), start)
    return columns


def _read_categories(steps: list[Any], inputs: list[str], start: int) -> Iterator[tuple[str, _Column]]:
    encoder = steps[-1]
    if encoder.handle_unknown != "ignore" or encoder.drop is not None:
        raise CompileError('the OneHotEncoder should have handle_unknown="ignore" and drop=None')
    missing = steps[0].missing_values if len(steps) > 1 else np.nan
    for name, levels in zip(inputs, encoder.categories_, strict=True):
        places = {level: start + number for number, level in enumerate(levels.tolist())}
        yield name, _Column(levels=places, missing=missing)
        start += len(levels)


def _read_numbers(steps: list[Any], inputs: list[str], start: int) -> dict[str, _Column]:
    """Follow numbers through [SimpleImputer, log1p, StandardScaler], each of which may be absent."""
    columns = {name: _Column(place=start + number) for number, name in enumerate(inputs)}
    for step in steps:
        kind = type(step).__name__
        if kind == "SimpleImputer":
            _read_imputer(step, columns, start)
        elif kind == "StandardScaler":
            _read_scaler(step, columns, start)
        elif kind == "FunctionTransformer" and step.func in (None, np.log1p):
            for column in columns.values():
                column.logarithmic = column.logarithmic or step.func is not None
        elif kind != "str":
            raise CompileError(f"a {kind} in the encoder cannot be compiled")
    return columns


def _read_imputer(imputer: Any, columns: dict[str, _Column], start: int) -> None:
    place = start
    for column, imputed in zip(columns.values(), imputer.statistics_.tolist(), strict=True):
        column.imputed = imputed
        column.place = None if np.isnan(imputed) else place
        place += column.place is not None
    names = list(columns)
    for feature in imputer.indicator_.features_.tolist() if imputer.add_indicator else ():
        columns[names[feature]].indicator = place
        place += 1


def _read_scaler(scaler: Any, columns: dict[str, _Column], start: int) -> None:
    for column in columns.values():
        for output in (column.place, column.indicator):
            if output is not None:
                column.mean[output] = 0.0 if scaler.mean_ is None else float(scaler.mean_[output - start])
                column.scale[output] = 1.0 if scaler.scale_ is None else float(scaler.scale_[output - start])


def _with_levels(feature: FeatureSpec, columns: dict[str, _Column]) -> FeatureSpec:
    """Return the feature with the levels that the encoder knows, in the feature's own order if it has one."""
    if feature.name not in columns:  # the model leaves it out; its value then changes nothing
        columns[feature.name] = _Column(levels={} if feature.kind == "category" else None)
        return feature
    known = columns[feature.name].levels
    if (known is not None) != (feature.kind == "category"):
        raise CompileError(f"{feature.name} is a {feature.kind}, but the model treats it otherwise")
    if known is None:
        return feature
    if feature.categories and {*feature.categories, MISSING_CATEGORY} != {*known, MISSING_CATEGORY}:
        raise CompileError(f"{feature.name} has the levels {feature.categories}, the model {tuple(known)}")
    return msgspec.structs.replace(feature, categories=feature.categories or tuple(known))


def _linear(fitted: _Fitted) -> LinearScorer:
    columns, features = fitted.columns, fitted.features
    weights = fitted.classifier.coef_[0] * fitted.slope
    terms, levels = [], [0.0]
    starts: list[int] = []
    for feature in features:
        column = columns[feature.name]
        starts.append(-1 if column.levels is None else len(levels) - 1)
        if column.levels is None:
            terms.append(_number_term(column, weights))
            continue
        own = [float(weights[column.levels[level]]) if level in column.levels else 0.0 for level in feature.categories]
        absent = column.levels.get(MISSING_CATEGORY)
        terms.append((0.0, 0.0, 0.0 if absent is None else float(weights[absent]), float(np.mean(own or [0.0]))))
        levels += [*own, 0.0]
    weight, offset, missing, center = np.array(terms).reshape(-1, 4).T
    arrays = {
        "weight": weight,
        "offset": offset,
        "missing": missing,
        "center": center,
        "logarithmic": np.array([columns[feature.name].logarithmic for feature in features], dtype=bool),
        "level_start": np.array(starts, dtype=np.int64),
        "levels": np.array(levels),
        "intercept": np.array([fitted.classifier.intercept_[0] * fitted.slope + fitted.shift]),
    }
    return LinearScorer(features, **arrays)


def _number_term(column: _Column, weights: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return weight, offset, the term when missing, and its mean in training (0: the scaler centres it)."""
    weight = offset = missing = 0.0
    if column.place is not None:
        unit = float(weights[column.place])
        weight = unit / column.scale.get(column.place, 1.0)
        offset = -weight * column.mean.get(column.place, 0.0)
        if not np.isnan(column.imputed):
            missing = unit * column.scaled(column.place, column.imputed)
    if column.indicator is not None:
        offset += float(weights[column.indicator]) * column.scaled(column.indicator, 0.0)
        missing += float(weights[column.indicator]) * column.scaled(column.indicator, 1.0)
    return weight, offset, missing, 0.0


def _centered(scorer: LinearScorer, background: Columns) -> LinearScorer:
    arrays = scorer.arrays()
    arrays["center"] = arrays["center"] + scorer.contributions(scorer.encode_columns(background)).mean(axis=0)
    return LinearScorer(scorer.features, **arrays)


def _trees(fitted: _Fitted) -> TreeScorer:
    classifier = fitted.classifier
    if any(len(stage) != 1 for stage in classifier._predictors):  # noqa: SLF001 - the only place where the trees are
        raise CompileError("the boosted trees should have two classes")
    trees = [stage[0].nodes for stage in classifier._predictors]  # noqa: SLF001
    first = np.concatenate([[0], np.cumsum([len(nodes) for nodes in trees])]).astype(np.int64)
    nodes = np.concatenate(trees)
    leaf = nodes["is_leaf"].astype(bool)
    if (nodes["is_categorical"][~leaf] != 0).any():
        raise CompileError("native categorical splits cannot be compiled; encode categories one-hot")
    root = np.repeat(first[:-1], np.diff(first))
    intercept = float(np.ravel(classifier._baseline_prediction)[0])  # noqa: SLF001
    arrays = _split_arrays(nodes, leaf, fitted) | {
        "first_node": first,
        "left": np.where(leaf, 0, nodes["left"] + root),
        "right": np.where(leaf, 0, nodes["right"] + root),
        "value": np.where(leaf, nodes["value"] * fitted.slope, 0.0),
        "cover": nodes["count"].astype(np.float64),
        "intercept": np.array([intercept * fitted.slope + fitted.shift]),
    }
    return TreeScorer(fitted.features, **arrays)


def _split_arrays(nodes: NDArray[Any], leaf: NDArray[np.bool_], fitted: _Fitted) -> dict[str, NDArray[Any]]:
    """Say the splits on one-hot columns as splits on a category's level."""
    width = 1 + int(nodes["feature_idx"].max(initial=0))
    feature_of, level_of, absent = np.full(width, -1), np.full(width, -1), np.zeros(width, dtype=bool)
    for position, feature in enumerate(fitted.features):
        for place, level, is_missing in _outputs(fitted.columns[feature.name], feature):
            if place < width:
                feature_of[place], level_of[place], absent[place] = position, level, is_missing
    output = nodes["feature_idx"]
    is_number = level_of[output] < 0
    threshold = nodes["num_threshold"]
    if ((threshold[~leaf & ~is_number] < 0) | (threshold[~leaf & ~is_number] >= 1)).any():
        raise CompileError("a split on a one-hot column does not tell 0 from 1")
    return {
        "feature": np.where(leaf, -1, feature_of[output]),
        "threshold": np.where(leaf | ~is_number, 0.0, threshold),
        "level": np.where(leaf | is_number, -1, level_of[output]),
        "missing_left": np.where(is_number, nodes["missing_go_to_left"] != 0, ~absent[output]) & ~leaf,
    }


def _outputs(column: _Column, feature: FeatureSpec) -> Iterator[tuple[int, int, bool]]:
    """Yield the encoder's output columns of a feature: number, level it stands for, whether that is "missing"."""
    if column.levels is None:
        if column.indicator is not None or column.logarithmic or column.scale or not np.isnan(column.imputed):
            raise CompileError(f"trees should read {feature.name} as it is, with its missing values")
        if column.place is not None:
            yield column.place, -1, False
        return
    for level, output in column.levels.items():
        # a level that the schema does not list is "(missing)": no code stands for it, only NaN
        code = feature.categories.index(level) if level in feature.categories else len(feature.categories)
        yield output, code, level == MISSING_CATEGORY


def _compare(scorer: Scorer, fitted: _Fitted) -> None:
    frame, table = _probes(fitted)
    wanted = fitted.pipeline.decision_function(frame) * fitted.slope + fitted.shift
    got = scorer.log_odds(scorer.encode_columns(table))
    gap = float(np.max(np.abs(got - wanted) / np.maximum(np.abs(wanted), 1.0)))
    if not gap <= TOLERANCE:
        raise CompileError(f"the compiled scorer's log-odds differ from the model's by {gap:.1e}; do not use it")


def _probes(fitted: _Fitted) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return made-up rows, as the model reads them and as the scorer does."""
    import pandas as pd

    random = np.random.default_rng(0)
    frame: dict[str, Any] = {}
    table: dict[str, Any] = {}
    for feature in fitted.features:
        name, absent = feature.name, random.random(PROBES) < 0.2
        if feature.kind == "category":
            levels = random.choice(np.array([*feature.categories, "(never seen)"], dtype=object), PROBES)
            table[name] = [None if gone else level for gone, level in zip(absent, levels, strict=True)]
            frame[name] = pd.Series(np.where(absent, fitted.columns[name].missing, levels), dtype=object)
        else:
            values = random.uniform(0, 10.0 ** random.uniform(-1, 3, PROBES)).round(random.integers(0, 3))
            frame[name] = table[name] = np.where(absent, np.nan, values)
    return pd.DataFrame(frame), table

"""Compiled scorers say what the fitted models say, whatever the data look like."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PowerTransformer, StandardScaler

from churn_assets.training.compiled import CompileError, compile_model
from churn_serving.schema import MISSING_CATEGORY, FeatureSpec
from churn_serving.scorer_file import from_bytes

COUNTS = ["logins", "minutes", "all_missing_count", "constant_count"]
NUMBERS = ["trend", "is_paid", "quiz", "constant", "all_missing"]
CATEGORIES = ["plan", "country", "always_there"]
LEVELS = {
    "plan": ("free", "pro", MISSING_CATEGORY),
    "country": (MISSING_CATEGORY, "DE", "FR", "IN"),
    "always_there": ("a", "b"),
}
FEATURES = tuple(
    FeatureSpec(
        name=name,
        kind="category" if name in CATEGORIES else "flag" if name == "is_paid" else "number",
        meaning="Made up.",
        lower=0.0 if name in COUNTS else -np.inf,
        categories=LEVELS.get(name, ()),
    )
    for name in (
        *("plan", "logins", "trend", "country", "minutes", "is_paid", "always_there", "quiz", "constant"),
        *("all_missing", "all_missing_count", "constant_count"),
    )
)


def frame(rows: int, seed: int, *, surprising: bool) -> pd.DataFrame:
    """Return rows; the surprising ones have categories and gaps that training never saw."""
    random = np.random.default_rng(seed)
    columns = {
        "logins": random.poisson(3, rows).astype(float),
        "minutes": np.exp(random.normal(3, 2, rows)).round(1),
        "trend": random.normal(size=rows),
        "is_paid": random.integers(0, 2, rows).astype(float),
        "quiz": random.uniform(0, 100, rows).round(),
        "constant": np.full(rows, 7.0),
        "constant_count": np.full(rows, 2.0),
        "all_missing": random.normal(size=rows) if surprising else np.full(rows, np.nan),
        "all_missing_count": random.poisson(2, rows) * 1.0 if surprising else np.full(rows, np.nan),
    }
    for name, share in {"minutes": 0.1, "quiz": 0.6, "is_paid": 0.05}.items() | (
        {("logins", 0.3)} if surprising else set()
    ):
        columns[name][random.random(rows) < share] = np.nan
    for name, levels in LEVELS.items():
        known = [level for level in levels if level != MISSING_CATEGORY]
        gap = [np.nan] if surprising or MISSING_CATEGORY in levels else []
        extra = ["(never seen)"] if surprising else []
        columns[name] = random.choice(np.array([*known, *gap, *extra], dtype=object), rows)
    return pd.DataFrame(columns)


def one_hot(levels: dict[str, tuple[str, ...]] = LEVELS) -> Pipeline:
    categories = [np.array(levels[name], dtype=object) for name in CATEGORIES]
    encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False)
    return Pipeline([("fill", SimpleImputer(strategy="constant", fill_value=MISSING_CATEGORY)), ("one_hot", encoder)])


def scaled(*extra: tuple[str, object], keep: bool) -> Pipeline:
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=keep)
    return Pipeline([("fill", fill), *extra, ("scale", StandardScaler())])


def fit(classifier: object, groups: list[tuple[str, object, list[str]]], seed: int = 0) -> CalibratedClassifierCV:
    train = frame(600, seed, surprising=False)
    signal = train["trend"].to_numpy() + np.log1p(train["minutes"].fillna(5).to_numpy()) - 3 + (train["plan"] == "pro")
    label = (signal + np.random.default_rng(seed).logistic(size=600) > 0).astype(int)
    pipeline = Pipeline([("encode", ColumnTransformer(groups)), ("classify", classifier)]).fit(train[:400], label[:400])
    return CalibratedClassifierCV(FrozenEstimator(pipeline), method="sigmoid").fit(train[400:], label[400:])


def linear(*, keep: bool = True) -> CalibratedClassifierCV:
    log = ("log", FunctionTransformer(np.log1p))
    groups = [("counts", scaled(log, keep=keep), COUNTS), ("numbers", scaled(keep=keep), NUMBERS)]
    return fit(LogisticRegression(max_iter=500), [*groups, ("categories", one_hot(), CATEGORIES)])


def boosted(**options: object) -> CalibratedClassifierCV:
    known = [name for name in COUNTS + NUMBERS if not name.startswith("all_missing")]
    groups = [("numbers", "passthrough", known), ("categories", one_hot(), CATEGORIES)]
    settings = {"max_iter": 25, "max_leaf_nodes": 31, "min_samples_leaf": 3, "early_stopping": False} | options
    return fit(HistGradientBoostingClassifier(**settings), groups)


pytestmark = pytest.mark.filterwarnings("ignore:Skipping features without any observed values")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    MODELS = {
        "linear": linear(),
        "linear that drops what is always missing": linear(keep=False),
        "trees": boosted(),
        "stumps": boosted(max_leaf_nodes=2),
        "trees that cannot split": boosted(min_samples_leaf=350),
    }
    COMPILED = {name: compile_model(model, FEATURES) for name, model in MODELS.items()}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), surprising=st.booleans())
def test_scores_are_those_of_the_model(name: str, seed: int, *, surprising: bool) -> None:
    rows = frame(60, seed, surprising=surprising)
    scorer, model = COMPILED[name], MODELS[name]
    encoded = scorer.encode_columns(rows)
    expected = model.predict_proba(rows)[:, 1]
    np.testing.assert_allclose(scorer.score(encoded), expected, rtol=0, atol=1e-12)
    pipeline = model.calibrated_classifiers_[0].estimator
    calibrator = model.calibrated_classifiers_[0].calibrators[0]
    log_odds = -(calibrator.a_ * pipeline.decision_function(rows) + calibrator.b_)
    np.testing.assert_allclose(scorer.log_odds(encoded), log_odds, rtol=1e-12, atol=1e-12)


@every_model
def test_the_smallest_step_across_a_threshold_is_seen(name: str) -> None:
    rows = frame(40, 3, surprising=True)
    pipeline = MODELS[name].calibrated_classifiers_[0].estimator.estimator
    if hasattr(pipeline["classify"], "_predictors"):
        nodes = np.concatenate([stage[0].nodes for stage in pipeline["classify"]._predictors])
        cuts = nodes["num_threshold"][(nodes["is_leaf"] == 0) & (nodes["feature_idx"] == 1)]  # minutes
        if len(cuts):
            around = np.concatenate([cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)])
            rows = rows.loc[np.arange(len(around)) % len(rows)].assign(minutes=around)
    expected = MODELS[name].predict_proba(rows)[:, 1]
    np.testing.assert_allclose(COMPILED[name].score(COMPILED[name].encode_columns(rows)), expected, atol=1e-12)


@every_model
def test_a_row_by_name_scores_like_the_frame_and_survives_the_file(name: str) -> None:
    rows = frame(30, 5, surprising=True)
    scorer = from_bytes(COMPILED[name].to_bytes())
    expected = MODELS[name].predict_proba(rows)[:, 1]
    values = [{key: None if value != value else value for key, value in row.items()} for row in rows.to_dict("records")]  # noqa: PLR0124
    assert [scorer.score_row(scorer.encode_row(row)) for row in values] == pytest.approx(expected, abs=1e-12)


@every_model
def test_contributions_sum_to_the_log_odds(name: str) -> None:
    encoded = COMPILED[name].encode_columns(frame(50, 6, surprising=True))
    sums = COMPILED[name].base + COMPILED[name].contributions(encoded).sum(axis=1)
    np.testing.assert_allclose(sums, COMPILED[name].log_odds(encoded), rtol=0, atol=1e-9)


def test_linear_contributions_average_to_nothing_over_their_background() -> None:
    background = frame(400, 0, surprising=False)
    scorer = compile_model(MODELS["linear"], FEATURES, background)
    encoded = scorer.encode_columns(background)
    np.testing.assert_allclose(scorer.contributions(encoded).mean(axis=0), 0, atol=1e-12)
    assert scorer.base == pytest.approx(scorer.log_odds(encoded).mean())
    np.testing.assert_allclose(scorer.score(encoded), COMPILED["linear"].score(encoded), atol=1e-12)


def test_levels_come_from_the_encoder_if_the_schema_has_none() -> None:
    bare = tuple(msgspec.structs.replace(feature, categories=()) for feature in FEATURES)
    assert {f.name: f.categories for f in compile_model(MODELS["trees"], bare).features if f.categories} == LEVELS


def test_the_order_of_levels_in_the_schema_does_not_matter() -> None:
    turned = tuple(msgspec.structs.replace(f, categories=f.categories[::-1]) for f in FEATURES)
    rows = frame(40, 8, surprising=True)
    for name in ("linear", "trees"):
        scorer = compile_model(MODELS[name], turned)
        np.testing.assert_allclose(
            scorer.score(scorer.encode_columns(rows)), MODELS[name].predict_proba(rows)[:, 1], atol=1e-12
        )


def test_compiling_is_deterministic() -> None:
    for name, model in MODELS.items():
        assert compile_model(model, FEATURES).to_bytes() == COMPILED[name].to_bytes()


def test_other_forms_are_refused_in_words() -> None:
    known = ["logins", "trend"]
    passed = [("numbers", "passthrough", known)]
    features = tuple(feature for feature in FEATURES if feature.name in known)
    with pytest.raises(CompileError, match="CalibratedClassifierCV"):
        compile_model(LogisticRegression(), features)
    rows = frame(200, 0, surprising=False)
    isotonic = CalibratedClassifierCV(MODELS["trees"].calibrated_classifiers_[0].estimator, method="isotonic")
    with pytest.raises(CompileError, match="sigmoid"):
        compile_model(isotonic.fit(rows, rows["trend"] > 0), FEATURES)
    with pytest.raises(CompileError, match="RandomForestClassifier"):
        compile_model(fit(RandomForestClassifier(n_estimators=2), passed), features)
    with pytest.raises(CompileError, match="PowerTransformer"):
        compile_model(fit(LogisticRegression(), [("numbers", PowerTransformer(), known)]), features)
    with pytest.raises(CompileError, match="trend"):
        compile_model(fit(HistGradientBoostingClassifier(max_iter=2), passed), features[:1])
    imputed = [("numbers", SimpleImputer(), known)]
    with pytest.raises(CompileError, match="as it is"):
        compile_model(fit(HistGradientBoostingClassifier(max_iter=2), imputed), features)


def test_a_schema_of_other_kinds_or_levels_is_refused() -> None:
    as_number = tuple(
        msgspec.structs.replace(f, kind="number", categories=()) if f.name == "plan" else f for f in FEATURES
    )
    with pytest.raises(CompileError, match="plan is a number"):
        compile_model(MODELS["trees"], as_number)
    other = tuple(msgspec.structs.replace(f, categories=("x",)) if f.name == "plan" else f for f in FEATURES)
    with pytest.raises(CompileError, match="levels"):
        compile_model(MODELS["trees"], other)

"""Scorers give the same bits one row at a time and in any batch, and refuse what is no model."""

from __future__ import annotations

import math

import artifact_factory as make
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_serving.bins import Bins
from churn_serving.errors import EncodingError, ScorerError
from churn_serving.schema import FeatureSpec
from churn_serving.scorer import Scorer, probability
from churn_serving.scorer_file import from_bytes, load
from churn_serving.trees import TreeScorer

SCORERS = {
    "linear": make.linear_scorer(),
    "trees": make.tree_scorer(trees=50, leaves=31),
    "trees of 50 leaves": make.tree_scorer(trees=5, leaves=64, seed=3),
    "no split at all": make.tree_scorer(trees=3, leaves=1),
}
every_scorer = pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)


def walk(arrays: dict[str, np.ndarray], vector: np.ndarray) -> float:
    """Return the log-odds of a row by walking down every tree."""
    total = float(arrays["intercept"][0])
    for node in arrays["first_node"][:-1]:
        while arrays["feature"][node] >= 0:
            value = vector[arrays["feature"][node]]
            if math.isnan(value):
                left = arrays["missing_left"][node]
            elif arrays["level"][node] >= 0:
                left = value != arrays["level"][node]
            else:
                left = value <= arrays["threshold"][node]
            node = arrays["left" if left else "right"][node]  # noqa: PLW2901 - that is how one walks
        total += float(arrays["value"][node])
    return total


@pytest.mark.parametrize("seed", range(5))
def test_trees_score_like_a_walk_down_each_of_them(seed: int) -> None:
    arrays = make.forest(seed, trees=30, leaves=31)
    scorer = TreeScorer(make.FEATURES, **arrays)
    encoded = scorer.encode_columns(make.table(200, seed))
    np.testing.assert_allclose(scorer.log_odds(encoded), [walk(arrays, row) for row in encoded], rtol=0, atol=1e-12)


def test_a_linear_score_is_the_sum_of_its_terms() -> None:
    scorer = make.linear_scorer()
    arrays = scorer.arrays()
    row = {"active_days_7d": 3, "minutes_30d": 120.5, "is_paid": None, "plan": "team", "trend": -0.5}
    terms = [
        arrays["weight"][0] * 3 + arrays["offset"][0],
        arrays["weight"][1] * math.log1p(120.5) + arrays["offset"][1],
        arrays["missing"][2],
        arrays["levels"][3],
        arrays["weight"][4] * -0.5 + arrays["offset"][4],
    ]
    log_odds = math.fsum([*terms, arrays["intercept"][0]])
    assert scorer.score_row(scorer.encode_row(row)) == pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-14)


@every_scorer
@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 300), start=st.integers(0, 99), seed=st.integers(0, 5))
def test_a_row_scores_the_same_bits_in_any_batch(scorer: Scorer, size: int, start: int, seed: int) -> None:
    encoded = scorer.encode_columns(make.table(400, seed))
    whole = scorer.score(encoded)
    assert np.array_equal(scorer.score(encoded[start : start + size]), whole[start : start + size])
    assert np.array_equal(scorer.score(np.asfortranarray(encoded)), whole)
    assert scorer.score_row(encoded[start]) == whole[start]


@every_scorer
def test_blocks_leave_no_trace(scorer: Scorer) -> None:
    encoded = scorer.encode_columns(make.table(300))
    many = np.tile(encoded, (40, 1))  # more than two blocks
    assert np.array_equal(scorer.score(many), np.tile(scorer.score(encoded), 40))


@every_scorer
def test_rows_and_columns_are_encoded_alike(scorer: Scorer) -> None:
    columns = make.table(100)
    by_row = np.array([scorer.encode_row(row) for row in make.rows_of(columns)])
    assert np.array_equal(by_row, scorer.encode_columns(columns), equal_nan=True)
    lists = {name: column.tolist() for name, column in columns.items()}
    assert np.array_equal(by_row, scorer.encode_columns(lists), equal_nan=True)


def test_absent_missing_and_unseen_values_have_codes_of_their_own() -> None:
    encoded = make.linear_scorer().encode_row({"plan": "enterprise", "is_paid": True, "trend": float("nan")})
    np.testing.assert_array_equal(encoded, [math.nan, math.nan, 1.0, -1.0, math.nan])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"trend": "fast"}, "trend"),
        ({"is_paid": [1]}, "is_paid"),
        ({"plan": ["pro"]}, "plan"),
        ({"trend": 10**400}, "too large"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(EncodingError, match=named):
        make.linear_scorer().encode_row(values)


def test_a_table_that_does_not_fit_is_refused() -> None:
    scorer, columns = make.linear_scorer(), make.table(5)
    with pytest.raises(EncodingError, match="'plan' is absent"):
        scorer.encode_columns({name: column for name, column in columns.items() if name != "plan"})
    with pytest.raises(EncodingError, match="'trend' should hold numbers"):
        scorer.encode_columns(columns | {"trend": ["up"] * 5})
    with pytest.raises(EncodingError, match="differ in length"):
        scorer.encode_columns(columns | {"trend": [1.0]})


@given(st.lists(st.floats(-800, 800), min_size=1, max_size=70))
def test_probability_is_the_same_alone_and_in_a_row(log_odds: list[float]) -> None:
    together = probability(np.array(log_odds))
    assert together.tolist() == [float(probability(np.array([value]))[0]) for value in log_odds]
    assert np.isfinite(together).all()


@every_scorer
def test_equal_scorers_are_equal_bytes_and_come_back_whole(scorer: Scorer, tmp_path) -> None:
    scorer.save(tmp_path / "scorer.npz")
    back = load(tmp_path / "scorer.npz")
    assert back.to_bytes() == scorer.to_bytes()
    assert back.features == scorer.features
    encoded = scorer.encode_columns(make.table(50))
    assert np.array_equal(back.score(encoded), scorer.score(encoded))


def test_an_empty_table_has_no_scores() -> None:
    for scorer in SCORERS.values():
        empty = scorer.encode_columns({name: column[:0] for name, column in make.table(1).items()})
        assert scorer.score(empty).shape == (0,)
        assert scorer.contributions(empty).shape == (0, 5)


def test_infinite_bounds_survive_the_file() -> None:
    feature = FeatureSpec(name="x", kind="number", meaning="X.", lower=float("-inf"), upper=float("inf"))
    scorer = make.linear_scorer(features=(feature,))
    assert from_bytes(scorer.to_bytes()).features == (feature,)


@pytest.mark.parametrize("content", [b"", b"PK no zip", make.linear_scorer().to_bytes()[:-200]])
def test_bytes_that_are_no_scorer_are_refused(content: bytes) -> None:
    with pytest.raises(ScorerError):
        from_bytes(content)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("value", lambda a: np.where(a == a[0], np.nan, a)),
        ("threshold", lambda a: np.full_like(a, np.nan)),
        ("feature", lambda a: np.where(a >= 0, 99, a)),
        ("left", np.zeros_like),
        ("right", lambda a: a + 1),
        ("cover", lambda a: a * 0),
        ("first_node", lambda a: a[:-1]),
        ("intercept", lambda a: a * np.inf),
        ("level", lambda a: a[1:]),
    ],
)
def test_arrays_that_are_no_trees_are_refused(name: str, change) -> None:
    arrays = make.forest(1)
    with pytest.raises(ScorerError):
        TreeScorer(make.FEATURES, **arrays | {name: change(arrays[name])})


@pytest.mark.parametrize(
    ("name", "value"), [("weight", np.full(5, np.nan)), ("offset", np.zeros(4)), ("levels", np.zeros(2))]
)
def test_weights_that_do_not_fit_are_refused(name: str, value: np.ndarray) -> None:
    scorer = make.linear_scorer()
    with pytest.raises(ScorerError):
        type(scorer)(make.FEATURES, **scorer.arrays() | {name: value})


def test_a_tree_with_too_many_leaves_is_refused() -> None:
    with pytest.raises(ScorerError, match="leaves"):
        make.tree_scorer(trees=1, leaves=400, seed=1)


numbers = st.floats(allow_nan=False) | st.integers(-20, 20).map(float) | st.sampled_from([math.inf, -math.inf, 1e-310])


@settings(max_examples=200, deadline=None)
@given(cuts=st.lists(numbers, min_size=1, max_size=40, unique=True), values=st.lists(numbers, max_size=40))
def test_bins_are_those_of_a_binary_search(cuts: list[float], values: list[float]) -> None:
    thresholds = np.unique(np.array(cuts))
    bins = Bins(np.array([0]), [thresholds])
    column = np.array([*values, *cuts, math.nan])
    expected = np.searchsorted(thresholds, column)
    expected[-1] = len(thresholds) + 1
    assert bins.matrix(column[:, None])[:, 0].tolist() == expected.tolist()

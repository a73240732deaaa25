"""Contributions are Shapley values, and sum to the log-odds."""

from __future__ import annotations

from itertools import combinations
from math import factorial, isnan

import artifact_factory as make
import numpy as np
import pytest

from churn_serving import explain
from churn_serving.trees import TreeScorer


def expected_value(arrays: dict[str, np.ndarray], vector: np.ndarray, known: frozenset[int], node: int) -> float:
    """Return what a tree says of a row of which only some features are known: elsewhere, by the covers."""
    feature = int(arrays["feature"][node])
    if feature < 0:
        return float(arrays["value"][node])
    left, right = int(arrays["left"][node]), int(arrays["right"][node])
    if feature in known:
        value = vector[feature]
        if isnan(value):
            goes_left = arrays["missing_left"][node]
        elif arrays["level"][node] >= 0:
            goes_left = value != arrays["level"][node]
        else:
            goes_left = value <= arrays["threshold"][node]
        return expected_value(arrays, vector, known, left if goes_left else right)
    both = [arrays["cover"][child] * expected_value(arrays, vector, known, child) for child in (left, right)]
    return float(sum(both) / arrays["cover"][node])


def brute_force(arrays: dict[str, np.ndarray], vector: np.ndarray) -> tuple[float, list[float]]:
    """Return base and Shapley values by going through all coalitions."""
    count = len(vector)

    def worth(known: frozenset[int]) -> float:
        trees = (expected_value(arrays, vector, known, int(root)) for root in arrays["first_node"][:-1])
        return float(arrays["intercept"][0]) + sum(trees)

    values = []
    for player in range(count):
        others = [other for other in range(count) if other != player]
        total = 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for chosen in combinations(others, size):
                without = frozenset(chosen)
                total += weight * (worth(without | {player}) - worth(without))
        values.append(total)
    return worth(frozenset()), values


@pytest.mark.parametrize("cells", [1, 2, 8, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_contributions_are_shapley_values(seed: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "TABLE_CELLS", cells)  # from "no tables" to "nothing but tables"
    arrays = make.forest(seed, trees=4, leaves=10)
    scorer = TreeScorer(make.FEATURES, **arrays)
    encoded = scorer.encode_columns(make.table(6, seed))
    contributions = scorer.contributions(encoded)
    for vector, got in zip(encoded, contributions, strict=True):
        base, expected = brute_force(arrays, vector)
        assert scorer.base == pytest.approx(base, abs=1e-12)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "scorer",
    [make.linear_scorer(), make.tree_scorer(trees=40, leaves=31), make.tree_scorer(trees=2, leaves=1)],
    ids=["linear", "trees", "no split at all"],
)
def test_contributions_and_base_sum_to_the_log_odds(scorer) -> None:
    encoded = scorer.encode_columns(make.table(150))
    sums = scorer.base + scorer.contributions(encoded).sum(axis=1)
    np.testing.assert_allclose(sums, scorer.log_odds(encoded), rtol=0, atol=1e-9)


def test_deep_paths_without_tables_sum_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    features = tuple(make.FEATURES[0].__class__(name=f"x{i}", kind="number", meaning="X.") for i in range(25))
    monkeypatch.setattr(explain, "TABLE_CELLS", 16)
    scorer = make.tree_scorer(5, trees=20, leaves=31, features=features)
    encoded = np.random.default_rng(0).choice([0.0, 1.0, 2.0, 120.0, np.nan], size=(70, 25))
    sums = scorer.base + scorer.contributions(encoded).sum(axis=1)
    np.testing.assert_allclose(sums, scorer.log_odds(encoded), rtol=0, atol=1e-9)


def test_a_feature_that_no_tree_reads_contributes_nothing() -> None:
    arrays = make.forest(2)
    arrays["feature"] = np.where(arrays["feature"] == 4, 0, arrays["feature"])
    scorer = TreeScorer(make.FEATURES, **arrays)
    assert not scorer.contributions(scorer.encode_columns(make.table(40)))[:, 4].any()


def test_a_row_is_explained_alike_alone_and_among_others() -> None:
    scorer = make.tree_scorer(trees=30, leaves=31)
    encoded = scorer.encode_columns(make.table(80))
    alone = np.vstack([scorer.contributions(encoded[i : i + 1]) for i in range(80)])
    np.testing.assert_allclose(alone, scorer.contributions(encoded), rtol=0, atol=1e-12)


def test_a_linear_contribution_is_counted_from_the_mean_in_training() -> None:
    scorer = make.linear_scorer()
    encoded = scorer.encode_row({"trend": 2.0})[None]
    arrays = scorer.arrays()
    expected = arrays["weight"][4] * 2.0 + arrays["offset"][4] - arrays["center"][4]
    assert scorer.contributions(encoded)[0, 4] == pytest.approx(expected)

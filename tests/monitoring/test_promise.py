"""What scores promise, before any label is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from churn_assets.monitoring.promise import promised


def risks(seed, users, spread=1.5):
    return 1.0 / (1.0 + np.exp(-np.random.default_rng(seed).normal(-2.0, spread, users)))


def by_pairs(scores):
    """The definition, pair by pair."""
    won = total = 0.0
    for i, p in enumerate(scores):
        for j, q in enumerate(scores):
            if i != j:
                weight = p * (1.0 - q)
                won += weight * (1.0 if p > q else 0.5 if p == q else 0.0)
                total += weight
    return won / total


@given(st.lists(st.sampled_from([0.01, 0.1, 0.1, 0.3, 0.5, 0.9, 0.99]), min_size=2, max_size=12))
def test_it_is_what_the_definition_says(scores):
    assert promised(np.array(scores)).roc_auc == pytest.approx(by_pairs(scores), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_it_comes_true_where_risks_do(seed):
    scores = risks(seed, 20_000)
    churned = np.random.default_rng(seed + 1).random(20_000) < scores
    assert promised(scores).roc_auc == pytest.approx(roc_auc_score(churned, scores), abs=0.025)


def test_whom_nothing_tells_apart_is_a_toss():
    assert promised(np.full(50, 0.2)).roc_auc == pytest.approx(0.5)
    assert promised(risks(0, 3000, spread=0.2)).roc_auc < promised(risks(0, 3000, spread=2.0)).roc_auc


def test_the_error_is_that_of_drawing_users_anew():
    drawn = [promised(risks(seed, 800)).roc_auc for seed in range(200)]
    assert promised(risks(1, 800)).error == pytest.approx(np.std(drawn), rel=0.2)


@pytest.mark.parametrize("scores", [[], [0.3], [0.0, 0.0], [1.0, 1.0, 1.0]])
def test_nothing_is_promised_where_nobody_can_be_told_apart(scores):
    assert promised(np.array(scores)).roc_auc is None

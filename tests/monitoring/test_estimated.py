import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.monitoring.performance.estimated import (
    BLIND_SPOT,
    Expectation,
    at_share,
    expectation,
    expectation_intervals,
)
from churn_assets.monitoring.performance.realised import Rows, measure

NUMBERS = {"pr_auc": "pr_auc", "roc_auc": "roc_auc", "brier": "brier", "precision_at_50": "precision_at_50",
           "precision_at_10pct": "precision_at_10pct", "prevalence": "churned"}  # fmt: skip


def risks(users, seed, mean=0.15):
    return np.random.default_rng(seed).beta(1.0, 1.0 / mean - 1.0, users)


def drawn(scores, seed):
    """What comes true if every score is right."""
    labels = np.random.default_rng(seed).random(len(scores)) < scores
    return measure(Rows(np.arange(len(scores)), scores, labels.astype(float), [len(scores)]))


@pytest.mark.parametrize(("users", "mean"), [(60, 0.3), (400, 0.05), (2000, 0.2)])
def test_what_is_drawn_from_the_scores_is_what_they_promised(users, mean):
    scores = risks(users, 1, mean)
    promised, intervals = expectation(scores), expectation_intervals(scores)
    worlds = [drawn(scores, seed) for seed in range(300)]
    for realised, name in NUMBERS.items():
        values = np.array([getattr(world, realised) for world in worlds if getattr(world, realised) is not None])
        low, high = intervals[name]
        assert values.mean() == pytest.approx(getattr(promised, name), abs=max(0.3 * values.std(), 1e-3)), name
        inside = ((low <= values) & (values <= high)).mean()
        assert 0.9 <= inside <= 1.0, (name, inside)


def test_a_promise_needs_no_more_than_the_scores_and_says_what_it_cannot_see():
    assert "concept drift" in BLIND_SPOT
    scores = risks(500, 2)
    assert expectation(scores) == expectation(scores.copy())


@given(st.integers(0, 30), st.floats(0.01, 0.9))
def test_moving_scores_to_another_share_keeps_their_order(seed, share):
    scores = risks(50, seed)
    moved = at_share(scores, share)
    assert moved.mean() == pytest.approx(share, abs=1e-6)
    assert (np.argsort(moved, kind="stable") == np.argsort(scores, kind="stable")).all()
    assert ((moved >= 0) & (moved <= 1)).all()


def test_scores_that_cannot_move_stay():
    certain = np.array([0.0, 1.0, 1.0])
    assert at_share(certain, 0.2).tolist() == certain.tolist()


@pytest.mark.parametrize("scores", [[0.0, 0.0], [1.0, 1.0], [0.4]])
def test_where_no_two_can_be_told_apart_there_is_no_area(scores):
    found = expectation(np.array(scores))
    assert found.roc_auc is None
    assert found.brier is not None
    assert "roc_auc" not in expectation_intervals(np.array(scores))


def test_nobody_promises_nothing():
    assert expectation(np.array([])) == Expectation()
    assert expectation_intervals(np.array([])) == {}


def test_equal_scores_promise_no_order():
    found = expectation(np.full(300, 0.2))
    assert found.roc_auc == pytest.approx(0.5)
    assert found.precision_at_10pct == pytest.approx(0.2)

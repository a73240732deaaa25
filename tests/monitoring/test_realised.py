import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from churn_assets.monitoring.performance.realised import Rows, measure
from churn_assets.training import bootstrap
from churn_assets.training.evaluation import evaluate

METRICS = ("pr_auc", "roc_auc", "brier", "ece", "precision_at_50", "precision_at_10pct")


def rows_of(scores, labels, users=None, days=None):
    scores = np.asarray(scores, dtype=float)
    users = np.arange(len(scores)) if users is None else np.asarray(users)
    return Rows(users, scores, np.asarray(labels, dtype=float), days or [len(scores)])


def repeated(users, days, seed=0, prevalence=0.15):
    """Users scored on several days in a row, with one outcome each: rows that resemble each other."""
    rng = np.random.default_rng(seed)
    risk = rng.beta(1.0, 1.0 / prevalence - 1.0, users)
    left = rng.random(users) < risk
    scores = np.clip(np.tile(risk, days) + rng.normal(0, 0.01, users * days), 0.001, 0.999).round(3)
    return rows_of(scores, np.tile(left, days), np.tile(np.arange(users), days), [users] * days)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_it_agrees_with_the_training_evaluation(pairs):
    scores, labels = np.array([score / 9 for score, _ in pairs]), np.array([int(label) for _, label in pairs])
    found = measure(rows_of(scores, labels))
    told = evaluate(labels, scores, np.arange(len(pairs)), recency=None, threshold=0.5, seed=0, replicates=0).metrics()
    for name in METRICS:
        assert getattr(found, name) == pytest.approx(told[name], abs=1e-12), name
    assert found.prevalence == pytest.approx(told["prevalence"])


def test_it_agrees_with_scikit_learn_on_ties():
    rows = repeated(500, 3)
    found = measure(rows)
    assert found.pr_auc == pytest.approx(average_precision_score(rows.labels, rows.scores), abs=1e-12)
    assert found.roc_auc == pytest.approx(roc_auc_score(rows.labels, rows.scores), abs=1e-12)


@pytest.mark.parametrize("prevalence", [0.05, 0.3])
def test_intervals_are_as_wide_as_a_bootstrap_over_users(prevalence):
    rows = repeated(600, 7, prevalence=prevalence)
    found = measure(rows)
    ranked = bootstrap.rank(rows.labels.astype(np.int8), rows.scores, rows.users)
    drawn = bootstrap.replicate(lambda weights: bootstrap.areas(ranked, weights), 600, replicates=600, seed=1)
    for name, replicates in zip(("pr_auc", "roc_auc"), drawn.T, strict=True):
        low, high = found.intervals[name]
        assert (high - low) / 3.92 == pytest.approx(replicates.std(), rel=0.15), name


def test_seeing_each_user_on_many_days_makes_nothing_surer():
    once, often = repeated(400, 1, seed=3), repeated(400, 14, seed=3)
    widths = [np.diff(measure(rows).intervals["roc_auc"])[0] for rows in (once, often)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)


@given(st.integers(0, 50))
def test_areas_see_the_order_alone(seed):
    rows = repeated(80, 2, seed)
    moved = rows_of(rows.scores**3 / 2, rows.labels, rows.users, rows.days)
    before, after = measure(rows), measure(moved)
    for name in ("pr_auc", "roc_auc", "precision_at_50"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-12)
        if name in before.intervals:
            assert after.intervals[name] == pytest.approx(before.intervals[name], abs=1e-12)


def test_the_order_of_rows_does_not_matter():
    rows = repeated(200, 1)
    turned = rows_of(rows.scores[::-1], rows.labels[::-1], rows.users[::-1])
    first, second = msgspec.to_builtins(measure(rows)), msgspec.to_builtins(measure(turned))
    assert first.pop("intervals")["pr_auc"] == pytest.approx(second.pop("intervals")["pr_auc"])
    assert first["pr_auc"] == pytest.approx(second["pr_auc"])
    assert first["ece"] == pytest.approx(second["ece"])


def test_short_lists_are_of_each_day():
    scores = np.r_[np.linspace(0.5, 0.9, 100), np.linspace(0.0, 0.4, 100)]
    labels = np.r_[np.zeros(50), np.ones(50), np.ones(50), np.zeros(50)]
    both = measure(rows_of(scores, labels, days=[100, 100]))
    assert both.precision_at_50 == 0.5
    assert measure(rows_of(scores, labels)).precision_at_50 == 1.0


def test_one_class_has_no_areas_and_says_the_rest():
    for label in (0.0, 1.0):
        found = measure(rows_of([0.2, 0.4], [label, label]))
        assert (found.pr_auc, found.roc_auc) == (None, None)
        assert found.prevalence == found.precision_at_50 == label
        assert "pr_auc" not in found.intervals
        assert found.promised.pr_auc is not None
        assert found.promised_at_prevalence.pr_auc is None


def test_nobody_and_one_user_are_told_without_nan():
    nobody = measure(rows_of([], []))
    assert (nobody.rows, nobody.users, nobody.positives) == (0, 0, 0)
    assert nobody.brier is None
    one = measure(rows_of([0.3, 0.6], [0, 1], users=[0, 0]))
    assert one.intervals == {}
    assert one.pr_auc == 1.0
    assert b"nan" not in msgspec.json.encode([nobody, one]).lower()

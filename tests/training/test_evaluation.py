from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score
from training_builders import FEATURES, evaluation, judged_rows

from churn_assets.training import bootstrap
from churn_assets.training.breakdown import permutation_importance, ranked_importance, segments, tenure_bands
from churn_assets.training.evaluation import choose_threshold, evaluate
from churn_assets.training.models import OneClassOnly

FIXED = settings(deadline=None, derandomize=True)
rows = st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.integers(0, 6)), min_size=2, max_size=60)


@given(rows, st.data())
@settings(FIXED, max_examples=60)
def test_the_fast_areas_are_scikit_learns_with_ties_and_weights(drawn, data):
    labels, scores, users = (np.array(column) for column in zip(*drawn, strict=True))
    codes, n_users = bootstrap.user_codes(users)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n_users, max_size=n_users)), dtype=float)
    ranked = bootstrap.rank(labels.astype(np.int8), scores / 8, codes)
    found = bootstrap.areas(ranked, weights)
    kept = weights[codes] > 0
    if len(set(labels[kept])) < 2:
        assert np.isnan(found).all()
        return
    by_row = weights[codes]
    assert found[0] == pytest.approx(average_precision_score(labels[kept], scores[kept], sample_weight=by_row[kept]))
    assert found[1] == pytest.approx(roc_auc_score(labels[kept], scores[kept], sample_weight=by_row[kept]))


def test_points_are_scikit_learns_and_lie_within_their_intervals():
    labels, scores, users, recency = judged_rows()
    found = evaluate(labels, scores, users, recency=recency, threshold=0.3, seed=5)
    assert found.pr_auc.value == pytest.approx(average_precision_score(labels, scores))
    assert found.roc_auc.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.brier.value == pytest.approx(brier_score_loss(labels, scores))
    assert found.recency_pr_auc.value == pytest.approx(average_precision_score(labels, recency))
    assert found.gain_over_recency.value == pytest.approx(found.pr_auc.value - found.recency_pr_auc.value)
    for estimate in (found.pr_auc, found.roc_auc, found.brier, found.ece, found.recency_pr_auc):
        assert estimate.low < estimate.value < estimate.high


def test_the_calibration_error_is_the_mean_gap_of_the_curve():
    found = evaluation()
    gap = sum(one.n * abs(one.mean_score - one.churn_rate) for one in found.calibration) / found.n_rows
    assert found.ece.value == pytest.approx(gap)
    assert len(found.calibration) == 10
    assert {one.n for one in found.calibration} == {found.n_rows // 10}


def test_a_shift_of_all_scores_shows_in_the_calibration_error():
    labels, scores, users, _ = judged_rows()
    shifted = evaluate(labels, np.clip(scores + 0.2, 0, 1), users, recency=None, threshold=0.3, seed=5, replicates=0)
    assert shifted.ece.value > 0.15


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 12))
@FIXED
def test_equal_scores_are_never_parted(drawn, bins):
    scores = np.sort(np.array(drawn, dtype=float))
    starts = bootstrap.bin_starts(scores, bins)
    assert starts[0] == 0
    assert len(starts) <= bins
    assert all(scores[start] != scores[start - 1] for start in starts[1:])


def test_resampling_users_is_wider_than_resampling_rows_that_repeat_each_other():
    labels, scores, _, recency = judged_rows(n_users=100)
    labels, scores, recency = (np.repeat(column, 8) for column in (labels, scores, recency))
    by_user = evaluate(labels, scores, np.arange(len(labels)) // 8, recency=None, threshold=0.3, seed=5)
    by_row = evaluate(labels, scores, np.arange(len(labels)), recency=None, threshold=0.3, seed=5)
    assert by_user.pr_auc.high - by_user.pr_auc.low > 2 * (by_row.pr_auc.high - by_row.pr_auc.low)


def test_neither_the_order_of_rows_nor_a_second_run_changes_anything():
    labels, scores, users, recency = judged_rows()
    order = np.random.default_rng(0).permutation(len(labels))
    first, again, shuffled = (
        evaluate(labels[o], scores[o], users[o], recency=recency[o], threshold=0.3, seed=5, replicates=20)
        for o in (slice(None), slice(None), order)
    )
    assert first == again
    assert shuffled.pr_auc.low == pytest.approx(first.pr_auc.low, abs=1e-12)
    assert shuffled.ece.value == pytest.approx(first.ece.value, abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_ranking_undefined_and_never_nan(label):
    _, scores, users, recency = judged_rows(n_users=30)
    labels = np.full(len(scores), label)
    found = evaluate(labels, scores, users, recency=recency, threshold=0.3, seed=5, replicates=10)
    assert found.pr_auc == found.roc_auc == found.gain_over_recency == bootstrap.UNDEFINED
    assert found.brier.value is not None
    assert (found.lift_at_10pct is None) == (label == 0)
    json.dumps(found.as_json(), allow_nan=False)


def test_one_user_has_values_and_no_intervals():
    labels, scores, _, recency = judged_rows(n_users=30)
    found = evaluate(labels, scores, ["only one"] * len(labels), recency=recency, threshold=0.3, seed=5)
    assert found.n_users == 1
    assert found.pr_auc.value is not None
    assert found.pr_auc.low is None


def test_a_user_never_seen_active_counts_as_longest_ago():
    labels, recency = [1, 0, 0, 1], [np.nan, 3.0, 1.0, 20.0]
    found = evaluate(labels, [0.5] * 4, list("abcd"), recency=recency, threshold=0.3, seed=5, replicates=0)
    assert found.recency_roc_auc.value == 1.0


def test_without_recency_there_is_nothing_beside_the_model():
    labels, scores, users, _ = judged_rows(n_users=30)
    found = evaluate(labels, scores, users, recency=None, threshold=0.3, seed=5, replicates=5)
    assert found.recency_pr_auc == found.gain_over_recency == bootstrap.UNDEFINED


def test_the_top_counts_ties_for_the_last_place_by_their_expected_share():
    labels = np.r_[np.ones(40), np.zeros(60)]
    top = evaluate(labels, np.full(100, 0.4), np.arange(100), recency=None, threshold=0.3, seed=5, replicates=0)
    assert top.precision_at_50 == top.precision_at_10pct == pytest.approx(0.4)
    assert top.lift_at_10pct == pytest.approx(1.0)
    assert top.recall_at_10pct == pytest.approx(0.1)
    few = evaluate([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3], list("abcd"), recency=None, threshold=0.3, seed=5, replicates=0)
    assert few.precision_at_50 == pytest.approx(0.25)


def test_metrics_are_flat_numbers_under_the_names_that_others_read():
    metrics = evaluation().metrics()
    assert {"pr_auc", "roc_auc", "brier", "ece", "precision_at_50", "lift_at_10pct"} <= set(metrics)
    assert all(isinstance(value, float) for value in metrics.values())


@pytest.mark.parametrize(
    ("labels", "scores", "words"),
    [([], [], "n > 0"), ([0, 2], [0.1, 0.2], "neither 0 nor 1"), ([0, 1], [0.1, np.nan], "not a probability")],
)
def test_what_cannot_be_judged_is_refused(labels, scores, words):
    with pytest.raises(ValueError, match=words):
        evaluate(labels, scores, ["u"] * len(labels), recency=None, threshold=0.3, seed=5)


def test_a_paired_difference_is_narrower_than_the_parts():
    labels, scores, users, _ = judged_rows()
    noisy = np.clip(scores + np.random.default_rng(2).normal(0, 0.03, len(scores)), 0, 1)
    found = bootstrap.paired_difference(labels, scores, noisy, users, seed=5)
    alone = evaluate(labels, scores, users, recency=None, threshold=0.3, seed=5).pr_auc
    expected = average_precision_score(labels, scores) - average_precision_score(labels, noisy)
    assert found.value == pytest.approx(expected)
    assert found.high - found.low < (alone.high - alone.low) / 2
    assert bootstrap.paired_difference(labels, scores, scores, users, seed=5) == bootstrap.Estimate(0.0, 0.0, 0.0)


def test_a_paired_difference_of_one_class_is_undefined():
    assert bootstrap.paired_difference([0, 0], [0.1, 0.2], [0.2, 0.1], ["a", "b"], seed=5) == bootstrap.UNDEFINED


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), min_size=1, max_size=60))
@settings(FIXED, max_examples=25)
def test_no_threshold_has_a_better_f1_and_medium_is_below_high(drawn):
    labels = np.r_[[one[0] for one in drawn], [True] * 5, [False] * 5].astype(int)
    scores = np.r_[[one[1] for one in drawn], np.arange(10) + 5] / 25
    bands = choose_threshold(labels, scores)
    assert 0 < bands.medium < bands.high
    best = max(f1_score(labels, scores >= at) for at in np.unique(scores))
    assert bands.f1 == pytest.approx(best)
    assert f1_score(labels, scores >= bands.high) == pytest.approx(best)


def test_a_threshold_needs_both_classes():
    with pytest.raises(OneClassOnly):
        choose_threshold([0] * 20, [0.1] * 20)


def test_segments_tell_each_level_and_fold_the_rare_ones():
    labels, scores, *_ = judged_rows()
    countries = np.array(["NO", "IN", None, *[f"C{i}" for i in range(20)]], dtype=object)
    frame = pd.DataFrame({"churned": labels, "country": np.resize(countries, len(labels)), "all": "same"})
    found = segments(frame, scores, ["country", "plan", "all"], most_levels=5)
    assert [one.column for one in found] == ["country"] * 5 + ["all"]
    assert found[4].level == "(other)"
    assert sum(one.n_rows for one in found[:5]) == found[5].n_rows == len(labels)
    assert found[5].pr_auc == pytest.approx(average_precision_score(labels, scores))
    assert found[5].calibration_gap == pytest.approx(scores.mean() - labels.mean())


def test_a_segment_of_one_class_has_no_ranking():
    frame = pd.DataFrame({"churned": [0, 0, 1], "plan": ["free", "free", None]})
    free, missing = segments(frame, np.array([0.1, 0.2, 0.3]), ["plan"])
    assert (free.level, free.pr_auc, free.roc_auc) == ("free", None, None)
    assert missing.level == "(missing)"


def test_tenure_is_told_in_bands():
    days = pd.Series([0, 30, 31, 365, np.nan], index=[5, 6, 7, 8, 9])
    found = tenure_bands(days)
    assert list(found[:4]) == ["up to 30 days", "up to 30 days", "31 to 90 days", "a year and more"]
    assert found.isna().tolist() == [False] * 4 + [True]
    assert list(found.index) == list(days.index)


def test_shuffling_the_only_feature_that_counts_costs_most():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({feature.name: rng.random(400) for feature in FEATURES})
    frame["churned"] = (rng.random(400) < frame["trend"]).astype(np.int8)
    found = permutation_importance(lambda part: part["trend"].to_numpy(), frame, FEATURES, seed=1)
    assert found[0].feature == "trend"
    assert {one.value for one in found[1:]} == {0.0}
    assert found == permutation_importance(lambda part: part["trend"].to_numpy(), frame, FEATURES, seed=1)


def test_importances_are_ranked_and_told_in_words():
    found = ranked_importance(FEATURES[:2], [0.1, 0.3])
    assert [(one.feature, one.phrase) for one in found] == [
        ("trend", "Recent against long window."),
        ("active_days_7d", "active days in 7 days"),
    ]

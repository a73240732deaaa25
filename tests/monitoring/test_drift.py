import json
import math

import numpy as np
import pyarrow as pa
import pytest
from drift_populations import DAY, FEATURES, population, replaced, scores_of

from churn_assets.monitoring.drift import drift_report
from churn_assets.monitoring.drift_words import MOST_NAMED
from churn_assets.monitoring.reference import Reference, compare, make_reference, score_histogram
from churn_assets.settings import DriftSettings

LIMITS = DriftSettings(consecutive_days=1)
ASKED_FOR = (
    "status overall_max_psi psi_by_feature score_psi as_of_date reference current model_version thresholds reasons"
)


@pytest.fixture(scope="module")
def reference():
    table = population(1500, seed=0, dates=4)
    return make_reference(table, scores_of(table), FEATURES)


def judged(reference, table, scores=None, settings=LIMITS):
    scores = scores_of(table) if scores is None else scores
    return drift_report(reference, table, scores, model_version="m", as_of_date=DAY, settings=settings)


def test_reference_travels_as_json(reference):
    assert Reference.from_bytes(reference.to_bytes()) == reference
    assert reference.users == 1500
    assert reference.rows == 6000
    assert str(reference.first_date) == "2025-12-15"
    assert reference.typical["plan"] == "free"
    assert 3 <= reference.typical["active_days_7d"] <= 4
    assert sum(reference.score_histogram) == 6000


def test_reference_is_the_same_bytes_whatever_the_order(reference):
    table = population(1500, seed=0, dates=4)
    table = table.take(np.random.default_rng(0).permutation(table.num_rows))
    again = make_reference(table, scores_of(table), FEATURES)
    assert again.features == reference.features
    assert again.score == reference.score


def test_reference_needs_rows_and_a_score_for_each():
    table = population(10, seed=0)
    with pytest.raises(ValueError, match="nobody was at risk"):
        make_reference(table.slice(0, 0), np.zeros(0), FEATURES)
    with pytest.raises(ValueError, match="9 scores for 10 rows"):
        make_reference(table, np.zeros(9), FEATURES)


def test_comparison_gives_an_index_for_every_feature_and_the_score(reference):
    table = population(1200, seed=1)
    found = compare(reference, table, scores_of(table))
    assert list(found.psi_by_feature) == [spec.name for spec in FEATURES]
    assert all(0 <= value < 0.05 for value in (*found.psi_by_feature.values(), found.score_psi))
    with pytest.raises(ValueError, match="empty population"):
        compare(reference, table.slice(0, 0), np.zeros(0))


def test_the_same_population_is_ok(reference):
    report = judged(reference, population(1200, seed=1))
    assert report.status == "OK"
    assert report.what_to_do == "Nothing."
    assert len(report.reasons) == 1
    assert report.overall_max_psi == max(report.psi_by_feature.values()) < LIMITS.warn_psi


def test_moved_scores_fail(reference):
    report = judged(reference, population(1200, seed=1, shift=1.0))
    assert report.status == "FAIL"
    assert report.score_psi >= LIMITS.alert_score_psi
    assert "churn retrain" in report.what_to_do
    assert any("alert limit 0.08" in reason for reason in report.reasons)
    assert list(report.psi_by_feature.values()) == sorted(report.psi_by_feature.values(), reverse=True)


def test_a_feature_by_itself_only_warns(reference):
    table = population(1200, seed=1)
    moved = replaced(table, "quiz_avg_score_7d", pa.array(np.full(1200, 12.0)))
    report = judged(reference, moved, scores_of(table))
    assert report.status == "WARN"
    assert report.psi_by_feature["quiz_avg_score_7d"] > LIMITS.alert_psi
    assert any(reason.startswith("quiz_avg_score_7d moved") for reason in report.reasons)


def test_scores_that_moved_somewhat_warn(reference):
    table = population(1500, seed=0, dates=4)
    loose = DriftSettings(warn_score_psi=0.0001, alert_score_psi=10.0, alert_psi=10.0)
    shifted = population(1500, seed=3, shift=0.25)
    assert judged(reference, shifted, settings=loose).status == "WARN"
    assert judged(reference, table, settings=loose).status == "OK"


def test_limits_are_settings(reference):
    shifted = population(1200, seed=1, shift=1.0)
    far = DriftSettings(warn_psi=50.0, alert_psi=90.0, warn_score_psi=50.0, alert_score_psi=90.0)
    assert judged(reference, shifted, settings=far).status == "OK"


def test_few_users_never_alarm_by_chance(reference):
    for seed in range(40):
        report = judged(reference, population(25, seed=seed + 10))
        assert report.status == "OK"
    assert "few users" in report.reasons[-1]


def test_few_users_alarm_when_all_has_changed(reference):
    table = population(60, seed=1)
    assert judged(reference, table, np.full(60, 0.999)).status == "FAIL"


def test_one_user(reference):
    report = judged(reference, population(1, seed=1))
    assert report.status == "OK"
    assert report.current.users == 1


def test_nobody_warns_and_says_so(reference):
    report = judged(reference, population(5, seed=1).slice(0, 0))
    assert report.status == "WARN"
    assert report.score_psi is None
    assert report.overall_max_psi is None
    assert report.psi_by_feature == {}
    assert "Nobody" in report.headline


def test_lost_values_point_at_the_source(reference):
    table = population(1200, seed=1)
    report = judged(reference, replaced(table, "plan", pa.nulls(1200, pa.string())), scores_of(table))
    assert report.status == "WARN"
    assert report.what_to_do.startswith("First check the source")
    assert any("plan moved" in reason and "missing in 100%" in reason for reason in report.reasons)


def test_vanished_and_new_columns_are_named(reference):
    table = population(1200, seed=1)
    changed = table.drop_columns("is_paid").append_column("shoe_size", pa.array(np.full(1200, 43.0)))
    report = judged(reference, changed, scores_of(table))
    assert report.status == "WARN"
    assert report.vanished_columns == ["is_paid"]
    assert report.new_columns == ["shoe_size"]
    assert "is_paid is no longer there." in report.reasons
    assert any("shoe_size" in reason for reason in report.reasons)
    assert report.features[0].missing_now == 1.0


def test_unseen_categories_count(reference):
    table = population(1200, seed=1)
    plans = pa.array(["gold"] * 600 + ["free"] * 600)
    report = judged(reference, replaced(table, "plan", plans), scores_of(table))
    shift = next(shift for shift in report.features if shift.name == "plan")
    assert shift.outside_now == 0.5
    assert report.status == "WARN"
    assert any("training never saw" in reason for reason in report.reasons)


def test_infinite_values_count_as_outside(reference):
    table = population(1200, seed=1)
    minutes = table["watch_minutes_7d"].to_numpy().copy()
    minutes[:300], minutes[300:400] = np.inf, -np.inf
    report = judged(reference, replaced(table, "watch_minutes_7d", pa.array(minutes)), scores_of(table))
    shift = next(shift for shift in report.features if shift.name == "watch_minutes_7d")
    assert shift.outside_now == pytest.approx(1 / 3, abs=0.01)
    assert report.status == "WARN"
    json.dumps(report.as_json(), allow_nan=False)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_column_is_still_until_it_moves(value):
    then = population(800, seed=0)
    constant = replaced(then, "is_paid", pa.array(np.zeros(800)))
    reference = make_reference(constant, scores_of(then), FEATURES)
    now = replaced(population(800, seed=1), "is_paid", pa.array(np.full(800, value)))
    report = judged(reference, now)
    assert (report.psi_by_feature["is_paid"] > 1) == (value > 0)


def test_a_column_without_values_is_still_until_some_come():
    then = replaced(population(800, seed=0), "is_paid", pa.nulls(800, pa.float64()))
    reference = make_reference(then, scores_of(then), FEATURES)
    assert judged(reference, then).psi_by_feature["is_paid"] == 0.0
    now = population(800, seed=1)
    assert judged(reference, now).psi_by_feature["is_paid"] > 1


def test_a_feature_that_training_lacked_is_compared_when_it_comes():
    then = population(800, seed=0)
    reference = make_reference(then.drop_columns("plan"), scores_of(then), FEATURES)
    assert judged(reference, then).psi_by_feature["plan"] > 1


def test_json_has_what_the_contract_names(reference):
    report = judged(reference, population(1200, seed=1, shift=1.0))
    plain = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert set(ASKED_FOR.split()) <= set(plain)
    assert plain["as_of_date"] == "2026-01-05"
    assert plain["reference"]["users"] == 1500
    assert plain["current"]["rows"] == 1200
    assert plain["thresholds"]["alert_psi"] == 0.25
    assert plain["thresholds"]["alert_score_psi"] == 0.08
    assert plain["alert"] == {"id": "m@drift@2026-01-05", "kind": "drift", "since": "2026-01-05"}
    assert plain["noise_by_feature"].keys() == plain["psi_by_feature"].keys()


def test_reasons_stay_short(reference):
    table = population(800, seed=0)
    names = [f"f{n}" for n in range(20)]
    specs = [FEATURES[0].__class__(name=name, kind="number", meaning="") for name in names]
    wide = table.append_column("f0", table["active_days_7d"])
    for name in names[1:]:
        wide = wide.append_column(name, table["active_days_7d"])
    reference = make_reference(wide, scores_of(table), specs)
    gone = wide.drop_columns(names)
    report = judged(reference, gone, scores_of(table))
    assert len(report.reasons) == 1 + MOST_NAMED + 1 + 1
    assert any("12 more moved" in reason for reason in report.reasons)


def test_histogram_takes_every_score():
    assert sum(score_histogram(np.array([0.0, 1e-300, 0.5, 1.0]))) == 4
    assert score_histogram(np.zeros(0)) == (0,) * 20
    assert math.isclose(sum(score_histogram(np.linspace(0, 1, 101))), 101)

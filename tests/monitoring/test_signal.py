"""From a day's scores to an alert: what counts, for how long, and what explains it away."""

import datetime as dt

import numpy as np
import pytest
from drift_populations import DAY, FEATURES, population, scores_of

from churn_assets.monitoring.alert import Alert
from churn_assets.monitoring.drift import Context, drift_report
from churn_assets.monitoring.drift_words import Feed
from churn_assets.monitoring.reference import Reference, Scored, make_reference
from churn_assets.monitoring.signal import signal_of
from churn_assets.settings import DriftSettings

LIMITS = DriftSettings()
CALM, MOVED = population(1200, seed=1), population(1200, seed=1, shift=1.0)
BROKEN = Feed(status="FAULT", findings=["watch_minutes: the median is 60 times the usual."])


def known_history(roc_auc=0.9, held_out=10, error=0.0):
    """Ten dates of the holdout, and the season a year ago, in which the scores looked as they do when moved."""
    dates = {DAY - dt.timedelta(days=40 + 7 * n): scores_of(population(1200, seed=n + 50)) for n in range(held_out)}
    found = {day: Scored(scores=scores, held_out=True, roc_auc=0.9) for day, scores in dates.items()}
    a_year_ago = Scored(
        scores=scores_of(population(1200, seed=70, shift=1.0)), held_out=False, roc_auc=roc_auc, error=error
    )
    return found | {DAY - dt.timedelta(days=363): a_year_ago}


def reference_with(history):
    table = population(1500, seed=0, dates=4)
    return make_reference(table, scores_of(table), FEATURES, history=history)


PLAIN = reference_with({})


def signal(table, day=DAY, reference=PLAIN):
    return signal_of(reference, scores_of(table), table.num_rows, day, LIMITS)


def report(table, reference=PLAIN, scores=None, **context):
    return drift_report(
        reference,
        table,
        scores_of(table) if scores is None else scores,
        model_version="candidate_1",
        as_of_date=DAY,
        settings=LIMITS,
        context=Context(**context),
    )


def days_before(*tables):
    return [signal(table, DAY - dt.timedelta(days=n)) for n, table in enumerate(tables, start=1)]


def test_one_day_is_no_alert_but_a_warning_that_counts():
    found = report(MOVED)
    assert (found.status, found.days_in_a_row, found.alert) == ("WARN", 1, None)
    assert "1 of the 3 days" in " ".join(found.reasons)


def test_three_days_in_a_row_are_an_alert():
    found = report(MOVED, before=days_before(MOVED, MOVED))
    assert (found.status, found.days_in_a_row) == ("FAIL", 3)
    assert found.alert == Alert(id=f"candidate_1@drift@{DAY}", kind="drift", since=DAY)


def test_a_calm_day_in_between_begins_the_count_anew():
    assert report(MOVED, before=days_before(CALM, MOVED)).status == "WARN"
    assert report(CALM, before=days_before(MOVED, MOVED)).days_in_a_row == 0


def test_an_alert_that_stands_keeps_its_name():
    since = DAY - dt.timedelta(days=2)
    standing = Alert.of("drift", "candidate_1", since)
    assert report(MOVED, before=days_before(MOVED, MOVED), standing=standing).alert == standing


def test_another_models_alert_is_not_continued():
    standing = Alert.of("drift", "candidate_0", DAY - dt.timedelta(days=2))
    assert report(MOVED, before=days_before(MOVED, MOVED), standing=standing).alert == Alert.of(
        "drift", "candidate_1", DAY
    )


def test_a_broken_feed_holds_the_alert_back_and_says_what_to_mend():
    found = report(MOVED, before=days_before(MOVED, MOVED), feed=BROKEN)
    assert (found.status, found.alert) == ("WARN", None)
    assert found.reasons[0] == BROKEN.findings[0]
    assert found.what_to_do.startswith("Mend the source")
    assert "broken" in found.headline


def test_a_broken_feed_is_told_on_a_calm_and_on_an_empty_day_too():
    assert report(CALM, feed=BROKEN).status == "WARN"
    empty = report(CALM.slice(0, 0), feed=BROKEN)
    assert empty.what_to_do.startswith("Mend the source")
    assert BROKEN.findings[0] in empty.reasons


def test_a_season_that_was_good_before_explains_itself():
    reference = reference_with(known_history())
    found = signal(MOVED, reference=reference)
    assert found.season_psi < LIMITS.warn_score_psi
    assert not found.has_moved
    assert signal(MOVED, DAY - dt.timedelta(days=90), reference).has_moved


def test_a_season_in_which_the_model_was_bad_explains_nothing():
    assert signal(MOVED, reference=reference_with(known_history(roc_auc=0.8))).has_moved


def test_a_season_that_may_have_been_bad_by_chance_alone_is_not_called_bad():
    assert signal(MOVED, reference=reference_with(known_history(roc_auc=0.85, error=0.01))).has_moved
    assert not signal(MOVED, reference=reference_with(known_history(roc_auc=0.85, error=0.02))).has_moved


def test_scores_that_tell_people_apart_less_call_for_an_alert():
    reference = reference_with(known_history())
    middling = np.random.default_rng(0).normal(0.24, 0.01, 1200).clip(0.1, 0.4)
    found = signal_of(reference, middling, 1200, DAY, LIMITS)
    assert found.tells_less
    assert found.promise_drop > 0.05
    said = report(CALM, reference, middling, before=[found, found])
    assert said.status == "FAIL"
    assert any("promise a ROC-AUC" in reason for reason in said.reasons)


def test_ordinary_days_are_below_what_is_ordinary_and_never_call():
    reference = reference_with(known_history())
    assert 0.0 < reference.ordinary_psi < LIMITS.alert_score_psi
    assert not any(signal(population(1200, seed=seed), reference=reference).is_raised for seed in range(100, 140))


def test_the_history_travels_with_the_model():
    reference = reference_with(known_history())
    assert Reference.from_bytes(reference.to_bytes()) == reference
    assert reference.promise.roc_auc == pytest.approx(
        np.median([s.promise.roc_auc for s in reference.history[1:]]), abs=0.01
    )


def test_a_reference_without_a_history_still_judges():
    assert signal(MOVED).has_moved
    assert signal(MOVED).promise_drop is None
    assert signal(MOVED.slice(0, 0)).score_psi is None


def test_features_are_weighed_by_what_the_model_makes_of_them():
    table = population(1500, seed=0, dates=4)
    only = {spec.name: float(spec.name == "plan") for spec in FEATURES}
    reference = make_reference(table, scores_of(table), FEATURES, importance=only)
    assert report(MOVED, reference).weighted_psi == pytest.approx(report(MOVED, reference).psi_by_feature["plan"])
    assert report(MOVED).weighted_psi is None

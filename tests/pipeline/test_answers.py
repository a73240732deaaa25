"""An alert is answered once, whoever asks how often, and whatever breaks in between."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.automation.answers import Retrain, answer, key_of
from churn_assets.automation.claims import LASTS, claim
from churn_assets.monitoring.alert import Alarming, Alert
from churn_assets.settings import RetrainingSettings

SINCE = date(2026, 3, 1)
ALERT = Alert.of("drift", "candidate_1", SINCE)
REPORTED = datetime(2026, 3, 2, 1, 5, tzinfo=UTC)
NOW = REPORTED + timedelta(minutes=1)
LIMITS = RetrainingSettings()
BACK_OFF = timedelta(seconds=LIMITS.retry_after_seconds)
KEY = f"{ALERT.id}#0"


def asked(*retrains, day=SINCE, now=NOW, alert=ALERT):
    report = Alarming(as_of_date=day, model_version="candidate_1", alert=alert)
    return answer(report, alert, retrains, reported=REPORTED, now=now, settings=LIMITS)


def retrain(state, key=KEY, began=NOW, ended=None):
    return Retrain(key, state, began, ended or began)


def test_a_new_alert_is_answered():
    found = asked()
    assert (found.key, found.run_key) == (KEY, f"{KEY}/1")


@pytest.mark.parametrize("key", [KEY, ""])
def test_nothing_is_asked_for_while_a_retrain_is_under_way(key):
    assert not asked(retrain("waiting", key)).run_key


def test_what_is_answered_is_not_asked_for_again():
    assert not asked(retrain("done")).run_key
    assert not asked(retrain("done"), day=SINCE + timedelta(days=LIMITS.cooldown_days - 1)).run_key


def test_an_alert_that_still_stands_after_the_cooldown_is_answered_again():
    later = SINCE + timedelta(days=LIMITS.cooldown_days)
    before = retrain("done", began=REPORTED - timedelta(days=7))
    assert asked(before, day=later).run_key == f"{ALERT.id}#1/1"


def test_a_retrain_since_the_report_answers_it_whoever_asked():
    assert not asked(retrain("done", "")).run_key
    assert asked(retrain("done", "", began=REPORTED - timedelta(hours=1))).run_key


def test_a_failed_retrain_is_tried_again_slower_each_time_and_not_for_ever():
    once = [retrain("failed")]
    assert not asked(*once, now=NOW + BACK_OFF - timedelta(seconds=1)).run_key
    assert asked(*once, now=NOW + BACK_OFF).run_key == f"{KEY}/2"
    twice = once * 2
    assert not asked(*twice, now=NOW + BACK_OFF).run_key
    assert asked(*twice, now=NOW + 2 * BACK_OFF).run_key == f"{KEY}/3"
    given_up = asked(*once * LIMITS.max_attempts, now=NOW + timedelta(days=1))
    assert given_up.has_given_up
    assert not given_up.run_key


def test_a_flickering_alert_is_one():
    again = Alert.of("drift", "candidate_1", SINCE + timedelta(days=3))
    assert not asked(retrain("done", began=REPORTED - timedelta(days=3)), day=again.since, alert=again).run_key
    much_later = Alert.of("drift", "candidate_1", SINCE + timedelta(days=11))
    old = retrain("done", began=REPORTED - timedelta(days=11))
    assert asked(old, day=much_later.since, alert=much_later).run_key


def test_the_alert_of_a_model_that_has_just_been_promoted_waits_for_the_cooldown():
    before = retrain("done", "candidate_0@drift@2026-02-27#0", began=REPORTED - timedelta(days=2))
    assert not asked(before).run_key
    assert asked(before, day=SINCE + timedelta(days=5)).run_key == f"{KEY}/1"


def test_refusals_of_an_alert_are_counted():
    old = REPORTED - timedelta(days=30)
    done = [retrain("done", f"{ALERT.id}#{number}", began=old) for number in range(3)]
    assert asked(*done, retrain("done", "", began=old), day=SINCE + timedelta(days=25)).refusals == 3


@given(st.integers(0, 400))
def test_the_key_changes_once_a_cooldown(days):
    number = int(key_of(ALERT, SINCE + timedelta(days=days), LIMITS).rpartition("#")[2])
    assert number == days // LIMITS.cooldown_days


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40))
def test_however_often_it_is_asked_one_answer_a_cooldown_is_done(days):
    done = []
    for day in sorted(days):
        found = asked(*done, day=SINCE + timedelta(days=day))
        if found.run_key:
            done.append(retrain("done", found.key, began=REPORTED - timedelta(days=1)))
    assert len({one.key for one in done}) == len(done) == len({day // LIMITS.cooldown_days for day in days})


def test_of_two_who_claim_one_may_ask(tmp_path):
    assert claim(tmp_path, "a", NOW)
    assert not claim(tmp_path, "a", NOW + timedelta(seconds=30))
    assert claim(tmp_path, "b", NOW)


def test_a_claim_of_somebody_who_died_expires(tmp_path):
    assert claim(tmp_path, "a", NOW)
    assert claim(tmp_path, "a", NOW + LASTS)
    assert not claim(tmp_path, "a", NOW + LASTS)


def test_a_broken_claim_counts_for_nothing(tmp_path):
    assert claim(tmp_path, "a", NOW)
    (path,) = [path for path in tmp_path.iterdir() if path.name != ".lock"]
    path.write_text("nonsense")
    assert claim(tmp_path, "a", NOW)

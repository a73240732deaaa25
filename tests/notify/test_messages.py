"""What people are told: what happened, and what to type next."""

import re
from datetime import date
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.cli import app
from churn_assets.notify import messages

DAY = date(2026, 3, 9)
VERSION = "candidate_hgb_20260305T030012Z"
DRIFT = {
    "status": "FAIL",
    "headline": "The model's scores have moved.",
    "reasons": [f"reason {n}" for n in range(9)],
    "what_to_do": "Read what moved, then retrain.",
    "as_of_date": "2026-03-09",
    "model_version": VERSION,
}
ALL = {
    "run_failed": messages.run_failed("retrain_job", "1234-abcd", "candidate_model", "ValueError: no rows\n  at x"),
    "drift_alert": messages.drift_alert(DRIFT),
    "performance_alert": messages.performance_alert(DRIFT),
    "quality_fault": messages.quality_fault("volume", DAY, ["Half of the events are missing."]),
    "promoted": messages.promoted(VERSION, "baseline_logreg_20260101T030012Z", "Its PR-AUC is higher."),
    "refused": messages.refused([VERSION], ["PR-AUC 0.51 is below 0.60."], "drift 2026-03-09"),
    "needs_a_person": messages.needs_a_person(3, "drift 2026-03-09"),
    "stale": messages.stale(4, DAY),
    "disk_low": messages.disk_low(1_200_000_000, Path("/srv/data")),
    "test": messages.test(),
}


@pytest.mark.parametrize("kind", ALL)
def test_every_message_is_of_its_kind_and_says_what_happened_and_what_to_do(kind):
    message = ALL[kind]
    assert message.kind == kind
    assert message.subject
    assert "\n" not in message.title
    assert message.title.startswith("churn: ")
    assert "What to do: " in message.body


def test_there_is_a_message_of_every_kind():
    assert set(ALL) == set(messages.Kind.__args__)


def names_of_commands():
    return set(typer.main.get_command(app).commands)


@pytest.mark.parametrize("kind", ALL)
def test_what_a_message_tells_to_type_looks_like_a_command(kind):
    assert "What to do:" in ALL[kind].body
    typed = re.findall(r"`((?:churn|make) [^`]*)`", ALL[kind].body)
    assert {line.split()[1] for line in typed if line.startswith("churn")} <= names_of_commands()


def test_what_stands_is_told_apart_from_what_happens_once():
    once = {kind for kind, message in ALL.items() if not message.stands}
    assert once == {"run_failed", "promoted", "refused", "test"}


def test_a_failed_run_names_job_step_and_the_first_line_of_the_error():
    message = ALL["run_failed"]
    assert message.subject == "1234-abcd"
    assert message.title == "churn: retrain_job failed at candidate_model"
    assert message.body.startswith("ValueError: no rows\n")
    assert "at x" not in message.body
    assert "`churn retrain`" in message.body


def test_a_run_that_never_began_and_left_no_error_is_told_as_such():
    message = messages.run_failed("my_job", "1", None, "\n \n")
    assert message.title == "churn: my_job failed before its first step"
    assert message.body.startswith("It left no error.")


def test_an_alert_is_the_same_news_while_the_same_model_serves():
    later = DRIFT | {"as_of_date": "2026-03-10", "reasons": []}
    assert messages.drift_alert(later).subject == ALL["drift_alert"].subject == VERSION


def test_an_alert_that_has_a_name_of_its_own_is_known_by_it():
    named = DRIFT | {"alert": {"id": "alert 6", "since": "2026-03-01"}}
    assert messages.drift_alert(named).subject == "alert 6"
    assert messages.drift_alert(named, "alert 7").subject == "alert 7"
    assert messages.drift_alert(DRIFT | {"alert": None}).subject == VERSION


def test_an_alert_tells_the_report_in_short():
    body = ALL["drift_alert"].body
    assert DRIFT["headline"] in body
    assert "- reason 5" in body
    assert "reason 6" not in body
    assert "- and 3 more" in body
    assert "drift_2026-03-09.html" in body


def test_a_report_that_says_little_is_told_all_the_same():
    message = messages.performance_alert({"as_of_date": DAY, "headline": "Worse.", "model_version": None})
    assert "churn retrain" in message.body
    assert message.subject


def test_challengers_are_the_same_news_in_any_order():
    assert messages.refused(["b", "a"], []).subject == messages.refused(["a", "b"], []).subject
    assert messages.refused([], []).title


def test_the_first_promotion_offers_no_way_back():
    assert "rollback" not in messages.promoted(VERSION, None, "It is the first.").body
    assert "`churn models rollback`" in ALL["promoted"].body


@given(st.text(max_size=2000))
def test_the_first_line_is_one_line_of_bounded_length(text):
    line = messages.first_line(text)
    assert len(line) <= messages.LONGEST_LINE
    assert len(line.splitlines()) <= 1
    assert bool(line) == bool(text.strip())

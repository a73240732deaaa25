"""Data Pipeline: gates, the feed, backups."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from readiness_world import NOW, ingest

from churn_assets.automation.health import Gate, Health
from churn_assets.readiness import data
from churn_assets.readiness.premises import Premises


def newest_day(workspace):
    return data.gate_newest_day(Premises(workspace, NOW))


@pytest.mark.parametrize(("limit", "outcome"), [(0.0, "pass"), (0.02, "pass"), (0.3, "warn"), (1.0, "fail")])
def test_a_gate_that_lets_everything_through_is_none(place, limit, outcome):
    answer = place.configure(validation={"max_reject_share": limit}).ask(data.gate_limit)
    assert answer.outcome == outcome


def test_the_contract_blocks_in_the_real_graph(place):
    answer = place.ask(data.gate_contract)
    assert answer.outcome == "pass"
    assert "validated_events.within_contract" in answer.found


def test_a_contract_that_does_not_block_fails(place):
    gates = (
        Gate(asset="validated_users", check="within_contract", blocking=True),
        Gate(asset="validated_events", check="within_contract", blocking=False),
    )
    place.known["health"] = Health(Path(), exists=False, gates=gates, timers=())
    answer = place.ask(data.gate_contract)
    assert answer.outcome == "fail"
    assert answer.found == "nothing blocks after validated_events"


def test_nothing_ingested_fails(place):
    assert place.ask(data.gate_newest_day).fix == "churn seed"


def test_the_rejected_share_of_the_newest_day_is_told(tmp_path):
    answer = newest_day(ingest(tmp_path, bad=2, good=38))
    assert answer.outcome == "pass"
    assert answer.found == "2 of 40 rows of 2024-01-08 rejected (5.00%)"


def test_a_day_that_did_not_pass_the_gate_fails(tmp_path):
    answer = newest_day(ingest(tmp_path, bad=30, good=10))
    assert answer.outcome == "fail"
    assert "30 of 40 rows" in answer.found
    assert "did not pass the gate" in answer.found
    assert "events_2024-01-08.csv" in answer.fix


def test_a_day_above_the_limit_fails_even_if_its_run_was_within_it(tmp_path):
    workspace = ingest(tmp_path, bad=8, good=32)
    stricter = workspace.settings.model_copy(
        update={"validation": workspace.settings.validation.model_copy(update={"max_reject_share": 0.1})}
    )
    answer = newest_day(type(workspace)(stricter))
    assert answer.outcome == "fail"
    assert "(20.00%), above 10.00%" in answer.found


def test_the_feed_is_what_the_newest_report_calls_it(place):
    assert place.ask(data.feed).fix == "churn drift"
    place.drift()
    assert place.ask(data.feed).outcome == "pass"
    place.drift(
        feed={"status": "FAULT", "findings": ["Half of the events are missing."]}, what_to_do="Mend the source."
    )
    answer = place.ask(data.feed)
    assert (answer.outcome, answer.fix) == ("fail", "Mend the source.")
    assert "Half of the events" in answer.found
    place.drift(feed={})
    assert place.ask(data.feed).outcome == "warn"


@pytest.mark.parametrize(("behind", "outcome"), [(0, "pass"), (1, "pass"), (2, "warn"), (6, "warn"), (7, "fail")])
def test_a_report_grows_old(place, behind, outcome):
    place.drift(as_of_date=str(date(2026, 1, 19) - timedelta(days=behind)))
    answer = place.ask(data.report_age)
    assert answer.outcome == outcome
    assert f"{behind} days behind" in answer.found


def test_without_a_report_nobody_looks(place):
    assert place.ask(data.report_age).outcome == "fail"


def test_a_backup_needs_a_place_that_outlives_the_disk(place, tmp_path):
    assert place.ask(data.backup_destination).outcome == "fail"
    assert (
        place.configure(backup={"destination": str(tmp_path / "gone")}).ask(data.backup_destination).outcome == "fail"
    )
    same = place.configure(backup={"destination": str(tmp_path)}).ask(data.backup_destination)
    assert same.outcome == "warn"
    assert "same disk" in same.found
    elsewhere = place.configure(backup={"destination": "s3://user:hidden@vault/churn"}).ask(data.backup_destination)
    assert elsewhere.outcome == "pass"
    assert "hidden" not in elsewhere.found


@pytest.mark.parametrize(("days", "outcome"), [(0, "pass"), (6, "pass"), (7, "pass"), (8, "fail"), (400, "fail")])
def test_a_backup_grows_old(place, days, outcome):
    place.backup(NOW - timedelta(days=days, hours=1))
    assert place.ask(data.backup_age).outcome == outcome


def test_no_backup_and_a_backup_of_nothing_fail(place):
    assert place.ask(data.backup_age).found == "no backup is on record"
    place.backup(files=0)
    assert place.ask(data.backup_age).outcome == "fail"


def test_a_record_that_cannot_be_read_fails_and_is_named(place):
    place.backup(name=["not", "a", "name"])
    answer = place.ask(data.backup_age)
    assert answer.outcome == "fail"
    assert "last_backup.json" in answer.found

"""The loop with Dagster's real daemon: an alert is answered by one retrain, whatever becomes of the daemon."""

import json

import pytest
from daemons import answers, daemon, some_more_ticks, until

from churn_assets.training.assets import ALERT

TOO_SHORT = {"CHURN_TRAINING__HISTORY_DAYS": "1"}
"""Every retrain fails: no date has features and a label."""


@pytest.mark.slow
def test_one_retrain_answers_an_alert_though_daemons_die_and_are_two(alarmed):
    log = alarmed.folder / "daemon.log"
    decided = len(alarmed.registry.history())
    with daemon(alarmed) as first:
        until(lambda: answers(alarmed), "nobody asked for a retrain", log)
        first.kill()  # the run is queued, or has just begun
        with daemon(alarmed), daemon(alarmed):
            until(lambda: answers(alarmed)[0].is_finished, "the retrain does not end", log)
            some_more_ticks(alarmed, log)
    (run,) = answers(alarmed)
    report = json.loads(alarmed.layout.latest_drift.read_text())
    assert run.is_success
    assert run.tags[ALERT] == f"{report['alert']['id']}#0"
    assert run.tags["churn/trigger"] == "drift_alert_retrain"
    decisions = [one for one in alarmed.registry.history()[decided:] if one.action in {"promoted", "refused"}]
    assert {one.actor for one in decisions} == {f"run {run.run_id[:8]}"}


@pytest.mark.slow
def test_a_retrain_that_fails_is_tried_again_and_then_it_is_the_answer(alarmed):
    log = alarmed.folder / "daemon.log"
    with daemon(alarmed, **TOO_SHORT):
        until(lambda: [run for run in answers(alarmed) if run.is_failure], "no retrain failed", log)
    with daemon(alarmed):
        until(lambda: [run for run in answers(alarmed) if run.is_success], "no retrain came through", log)
        some_more_ticks(alarmed, log)
    runs = answers(alarmed)
    assert [run.status.value for run in runs].count("SUCCESS") == 1
    assert len(runs) <= 3
    assert len({run.tags[ALERT] for run in runs}) == 1
    assert len({run.tags["dagster/run_key"] for run in runs}) == len(runs)

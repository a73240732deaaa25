"""A process that dies in the middle, and two at once: the last good state stays readable, the next run completes."""

import signal

from deployed import DAY
from interruptions import assert_all_readable, sound_production
from small_world import DAYS, TODAY

TOMORROW = {"CHURN_CLOCK__TODAY": "2026-11-24"}


def test_a_first_run_that_was_killed_twice_completes(pieces_run):
    pieces = pieces_run.result()
    pieces.last.expect()
    assert 3 <= pieces.while_reading < DAYS
    status = pieces.status.expect(3).json
    assert status["production model"] == "none"
    assert "run `churn seed`" in status["needs a person"]
    assert pieces.validated in {0, DAYS}
    assert len(pieces.deployment.layout.events.days()) == DAYS
    assert_all_readable(pieces.deployment)
    assert sound_production(pieces.deployment)


def test_a_retrain_that_dies_leaves_the_champion(retrains_run):
    done = retrains_run.result()
    assert done.after_judging == done.after_promoting == done.champion
    assert [row["version"] for row in done.listed.json if row[""] == "*"] == [done.champion]


def test_two_retrains_at_once_settle_on_one_model(retrains_run):
    done = retrains_run.result()
    for finished in done.both:
        assert finished.code == 0 or "the registry is locked" in finished.err, finished.err
    serving = sound_production(done.deployment)
    assert serving != done.champion
    history, versions = done.deployment.registry.history(), done.deployment.registry.versions()
    assert [entry.version for entry in history if entry.action == "promoted"][-1] == serving
    assert "abandoned" in {entry.action for entry in history}
    assert len({summary.version for summary in versions}) == 8
    assert_all_readable(done.deployment)


def test_a_scoring_run_that_dies_leaves_the_day_before_and_the_next_two_at_once_agree(deployment):
    layout = deployment.layout
    before = layout.latest_predictions.read_bytes()
    dying = deployment.start("score", dying_at="churn_predictions_*.csv", **TOMORROW)
    dying.finish().expect(-signal.SIGKILL)
    assert_all_readable(deployment)
    assert not layout.predictions_file(TODAY).exists()
    assert layout.latest_predictions.read_bytes() == before == layout.predictions_file(DAY).read_bytes()

    both = [deployment.start("score", **TOMORROW) for _ in range(2)]
    for child in both:
        child.finish().expect(0)
    assert layout.latest_predictions.read_bytes() == layout.predictions_file(TODAY).read_bytes()
    assert_all_readable(deployment)

"""A process that dies in the middle, and two at once: the last good state stays readable, the next run completes."""

import re

from interruptions import assert_all_readable

from deployment import DAY, DAYS, TODAY

TOMORROW = {"CHURN_CLOCK__TODAY": "2026-11-24"}


def better_model(trees):
    """Settings that make a retrain give another model than before."""
    return {"CHURN_TRAINING__MODEL__ITERATIONS": str(trees), "CHURN_TRAINING__MODEL__LEARNING_RATE": f"0.{trees}"}


def assert_one_sound_production(deployment):
    registry = deployment.registry
    serving = registry.production().version
    assert registry.verify(serving) == []
    assert registry.verify_history() is None
    assert registry.alias.path.read_bytes() == (deployment.layout.models / f"{serving}.joblib").read_bytes()
    return serving


def test_a_first_run_that_was_killed_twice_completes(pieces_run):
    pieces = pieces_run.result()
    pieces.last.expect()
    assert 3 <= pieces.while_reading < DAYS
    assert pieces.status.code == 3
    assert "no model serves yet" in pieces.status.out
    assert pieces.validated in {0, DAYS}
    assert len(pieces.deployment.layout.events.days()) == DAYS
    assert_all_readable(pieces.deployment)
    assert_one_sound_production(pieces.deployment)


def test_a_retrain_that_dies_leaves_the_champion_and_the_next_two_at_once_settle_on_one(deployment):
    champion = deployment.registry.production().version
    deployment.start("retrain", **better_model(21)).kill_after("✓ baseline_model")
    assert_all_readable(deployment)
    assert assert_one_sound_production(deployment) == champion

    deployment.start("retrain", dying_at="production_latest.joblib", **better_model(22)).finish().expect(-9)
    assert_all_readable(deployment)
    assert deployment.registry.production().version == champion
    assert champion in deployment.run("status").expect(0).out

    both = [deployment.start("retrain", **better_model(trees)) for trees in (23, 24)]
    for finished in [child.finish() for child in both]:
        assert finished.code == 0 or "the registry is locked" in finished.err
    serving = assert_one_sound_production(deployment)
    assert serving != champion
    rows = deployment.run("models", "list", "--json").expect().json
    assert [row["version"] for row in rows if row[""] == "*"] == [serving]
    assert "abandoned" in {entry.action for entry in deployment.registry.history()}
    assert len({row["version"] for row in rows}) == len(rows) >= 8


def test_a_scoring_run_that_dies_leaves_the_day_before_and_the_next_two_at_once_agree(deployment):
    layout = deployment.layout
    before = layout.latest_predictions.read_bytes()
    deployment.start("score", dying_at="churn_predictions_*.csv", **TOMORROW).finish().expect(-9)
    assert_all_readable(deployment)
    assert not layout.predictions_file(TODAY).exists()
    assert layout.latest_predictions.read_bytes() == before == layout.predictions_file(DAY).read_bytes()

    both = [deployment.start("score", **TOMORROW) for _ in range(2)]
    for child in both:
        child.finish().expect(0)
    assert layout.latest_predictions.read_bytes() == layout.predictions_file(TODAY).read_bytes()
    assert_all_readable(deployment)
    assert not re.search(r"\.part$", "\n".join(str(path) for path in layout.predictions.glob("[!.]*")))

"""Model: what serves, its figures, and the way back."""

from datetime import timedelta

import pytest
from readiness_world import GOOD, NOW, decoded

from churn_assets.readiness import model
from churn_serving import atomic

NEEDING = (model.sound, model.age, model.pr_auc, model.recency, model.calibration)


@pytest.mark.parametrize("check", [model.production, *NEEDING])
def test_without_a_model_everything_about_it_fails(place, check):
    answer = place.ask(check)
    assert (answer.outcome, answer.fix) == ("fail", "churn seed")


@pytest.mark.parametrize("check", [model.production, *NEEDING, model.history])
def test_a_promoted_model_passes(place, check):
    place.serve()
    assert place.ask(check).outcome == "pass"


def test_a_foreign_alias_fails_and_one_changed_by_hand_warns(place):
    place.serve(1)
    other = place.register(2)
    alias = place.registry.alias.path
    atomic.write_bytes(alias, (alias.parent / f"{other}.joblib").read_bytes())
    answer = place.ask(model.production)
    assert answer.outcome == "warn"
    assert "by hand" in answer.found
    assert other in answer.fix
    atomic.write_bytes(alias, b"truncated")
    answer = place.ask(model.production)
    assert (answer.outcome, answer.fix) == ("fail", "churn models rollback")


def test_a_changed_file_of_the_version_fails(place):
    version = place.serve()
    scorer = place.layout.version_folder(version) / "scorer.npz"
    scorer.write_bytes(scorer.read_bytes()[:-1] + b"x")
    answer = place.ask(model.sound)
    assert answer.outcome == "fail"
    assert "scorer.npz" in answer.found


def test_a_baseline_is_wanted_beside_it(place):
    place.serve(1)
    assert place.ask(model.baseline).outcome == "warn"
    baseline = place.register(2, kind="linear")
    assert baseline in place.ask(model.baseline).found


@pytest.mark.parametrize(("days", "outcome"), [(1, "pass"), (14, "pass"), (15, "warn")])
def test_models_grow_old_unless_challengers_were_trained_since(place, days, outcome):
    place.serve(1, days_ago=days)
    assert place.ask(model.age).outcome == outcome
    place.register(2, days_ago=2)
    assert place.ask(model.age).outcome == "pass"


@pytest.mark.parametrize(
    ("metrics", "check", "outcome"),
    [
        (GOOD | {"pr_auc": 0.601}, model.pr_auc, "pass"),
        (GOOD | {"pr_auc": 0.60}, model.pr_auc, "warn"),
        (GOOD | {"pr_auc": 0.599}, model.pr_auc, "fail"),
        (GOOD | {"pr_auc": None}, model.pr_auc, "fail"),
        (GOOD | {"recency_pr_auc": 0.715}, model.recency, "fail"),
        (GOOD | {"recency_pr_auc": None}, model.recency, "warn"),
        (GOOD | {"ece": 0.2}, model.calibration, "fail"),
        ({"pr_auc": 0.7}, model.calibration, "warn"),
    ],
)
def test_figures_are_held_against_the_gates(place, metrics, check, outcome):
    place.serve(1, metrics=metrics)
    assert place.ask(check).outcome == outcome


@pytest.mark.parametrize(
    ("floors", "outcome"),
    [
        ({"min_pr_auc": None, "min_pr_auc_lift": 2.0}, "pass"),
        ({"min_pr_auc": None, "min_pr_auc_lift": 3.0}, "fail"),
        ({"min_pr_auc": 0.5, "min_pr_auc_lift": 3.0}, "fail"),
        ({"min_pr_auc": 0.6, "min_pr_auc_lift": 2.0}, "fail"),
        ({"min_pr_auc": None, "min_pr_auc_lift": None}, "warn"),
        ({"min_pr_auc": 0.1, "min_pr_auc_lift": None}, "warn"),
        ({"min_pr_auc": 0.6, "min_pr_auc_lift": None}, "fail"),
    ],
)
def test_the_floor_may_be_a_multiple_of_the_prevalence_but_not_low_without_one(place, floors, outcome):
    place.serve(1, metrics=GOOD | {"pr_auc": 0.55, "prevalence": 0.2})
    assert place.configure(training=floors).ask(model.pr_auc).outcome == outcome


def test_settings_that_let_recency_win_are_told(place):
    place.serve(1, metrics=GOOD | {"recency_pr_auc": 0.8})
    assert place.ask(model.recency).outcome == "fail"
    assert place.configure(training={"min_gain_over_recency": -1}).ask(model.recency).outcome == "warn"


def test_figures_of_another_version_say_nothing(place):
    place.serve(1)
    path = place.layout.metrics / "production_latest.json"
    atomic.write_json(path, decoded(path) | {"version": "candidate_hgb_1"})
    answer = place.ask(model.pr_auc)
    assert answer.outcome == "fail"
    assert "candidate_hgb_1" in answer.found
    path.unlink()
    assert "is not there" in place.ask(model.pr_auc).found


@pytest.mark.parametrize(
    ("status", "outcome"), [("OK", "pass"), ("WARN", "warn"), ("UNKNOWN", "warn"), ("FAIL", "fail")]
)
def test_what_came_true_counts(place, status, outcome):
    assert place.ask(model.live).outcome == "warn"
    place.performance(status=status)
    assert place.ask(model.live).outcome == outcome


def test_a_changed_history_fails(place):
    assert place.ask(model.history).outcome == "fail"
    place.serve(1)
    path = place.layout.promotion_history
    path.write_bytes(path.read_bytes().replace(b"it is better", b"it is bigger"))
    answer = place.ask(model.history)
    assert answer.outcome == "fail"
    assert "line 2" in answer.found


def test_one_version_is_no_choice(place):
    place.serve(1)
    assert place.ask(model.versions).outcome == "warn"
    second = place.register(2)
    assert place.ask(model.versions).outcome == "pass"
    (place.layout.version_folder(second) / "manifest.json").write_text("{")
    answer = place.ask(model.versions)
    assert answer.outcome == "fail"
    assert second in answer.found


def test_a_way_back_is_a_sound_version_that_served_before(place):
    first = place.serve(1)
    assert place.ask(model.way_back).outcome == "warn"
    place.now = NOW + timedelta(hours=1)
    place.serve(2)
    answer = place.ask(model.way_back)
    assert answer.outcome == "pass"
    assert first in answer.found
    (place.layout.models / f"{first}.joblib").unlink()
    assert place.ask(model.way_back).outcome == "fail"

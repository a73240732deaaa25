from __future__ import annotations

import dataclasses
import math

import pytest
from training_builders import evaluation

from churn_assets.settings import GateSettings
from churn_assets.training.bootstrap import UNDEFINED, Estimate
from churn_assets.training.gates import Contender, Verdict, choose, judge

SETTINGS = GateSettings(min_pr_auc=0.5, min_pr_auc_lift=1.5, min_gain_over_recency=0.1, max_ece=0.08)
GOOD = evaluation()
EVEN = Estimate(0.0, -0.01, 0.01)


def judged(challenger=GOOD, *, champion=EVEN, golden_max_error=1e-12, latency_us=20.0, settings=SETTINGS) -> Verdict:
    return judge(
        challenger, champion=champion, golden_max_error=golden_max_error, latency_us=latency_us, settings=settings
    )


def failing(verdict: Verdict) -> list[str]:
    assert verdict.passed == all(gate.passed for gate in verdict.gates)
    assert verdict.reasons == tuple(gate.why for gate in verdict.gates if not gate.passed)
    return [gate.name for gate in verdict.gates if not gate.passed]


def with_settings(**changes: float | None) -> GateSettings:
    return SETTINGS.model_copy(update=changes)


def test_a_good_model_passes_every_gate():
    verdict = judged()
    assert failing(verdict) == []
    assert [gate.name for gate in verdict.gates] == [
        "pr_auc",
        "pr_auc_lift",
        "beats_recency",
        "not_worse_than_champion",
        "ece",
        "golden_rows",
        "latency",
    ]


@pytest.mark.parametrize(
    ("changes", "gate"),
    [
        ({"settings": with_settings(min_pr_auc=0.95)}, "pr_auc"),
        ({"settings": with_settings(min_pr_auc_lift=50.0)}, "pr_auc_lift"),
        ({"settings": with_settings(min_gain_over_recency=0.9)}, "beats_recency"),
        ({"champion": Estimate(-0.021, -0.09, 0.05)}, "not_worse_than_champion"),
        ({"settings": with_settings(max_ece=0.001)}, "ece"),
        ({"golden_max_error": 1.1e-9}, "golden_rows"),
        ({"golden_max_error": math.nan}, "golden_rows"),
        ({"latency_us": 2500.0}, "latency"),
    ],
)
def test_each_gate_refuses_alone_and_says_why(changes, gate):
    verdict = judged(**changes)
    assert failing(verdict) == [gate]
    assert len(verdict.reasons) == 1


def test_at_the_limit_a_gate_passes():
    assert failing(judged(golden_max_error=1e-9, latency_us=2000.0, champion=Estimate(-0.01, -0.05, 0.01))) == []


def test_a_small_but_certain_loss_within_the_margin_is_allowed():
    assert failing(judged(champion=Estimate(-0.005, -0.006, -0.004))) == []


def test_without_a_champion_there_is_nothing_to_lose():
    assert failing(judged(champion=None)) == []


def test_what_could_not_be_measured_does_not_pass():
    blind = dataclasses.replace(GOOD, pr_auc=UNDEFINED, gain_over_recency=UNDEFINED, recency_pr_auc=UNDEFINED)
    assert failing(judged(blind, champion=UNDEFINED)) == [
        "pr_auc",
        "pr_auc_lift",
        "beats_recency",
        "not_worse_than_champion",
    ]


def test_a_source_that_cannot_tell_recency_is_no_fault_of_the_model():
    blind = dataclasses.replace(GOOD, gain_over_recency=UNDEFINED, recency_pr_auc=UNDEFINED)
    assert failing(judged(blind)) == []


def test_a_floor_can_be_a_lift_alone():
    names = [gate.name for gate in judged(settings=with_settings(min_pr_auc=None)).gates]
    assert "pr_auc" not in names
    assert "pr_auc_lift" in names


REFUSED = judged(latency_us=1e6)


def contender(version: str, pr_auc: float | None, verdict: Verdict | None = None) -> Contender:
    return Contender(version=version, pr_auc=pr_auc, verdict=verdict or judged())


@pytest.mark.parametrize(
    ("difference", "winner"),
    [
        (Estimate(0.03, 0.01, 0.05), "hgb"),
        (Estimate(0.03, -0.01, 0.07), "hgb"),
        (Estimate(0.03, -0.04, 0.10), "logreg"),
        (Estimate(-0.03, -0.05, -0.01), "logreg"),
        (Estimate(0.03), "hgb"),
        (UNDEFINED, "logreg"),
    ],
)
def test_the_better_one_wins_and_the_simpler_one_a_tie(difference, winner):
    assert choose(contender("logreg", 0.60), contender("hgb", 0.63), difference=difference).winner == winner


def test_only_who_passed_can_win():
    certain = Estimate(0.1, 0.08, 0.12)
    assert choose(contender("logreg", 0.5), contender("hgb", 0.6, REFUSED), difference=certain).winner == "logreg"
    nobody = choose(contender("logreg", 0.5, REFUSED), contender("hgb", 0.6, REFUSED), difference=certain)
    assert nobody.winner is None
    assert nobody.why == "No model passed all gates."

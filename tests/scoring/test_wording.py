import math

import pytest

from churn_assets.features.catalogue import feature_set
from churn_assets.ingest.source import EVENT_VALUES, USER_COLUMNS, Provided
from churn_assets.settings import Settings
from churn_serving.schema import FeatureSpec
from churn_serving.wording import reason, sentence

EVERYTHING = Provided(
    frozenset(Settings().events.vocabulary), frozenset(EVENT_VALUES), frozenset(USER_COLUMNS), engagements=True
)
SPECS = {spec.name: spec for spec in feature_set(Settings(), EVERYTHING).specs}


@pytest.mark.parametrize(
    ("name", "value", "typical", "said"),
    [
        ("active_days_7d", 1.0, 4.25, "active days in the last 7 days: 1 (typical 4.2)"),
        ("events_30d", 1240.0, 310.4, "actions in the last 30 days: 1,240 (typical 310)"),
        ("longest_gap_30d", 12.0, 4.0, "longest pause in the last 30 days: 12 days (typical 4)"),
        ("longest_gap_30d", 1.0, None, "longest pause in the last 30 days: 1 day"),
        ("quiz_avg_score_30d", 61.7, 74.06, "average quiz score in the last 30 days: 62 points (typical 74)"),
        ("quiz_avg_score_30d", None, 74.0, "average quiz score in the last 30 days: no scored attempt in the window"),
        (
            "quiz_avg_score_trend_7d_30d",
            5.25,
            -1.0,
            "change of the quiz score, last 7 days against 30: +5.2 points (typical -1)",
        ),
        (
            "payment_fail_rate_30d",
            0.5,
            0.0,
            "share of failed payments in the last 30 days: 50 % (typical 0 %)",
        ),
        ("payment_fail_rate_30d", None, 0.0, "share of failed payments in the last 30 days: no payment"),
        ("active_days_trend_7d_30d", 0.456, 0.98, "active days, last 7 days against 30: 46 % (typical 98 %)"),
        ("is_paid", 0.0, 1.0, "paying customer: no"),
        ("is_paid", 1.0, 1.0, "paying customer: yes"),
        ("plan", "free", "pro", "plan: free"),
        ("country", None, "NO", "country: not known"),
        ("days_since_last_activity", 20.0, 1.0, "days since the last activity: 20 (typical 1)"),
    ],
)
def test_reads_as_a_person_would_say_it(name, value, typical, said):
    assert sentence(SPECS[name], value, "raises", typical).startswith(said)
    assert sentence(SPECS[name], value, "lowers", typical).endswith(", lowers the risk")


def test_category_that_training_never_saw_is_called_new():
    spec = FeatureSpec(name="plan", kind="category", meaning="", phrase="plan", categories=("free", "pro"))
    assert sentence(spec, "gold", "raises") == "plan: gold (new to the model), raises the risk"
    assert sentence(spec, "pro", "raises") == "plan: pro, raises the risk"


def test_feature_without_phrase_is_said_by_its_name():
    spec = FeatureSpec(name="open_invoices", kind="number", meaning="")
    assert sentence(spec, 0.25, "raises") == "open invoices: 0.25, raises the risk"
    assert sentence(spec, None, "raises") == "open invoices: not known, raises the risk"


@pytest.mark.parametrize(("contribution", "direction"), [(0.3, "raises"), (-0.3, "lowers")])
def test_reason_has_the_sign_of_its_contribution(contribution, direction):
    found = reason(SPECS["active_days_7d"], 2.0, contribution, 4.0)
    assert (found.feature, found.value, found.direction) == ("active_days_7d", 2.0, direction)
    assert found.contribution == contribution
    assert found.text == f"active days in the last 7 days: 2 (typical 4), {direction} the risk"


def test_every_feature_of_the_catalogue_has_words_for_every_value():
    for spec in SPECS.values():
        values = ["x", None] if spec.kind == "category" else [0.0, 1.0, 0.333, None]
        for value in values:
            said = sentence(spec, value, "raises", None if isinstance(value, str) else 2.0)
            assert spec.phrase in said
            assert "nan" not in said
            assert "None" not in said


def test_infinity_does_not_disturb():
    spec = FeatureSpec(name="delta", kind="number", meaning="")
    assert sentence(spec, 3.0, "raises") == "delta: 3, raises the risk"
    assert sentence(spec, math.inf, "raises") == "delta: inf, raises the risk"

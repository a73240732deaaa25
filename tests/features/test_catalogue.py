"""The one list of features: names that others depend on, and words for each of them."""

import pytest

from churn_assets.features.catalogue import feature_set
from churn_assets.ingest.generated import GeneratedSource
from churn_assets.ingest.source import EVENT_VALUES, Provided
from churn_assets.settings import Settings
from churn_assets.source_settings import SyntheticSettings

PROVIDED = GeneratedSource(SyntheticSettings(), None).provided
COUNTS = ("logins", "quiz_attempts", "enrolls", "support_tickets", "payment_success", "payment_failed")


def built(provided=PROVIDED, **sections):
    return feature_set(Settings.model_validate(sections), provided)


def test_the_names_of_the_reference_system_are_kept():
    summed = {f"{name}_{days}d" for name in ("active_days", "events", "watch_minutes", *COUNTS) for days in (7, 14, 30)}
    averages = {f"quiz_avg_score_{days}d" for days in (7, 14, 30)}
    single = {"payment_fail_rate_30d", "days_since_last_activity", "days_since_signup"}
    traits = {"plan", "is_paid", "country", "marketing_source"}
    assert summed | averages | single | traits <= set(built().names)


def test_every_feature_is_described():
    specs = built(Provided(PROVIDED.event_types, PROVIDED.values, PROVIDED.user_columns, engagements=True)).specs
    assert len({spec.name for spec in specs}) == len(specs)
    for spec in specs:
        assert spec.meaning.endswith(".")
        assert spec.phrase
        assert spec.kind == "category" or spec.unit or spec.kind == "flag"
        assert spec.lower < spec.upper


def test_a_generated_platform_lacks_only_engagements():
    assert built().absent == ("engagements_running", "days_since_engagement_start", "days_to_engagement_end")


@pytest.mark.parametrize(
    ("missing", "absent"),
    [
        ({"values": frozenset(EVENT_VALUES) - {"watch_minutes"}}, "watch_minutes_trend_7d_30d"),
        ({"values": frozenset(EVENT_VALUES) - {"quiz_score"}}, "quiz_avg_score_trend_7d_30d"),
        ({"event_types": PROVIDED.event_types - {"payment_failed"}}, "payment_fail_rate_30d"),
        ({"event_types": PROVIDED.event_types - {"enroll"}}, "enrolls_14d"),
        ({"user_columns": frozenset({"plan"})}, "is_paid"),
    ],
)
def test_what_the_source_lacks_is_absent(missing, absent):
    whole = {name: getattr(PROVIDED, name) for name in ("event_types", "values", "user_columns", "engagements")}
    features = built(Provided(**(whole | missing)))
    assert absent in features.absent
    assert absent not in features.names


def test_a_single_window_has_no_trend():
    assert not [name for name in built(features={"windows_days": [14]}).names if "_trend_" in name]


def test_configured_events_and_attributes_are_features():
    features = built(
        Provided(
            PROVIDED.event_types | {"forum"}, PROVIDED.values, PROVIDED.user_columns | {"region"}, engagements=False
        ),
        events={"types": {"forum": {"counts": "forum_posts", "phrase": "forum posts"}}},
        users={"attributes": {"region": "Where they live."}},
    )
    specs = {spec.name: spec for spec in features.specs}
    assert specs["forum_posts_7d"].phrase == "forum posts in the last 7 days"
    assert (specs["region"].kind, specs["region"].meaning) == ("category", "Where they live.")


def test_the_longest_look_back_covers_every_window():
    assert built().longest == 30
    assert built(population={"active_within_days": 45}).longest == 45
    assert built(features={"windows_days": [7, 60]}).longest == 60

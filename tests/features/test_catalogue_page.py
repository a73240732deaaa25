"""The documents say what the code does: the committed pages are those that the definitions give."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from churn_assets.features.catalogue import feature_set
from churn_assets.features.catalogue_page import catalogue_page, complete_features, rules_page
from churn_assets.ingest.source import EVENT_VALUES, Provided
from churn_assets.settings import Settings

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")


def settings(**changes):
    return Settings.model_validate(changes)


def page_of(**changes):
    return catalogue_page(complete_features(settings(**changes)))


def names_in(page):
    return re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)


def code_blocks(page):
    return re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def test_the_committed_catalogue_is_the_generated_one():
    committed = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert committed == page_of(), "run: python -m churn_assets.features.catalogue_page > docs/features.md"


def test_the_committed_rules_are_the_generated_ones():
    printed = rules_page(settings())
    assert printed in REFERENCE, "run: python -m churn_assets.features.catalogue_page rules"


def test_every_feature_stands_on_the_page_once():
    features = complete_features(settings())
    assert sorted(names_in(catalogue_page(features))) == sorted(features.names)


def test_with_everything_provided_nothing_is_absent():
    assert complete_features(settings()).absent == ()


def test_windows_types_and_attributes_of_the_settings_are_on_the_page():
    page = page_of(
        features={"windows_days": [5, 20]},
        events={"types": {"forum": {"counts": "forum_visits", "phrase": "forum visits"}}},
        users={"attributes": {"gender": "Gender, as the user gave it."}},
    )
    names = names_in(page)
    assert {"forum_visits_5d", "forum_visits_20d", "forum_visits_trend_5d_20d", "gender"} <= set(names)
    assert not [name for name in names if name.endswith("_7d")]
    assert "| `gender` | Gender, as the user gave it. | category | any text | not known |" in page


def test_a_group_without_features_is_left_out():
    users_only = Provided(frozenset({"login"}), frozenset(), frozenset({"plan"}), engagements=False)
    here = settings(features={"windows_days": [14]})
    page = catalogue_page(feature_set(here, users_only))
    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE) == ["Activity in windows", "Time", "The user"]


@pytest.mark.parametrize(
    ("name", "possible"),
    [("active_days_7d", "0 to 7"), ("events_7d", "0 or more"), ("quiz_avg_score_trend_7d_30d", "−100 to 100"),
     ("is_paid", "0 or 1"), ("plan", "any text"), ("logins_trend_7d_30d", "0 to 4.286")],
)  # fmt: skip
def test_possible_values_read_as_people_write_them(name, possible):
    row = next(line for line in page_of().splitlines() if line.startswith(f"| `{name}` |"))
    assert row.split(" | ")[3] == possible


def test_the_rules_speak_of_the_limits_in_force():
    page = rules_page(settings(validation={"max_watch_minutes": 90, "signup_tolerance_days": 400}))
    assert "from 0 to 90" in page
    assert "tolerance in days: 400" in page


def test_the_module_prints_both_pages():
    command = [sys.executable, "-m", "churn_assets.features.catalogue_page"]
    for arguments, expected in (([], page_of()), (["rules"], rules_page(settings()))):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, encoding="utf-8", check=True)
        assert done.stdout == expected


@pytest.mark.parametrize("document", ["README.md", "docs/own-data.md"])
def test_configurations_in_the_documents_are_accepted(document):
    blocks = code_blocks((ROOT / document).read_text(encoding="utf-8"))
    whole = [content for block in blocks if "source" in (content := yaml.safe_load(block))]
    assert whole
    for content in whole:
        assert Settings.model_validate(content).source.kind == "files"


@pytest.mark.parametrize("column", EVENT_VALUES)
def test_every_column_of_events_is_explained(column):
    assert f"`{column}`" in REFERENCE


def test_links_between_the_documents_lead_somewhere():
    for document in ("README.md", "docs/own-data.md", "docs/features.md", "examples/oulad/README.md"):
        path = ROOT / document
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert target.startswith("http") or (path.parent / target).exists(), f"{document}: {target}"

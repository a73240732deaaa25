"""The dashboard: made by code, and shaped so that Grafana can draw it."""

import itertools
import json
import runpy

import pytest
from towers import MONITORING, read_yaml

GRAFANA = MONITORING / "grafana"
WIDTH = 24


@pytest.fixture(scope="module")
def dashboard():
    return json.loads((GRAFANA / "dashboards" / "churn.json").read_text(encoding="utf-8"))


def test_it_is_what_the_code_makes(dashboard):
    made = runpy.run_path(str(GRAFANA / "dashboard.py"))["dashboard"]()
    assert dashboard == json.loads(json.dumps(made)), "run `python deployment/monitoring/grafana/dashboard.py`"


def test_every_panel_has_a_number_of_its_own(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_panels_lie_within_the_grid_and_beside_each_other(dashboard):
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(0 <= place["x"] < place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_it_shows_what_an_operator_asks_for(dashboard):
    kinds = {panel["title"]: panel["type"] for panel in dashboard["panels"]}
    assert kinds["Model in service"] == "state-timeline"
    assert kinds["Scores"] == "heatmap"
    assert kinds["Drift by feature"] == "status-history"
    assert {
        "Requests by route",
        "Latency",
        "Errors by route",
        "Live performance",
        "Features' age",
        "Storage left",
    } <= set(kinds)


def test_its_source_is_the_one_that_is_provisioned(dashboard):
    [source] = read_yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    [variable] = dashboard["templating"]["list"]
    assert (variable["query"], variable["current"]["value"]) == (source["type"], source["uid"])
    asked = [target["datasource"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert asked
    assert all(one == {"type": source["type"], "uid": f"${{{variable['name']}}}"} for one in asked)


def test_the_folder_of_dashboards_is_provisioned():
    [provider] = read_yaml(GRAFANA / "provisioning" / "dashboards" / "churn.yml")["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"

"""The real Prometheus over the real service: everything that rules and dashboard ask for is answered."""

import json
import math
import re

import pytest
from towers import MONITORING, read_yaml, rules

from churn_assets.monitoring.performance.report import Expected, PerformanceReport

DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "churn.json").read_text(encoding="utf-8"))
PANELS = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
METRIC = re.compile(r"\b(?:\w+:)?churn_\w+(?::\w+)?|\bup\b")


def metrics_in(expr):
    """The names of the series that an expression is about; names of labels' values and of jobs are none."""
    return set(METRIC.findall(re.sub(r'"[^"]*"', "", expr)))


def asked_by_alerts():
    return sorted(set().union(*(metrics_in(rule["expr"]) for rule in rules("alert"))))


def numbers(found):
    return [value for _, value in found if math.isfinite(value)]


def test_prometheus_reaches_the_service_and_itself(watched):
    up = {labels["job"]: value for labels, value in watched.query("up")}
    assert up == {"churn-api": 1, "prometheus": 1, "alertmanager": 0}


def test_every_rule_is_evaluated_without_a_fault(watched):
    health = watched.health()
    assert [name for name, _, _ in health] != []
    assert [rule for rule in health if rule[1] != "ok" or rule[2]] == []
    assert {name for name, _, _ in health} == {rule.get("alert") or rule["record"] for rule in rules("expr")}


@pytest.mark.parametrize("name", [rule["record"] for rule in rules("record")])
def test_every_recorded_series_has_data(watched, name):
    assert numbers(watched.query(name))


@pytest.mark.parametrize("metric", asked_by_alerts())
def test_everything_that_alerts_ask_for_has_data(watched, metric):
    assert numbers(watched.query(metric))


@pytest.mark.parametrize("expr", [pytest.param(rule["expr"], id=rule["alert"]) for rule in rules("alert")])
def test_every_alerts_expression_is_answered(watched, expr):
    watched.query(expr)


@pytest.mark.parametrize("expr", PANELS)
def test_every_picture_of_the_dashboard_has_data(watched, expr):
    assert numbers(watched.query(expr))


def test_of_a_well_service_only_the_watchdog_is_told(watched):
    assert [labels["alertname"] for labels, _ in watched.query('ALERTS{alertstate="firing"}')] == ["ChurnWatchdog"]


def test_the_pipeline_writes_what_the_service_reads():
    assert {"status", "pr_auc", "expected"} <= set(PerformanceReport.__struct_fields__)
    assert "pr_auc" in Expected.__struct_fields__


def test_the_rules_count_on_the_names_of_compose_and_of_the_cluster():
    jobs = {job["job_name"]: job for job in read_yaml(MONITORING / "prometheus" / "prometheus.yml")["scrape_configs"]}
    [found] = jobs["churn-api"]["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["churn-api"], 8000)

"""The rules: whether they can be loaded, whether each alert is tested both ways, and whether it says what to do."""

import re

import pytest
from towers import MONITORING, ROOT, changed_rules, program, ran, read_yaml, rules

ALERTS = {rule["alert"]: rule for rule in rules("alert")}
CASES = sorted((MONITORING / "prometheus" / "tests").glob("*.yml"))
ALWAYS = "ChurnWatchdog"
"""The one alert that is never silent."""


def tried():
    """Every case: the alert, and whether it fires."""
    for path in CASES:
        for test in read_yaml(path)["tests"]:
            for case in test.get("alert_rule_test", []):
                yield case["alertname"], bool(case.get("exp_alerts"))


def anchors():
    """The headings of the runbook as links name them."""
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / "deployment" / "RUNBOOK.md").read_text("utf-8"))
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def failed_alerts(said):
    return set(re.findall(r"alertname: ?(\w+)", said))


def test_prometheus_takes_configuration_and_rules():
    code, said = ran(
        program("promtool"), "check", "config", "--lint=all", str(MONITORING / "prometheus/prometheus.yml")
    )
    assert code == 0, said
    assert f"{len(ALERTS)} rules found" in said
    assert f"{len(rules('record'))} rules found" in said


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_are_silent_when_they_should_not(path):
    code, said = ran(program("promtool"), "test", "rules", str(path))
    assert code == 0, said


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tested_both_ways(alert):
    assert {fires for name, fires in tried() if name == alert} == ({True} if alert == ALWAYS else {True, False})


def test_no_test_is_of_an_alert_that_is_gone():
    assert {name for name, _ in tried()} == set(ALERTS)


def test_the_tests_notice_an_alert_that_never_fires(tmp_path):
    with changed_rules(tmp_path, lambda rule: rule.update(expr="vector(0) > 1")) as cases:
        code, said = ran(program("promtool"), "test", "rules", *map(str, cases))
    assert code != 0
    assert failed_alerts(said) == set(ALERTS)


def test_the_tests_notice_an_alert_that_does_not_wait(tmp_path):
    with changed_rules(tmp_path, lambda rule: rule.pop("for", None)) as cases:
        code, said = ran(program("promtool"), "test", "rules", *map(str, cases))
    assert code != 0
    assert failed_alerts(said) == {name for name, rule in ALERTS.items() if "for" in rule}


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_is_wrong_and_where_the_remedy_is(alert):
    told = ALERTS[alert]["annotations"]
    assert ALERTS[alert]["labels"]["severity"] in {"critical", "warning", "none"}
    assert told["summary"]
    assert alert == ALWAYS or "$value" in told["description"]
    page, _, anchor = told["runbook_url"].partition("#")
    assert page == "deployment/RUNBOOK.md"
    assert anchor in anchors()


def test_the_contracts_metrics_are_all_watched():
    """Those of the service's state: each is in some rule."""
    asked = " ".join(rule["expr"] for rule in [*rules("alert"), *rules("record")])
    for metric in (
        "churn_api_requests_total",
        "churn_api_request_latency_seconds_bucket",
        "churn_api_predictions_total",
        "churn_model_info",
        "churn_model_reload_refused",
        "churn_drift_status",
        "churn_live_pr_auc",
        "churn_features_age_seconds",
        "churn_storage_free_bytes",
    ):
        assert metric in asked

"""Monitoring: who watches, and who is told."""

from datetime import date, timedelta

import pytest
from readiness_world import NOW

from churn_assets.readiness import monitoring

PROMETHEUS = "deployment/monitoring/prometheus"
DASHBOARD = "deployment/monitoring/grafana/churn.json"
URLS = ["json://127.0.0.1:9/secret", "slack://tokenA/tokenB/tokenC"]


def test_a_prometheus_that_scrapes_others_only_fails(checked_out):
    checked_out.source.edit(f"{PROMETHEUS}/prometheus.yml", "churn-api", "postgres")
    assert checked_out.ask(monitoring.scraping).outcome == "fail"
    text = "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: churn-api}\nspec: {}\n"
    checked_out.source.write("deployment/k8s/base/monitor.yaml", text)
    assert "churn-api" in checked_out.ask(monitoring.scraping).found


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("churn_api_requests_total", "up", "no dashboard"),
        ('"panels"', '"rows"', "no dashboard"),
        ("{", "[", "churn.json"),
    ],
)
def test_a_dashboard_must_show_our_metrics(checked_out, old, new, complaint):
    checked_out.source.edit(DASHBOARD, old, new)
    answer = checked_out.ask(monitoring.dashboard)
    assert answer.outcome == "fail"
    assert complaint in answer.found


def test_rules_that_only_record_alert_nobody(checked_out):
    assert checked_out.ask(monitoring.rules).found == "1 alerts are defined"
    checked_out.source.edit(f"{PROMETHEUS}/alerts.yml", "expr: 'up", "exp: 'up")
    assert "ChurnApiDown" in checked_out.ask(monitoring.rules).found
    checked_out.source.edit(f"{PROMETHEUS}/alerts.yml", "alert: ", "note: ")
    assert checked_out.ask(monitoring.rules).outcome == "fail"


def test_the_rules_of_the_operator_count(checked_out):
    checked_out.source.remove(f"{PROMETHEUS}/alerts.yml")
    rules = "kind: PrometheusRule\nmetadata: {name: churn}\nspec: {groups: [{rules: [{alert: A, expr: up}]}]}\n"
    checked_out.source.write("deployment/k8s/base/rules.yaml", rules)
    assert checked_out.ask(monitoring.rules).outcome == "pass"


def test_without_a_channel_nobody_is_told(place):
    assert place.ask(monitoring.channels).outcome == "fail"
    assert place.ask(monitoring.tested).outcome == "fail"


def test_channels_are_named_without_their_secrets(place):
    answer = place.configure(notify={"urls": URLS}).ask(monitoring.channels)
    assert answer.outcome == "pass"
    assert "channel 2 (slack)" in answer.found
    assert "secret" not in answer.found
    assert "token" not in answer.found


def test_every_channel_must_have_been_tested_lately(place):
    place.configure(notify={"urls": URLS})
    assert "2 of 2 never tested" in place.ask(monitoring.tested).found
    place.tested(urls=URLS[:1])
    answer = place.ask(monitoring.tested)
    assert (answer.outcome, answer.fix) == ("warn", "churn notify-test")
    assert "1 of 2 never tested: channel 2 (slack)" in answer.found
    place.tested(NOW.date() - timedelta(days=90))
    assert place.ask(monitoring.tested).outcome == "pass"
    place.tested(NOW.date() - timedelta(days=91))
    assert "91 days ago" in place.ask(monitoring.tested).found


def test_a_memory_that_cannot_be_read_knows_of_no_test(place):
    place.configure(notify={"urls": URLS, "repeat_days": 1})
    place.tested(date(2026, 1, 20))
    place.layout.told.write_text("[")
    assert place.ask(monitoring.tested).outcome == "warn"

"""Monitoring: whether somebody watches, and is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from churn_assets.notify.channel import channels_of
from churn_assets.notify.memory import Memory
from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns
from churn_assets.readiness.premises import not_here

if TYPE_CHECKING:
    from churn_assets.readiness.manifests import Deployment
    from churn_assets.readiness.premises import Premises

SCRAPING = "Prometheus scraping API"
DASHBOARD = "Grafana dashboard configured"
ALERTS = "Alerts defined and tested"

TEST = "test"
"""The kind under which a channel that worked is remembered."""

TEST_DAYS = 90
"""A test older than this proves little: addresses and tokens end."""

FOLDER = "deployment/monitoring"


def scraping(premises: Premises) -> Answer:
    """Whether Prometheus is told where the service is."""
    if premises.deployment is None:
        return not_here(premises)
    jobs = list(_scrape_jobs(premises.deployment))
    if not jobs:
        return fails(f"no `scrape_configs` below {FOLDER} name churn", f"git checkout -- {FOLDER}/prometheus")
    return passes(f"{len(jobs)} jobs scrape it: {', '.join(jobs)}")


def dashboard(premises: Premises) -> Answer:
    """Whether there is a dashboard that shows the service's metrics."""
    if premises.deployment is None:
        return not_here(premises)
    fix = f"git checkout -- {FOLDER}/grafana"
    folder = premises.deployment.root / "monitoring" / "grafana"
    panels, broken = {}, []
    for path in sorted(folder.rglob("*.json")):
        try:
            text = path.read_text(encoding="utf-8")
            number = len(json.loads(text).get("panels") or [])
        except (ValueError, AttributeError):
            broken.append(path.name)
            continue
        if number and "churn_" in text:
            panels[path.name] = number
    if broken:
        return fails(f"{', '.join(broken)} is no dashboard", fix)
    if not panels:
        return fails(f"no dashboard below {FOLDER}/grafana shows a metric churn_…", fix)
    return passes(", ".join(f"{name} with {number} panels" for name, number in panels.items()))


def rules(premises: Premises) -> Answer:
    """Whether Prometheus has rules that alert."""
    if premises.deployment is None:
        return not_here(premises)
    alerts = list(_alerts(premises.deployment))
    empty = [one.get("alert") for one in alerts if not one.get("expr")]
    if empty:
        return fails(f"rules without `expr`: {', '.join(map(str, empty))}", f"edit them below {FOLDER}/prometheus")
    if not alerts:
        return fails(f"no rule below {FOLDER} has an `alert`", f"git checkout -- {FOLDER}/prometheus")
    return passes(f"{len(alerts)} alerts are defined")


def channels(premises: Premises) -> Answer:
    """Whether anybody is told of failed runs and alerts."""
    found = channels_of(premises.settings.notify.urls)
    if not found:
        return fails("`notify.urls` is empty: nobody is told anything", "set CHURN_NOTIFY__URLS='[\"mailtos://…\"]'")
    return passes(", ".join(channel.name for channel in found))


def tested(premises: Premises) -> Answer:
    """Whether a test message has come through each channel lately."""
    found, told = channels_of(premises.settings.notify.urls), Memory(premises.layout.told).read()
    if not found:
        return fails("there is no channel to test", "set `notify.urls`, then churn notify-test")
    days = {one.name: told.get((TEST, one.name)) for one in found}
    never = [name for name, day in days.items() if day is None]
    if never:
        return warns(f"{len(never)} of {len(found)} never tested: {', '.join(never)}", "churn notify-test")
    oldest = min(day for day in days.values() if day is not None)
    age = (premises.settings.today - oldest).days
    worked = f"a test came through each of {len(found)} channels, the oldest on {oldest}"
    return warns(f"{worked}, {age} days ago", "churn notify-test") if age > TEST_DAYS else passes(worked)


def _scrape_jobs(deployment: Deployment) -> Iterator[str]:
    """Names of what scrapes the service: jobs of Prometheus, and the operator's monitors."""
    for document in deployment.documents:
        content = document.content if isinstance(document.content, dict) else {}
        if document.kind in {"ServiceMonitor", "PodMonitor"} and "churn" in json.dumps(content, default=str):
            yield document.name
        for job in content.get("scrape_configs") or []:
            if "churn" in json.dumps(job, default=str):
                yield str(job.get("job_name"))


def _alerts(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Alerting rules, in Prometheus's own files and in the operator's resources."""
    for document in deployment.documents:
        content = document.content if isinstance(document.content, dict) else {}
        holder = content.get("spec") if document.kind == "PrometheusRule" else content
        for group in (holder or {}).get("groups") or []:
            yield from (rule for rule in group.get("rules") or [] if isinstance(rule, dict) and "alert" in rule)


SECTION = Section(
    "monitoring",
    "Monitoring",
    (
        Check(SCRAPING, "jobs", scraping),
        Check(DASHBOARD, "panels", dashboard),
        Check(ALERTS, "rules", rules),
        Check(ALERTS, "channels", channels),
        Check(ALERTS, "tested", tested),
    ),
)

"""The dashboard as code: `python deployment/monitoring/grafana/dashboard.py` writes `dashboards/churn.json`.

What is drawn is said here once; Grafana's own form, most of which is the same for every panel, is made from it.
"""  # noqa: INP001 - a script beside what it makes

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from churn_serving.atomic import write_json

WIDTH = 24
"""Columns of Grafana's grid."""

TARGET = Path(__file__).parent / "dashboards" / "churn.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
GREEN, YELLOW, RED = "green", "yellow", "red"

DRIFT_WORDS = {"0": ("OK", GREEN), "1": ("WARN", YELLOW), "2": ("FAIL", RED)}
"""As `churn_drift_status` and `churn_performance_status` count."""

RUN_WORDS = {"0": ("succeeded", GREEN), "1": ("failed", RED)}


@dataclass(frozen=True)
class Query:
    """A question to Prometheus.

    Attributes:
        expr: In PromQL.
        legend: The name of each series; labels in double braces.
    """

    expr: str
    legend: str = "{{job}}"


@dataclass(frozen=True)
class Panel:
    """A picture.

    Attributes:
        title: Above it.
        kind: Grafana's type of panel.
        queries: What is drawn.
        unit: Grafana's name of the unit.
        width: In columns.
        height: In rows.
        steps: Limits and the colour from each on; the first has no limit.
        words: What a value is called, and its colour.
        about: What a reader should know.
    """

    title: str
    kind: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    words: dict[str, tuple[str, str]] = field(default_factory=dict)
    about: str = ""

    def as_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return it as Grafana has it, at a place in the grid."""
        return {
            "id": number,
            "title": self.title,
            "description": self.about,
            "type": self.kind,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(query, place) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": OPTIONS[self.kind],
        }

    def _target(self, query: Query, place: int) -> dict[str, Any]:
        form = "heatmap" if self.kind == "heatmap" else "time_series"
        return {
            "refId": chr(ord("A") + place),
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            "format": form,
            "range": True,
        }

    def _defaults(self) -> dict[str, Any]:
        values = {word: {"text": text, "color": color} for word, (text, color) in self.words.items()}
        return {
            "unit": self.unit,
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": color} for at, color in self.steps]},
            "mappings": [{"type": "value", "options": values}] if values else [],
            "custom": CUSTOM.get(self.kind, {}),
        }


OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "none"},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "state-timeline": {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "legend": {"displayMode": "hidden"},
    },
    "status-history": {"showValue": "auto", "rowHeight": 0.9, "legend": {"showLegend": False}},
    "heatmap": {"calculate": False, "yAxis": {"unit": "short"}, "color": {"scheme": "Oranges", "steps": 64}},
}
CUSTOM: dict[str, dict[str, Any]] = {
    "timeseries": {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": False},
    "state-timeline": {"fillOpacity": 80, "lineWidth": 0},
    "status-history": {"fillOpacity": 80, "lineWidth": 1},
}


def stat(title: str, expr: str, unit: str = "short", **more: Any) -> Panel:
    """Return a panel that shows one number, an eighth of the width."""
    return Panel(title, "stat", (Query(expr, title),), unit, width=3, height=4, **more)


def lines(title: str, *queries: Query, unit: str = "short", **more: Any) -> Panel:
    """Return a panel of curves."""
    return Panel(title, "timeseries", queries, unit, **more)


def quantiles(level: str, *names: str, legend: str) -> tuple[Query, ...]:
    """Return recorded quantiles of the latency."""
    return tuple(
        Query(f"{level}:churn_api_request_latency_seconds:{name}_5m", legend.format(name=name)) for name in names
    )


NOW = (
    stat(
        "Servers ready",
        "count(count by (instance) (churn_model_info)) or vector(0)",
        steps=((None, RED), (1, GREEN)),
    ),
    stat(
        "Alerts",
        'count(ALERTS{alertstate="firing", severity!="none"}) or vector(0)',
        steps=((None, GREEN), (1, RED)),
    ),
    stat("Requests", "sum(job:churn_api_requests:rate5m)", "reqps"),
    stat(
        "Errors", "max(job:churn_api_errors:share5m)", "percentunit", steps=((None, GREEN), (0.01, YELLOW), (0.05, RED))
    ),
    stat(
        "p95",
        "max(job:churn_api_request_latency_seconds:p95_5m)",
        "s",
        steps=((None, GREEN), (0.25, YELLOW), (0.5, RED)),
    ),
    stat("Drift", "max(churn_drift_status)", words=DRIFT_WORDS),
    stat(
        "Model's age",
        "time() - min(churn_model_created_timestamp_seconds)",
        "s",
        steps=((None, GREEN), (14 * 86400, YELLOW), (35 * 86400, RED)),
    ),
    stat(
        "Features' age",
        "max(churn_features_age_seconds)",
        "s",
        steps=((None, GREEN), (30 * 3600, YELLOW), (48 * 3600, RED)),
    ),
)

REQUESTS = (
    lines("Requests by route", Query("path:churn_api_requests:rate5m", "{{path}}"), unit="reqps"),
    lines(
        "Answers by status",
        Query("sum by (status) (rate(churn_api_requests_total[5m]))", "{{status}}"),
        unit="reqps",
    ),
    lines("Latency", *quantiles("job", "p50", "p95", "p99", legend="{name}"), unit="s"),
    lines("Latency by route, p95", *quantiles("path", "p95", legend="{{{{path}}}}"), unit="s"),
    lines("Errors by route", Query("path:churn_api_errors:share5m", "{{path}}"), unit="percentunit"),
    lines("Scored rows", Query("job:churn_api_predictions:rate5m", "rows"), unit="rowsps"),
)

MODEL = (
    Panel(
        "Model in service",
        "state-timeline",
        (Query("count by (version) (churn_model_info)", "{{version}}"),),
        about="Which versions serve, a row each, from when to when. Two at a time: a change, or a worker that lags.",
    ),
    lines(
        "Refused models",
        Query("sum(churn_model_reload_refused)", "workers that refuse now"),
        Query("sum(increase(churn_model_reload_failures_total[1h]))", "refusals in an hour"),
    ),
    Panel(
        "Scores",
        "heatmap",
        (Query("sum by (le) (increase(churn_prediction_risk_bucket[5m]))", "{{le}}"),),
        about="How many rows were given which risk, in five minutes.",
    ),
    lines(
        "Mean score",
        Query(
            "sum(rate(churn_prediction_risk_sum[5m])) / sum(rate(churn_prediction_risk_count[5m]))",
            "mean of five minutes",
        ),
        unit="percentunit",
    ),
)

TRUST = (
    Panel(
        "Drift by feature",
        "status-history",
        (Query("max by (feature) (churn_drift_psi)", "{{feature}}"),),
        height=12,
        steps=((None, GREEN), (0.10, YELLOW), (0.25, RED)),
        about="Population stability index of each feature, a row each. A feature that moves only warns: see the score.",
    ),
    lines(
        "Drift of the score",
        Query('max(churn_drift_psi{feature="churn_risk"})', "PSI of the score"),
        Query("max(churn_drift_status)", "verdict: 1 warns, 2 alerts"),
        height=6,
    ),
    lines(
        "Live performance",
        Query("min(churn_live_pr_auc)", "PR-AUC that came true"),
        Query("min(churn_live_pr_auc_expected)", "PR-AUC that the scores promised"),
        height=6,
        about="Of the newest days whose labels have matured, a label window ago.",
    ),
)

DAILY = (
    lines(
        "Age of what is served",
        Query("max(churn_features_age_seconds)", "features"),
        Query("max(churn_predictions_age_seconds)", "daily list"),
        Query("time() - max(churn_drift_report_timestamp_seconds)", "drift report"),
        Query("time() - max(churn_daemon_seen_timestamp_seconds)", "daemon's last look"),
        unit="s",
    ),
    Panel(
        "Last run of each job",
        "state-timeline",
        (Query("max by (dagster_job) (churn_last_run_failed)", "{{dagster_job}}"),),
        words=RUN_WORDS,
    ),
    lines("Storage left", Query("min by (storage) (churn_storage_free_bytes)", "{{storage}}"), unit="bytes"),
    lines("Users in the snapshot", Query("min(churn_features_users)", "users")),
)

ROWS = (("Now", NOW), ("Requests", REQUESTS), ("Model", MODEL), ("Can it be trusted?", TRUST), ("Daily runs", DAILY))


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    return {
        "uid": "churn",
        "title": "Churn",
        "tags": ["churn"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "graphTooltip": 1,
        "templating": {"list": [_source_variable()]},
        "panels": _placed(),
    }


def _source_variable() -> dict[str, Any]:
    chosen = {"text": "Prometheus", "value": "prometheus"}
    return {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus", "current": chosen}


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    """A heading over the panels that follow it."""
    place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}


def _placed() -> list[dict[str, Any]]:
    """Every row with its panels below it, from left to right; a panel that does not fit begins a new line."""
    placed: list[dict[str, Any]] = []
    numbers, y = count(1), 0
    for title, panels in ROWS:
        placed.append(_row(title, next(numbers), y))
        x, y, tallest = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            placed.append(panel.as_json(next(numbers), x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return placed


if __name__ == "__main__":
    write_json(TARGET, dashboard())

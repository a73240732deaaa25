"""Gauges that are read when Prometheus asks: what serves, how old the features are, what the daily runs found."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from churn_serving.published import Published
    from churn_serving.registry import Registry
    from churn_serving.serving import Current
    from churn_serving.worker_states import WorkerStates

STATUS = {"OK": 0, "WARN": 1, "FAIL": 2}


class StateMetrics(Collector):
    """The state of this server, and of what it serves from.

    Args:
        current: What answers in this process.
        workers: What each worker serves.
        registry: Gives the models' types.
        published: What the daily runs left.
        now: The time, UTC.
    """

    def __init__(
        self,
        current: Current,
        workers: WorkerStates,
        registry: Registry,
        published: Published,
        now: Callable[[], datetime],
    ) -> None:
        self._current = current
        self._workers = workers
        self._registry = registry
        self._published = published
        self._now = now
        self._types: dict[str, str] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges. What cannot be read is left out."""
        yield from self._models()
        yield from self._features()
        yield from self._predictions()
        yield from self._drift()
        yield from self._performance()
        yield from self._runs()
        free = GaugeMetricFamily("churn_storage_free_bytes", "Free space.", labels=["storage"])
        for name, path in (("data", self._published.paths.data), ("artifacts", self._published.paths.artifacts)):
            if path.exists():
                free.add_metric([name], shutil.disk_usage(path).free)
        yield free

    def _models(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "churn_model_info", "The model that a worker serves.", labels=["version", "type", "pid"]
        )
        loaded = GaugeMetricFamily(
            "churn_model_loaded_timestamp_seconds", "When a worker took its model up.", labels=["pid"]
        )
        refused = GaugeMetricFamily(
            "churn_model_reload_refused", "1 while a worker refuses the newest model.", labels=["pid"]
        )
        for state in self._workers.all():
            pid = str(state.pid)
            refused.add_metric([pid], 1 if state.reload_problem and state.model_version else 0)
            if state.model_version and state.loaded_at:
                info.add_metric([state.model_version, self._type(state.model_version), pid], 1)
                loaded.add_metric([pid], state.loaded_at.timestamp())
        yield from (info, loaded, refused)
        served = self._current.serving.model
        if served is not None:
            made = served.manifest.created_at.timestamp()
            yield GaugeMetricFamily("churn_model_created_timestamp_seconds", "When the model was trained.", value=made)

    def _type(self, version: str) -> str:
        if version not in self._types:
            served = self._current.serving.model
            if served is not None and served.version == version:
                self._types[version] = served.manifest.model_type
            else:
                found = next((entry for entry in self._registry.versions() if entry.version == version), None)
                self._types[version] = (found and found.model_type) or "unknown"
        return self._types[version]

    def _features(self) -> Iterator[GaugeMetricFamily]:
        snapshot = self._current.serving.snapshot
        if snapshot is not None:
            age = snapshot.age_seconds(self._now())
            yield GaugeMetricFamily("churn_features_age_seconds", "Since the end of the features' day.", value=age)
            yield GaugeMetricFamily("churn_features_users", "Users in the snapshot.", value=snapshot.rows)

    def _predictions(self) -> Iterator[GaugeMetricFamily]:
        day = _day(_json(self._published.score_proxy))
        if day is not None:
            end = datetime.combine(day + timedelta(days=1), time.min, UTC)
            age = max((self._now() - end).total_seconds(), 0.0)
            yield GaugeMetricFamily("churn_predictions_age_seconds", "Since the end of the list's day.", value=age)

    def _drift(self) -> Iterator[GaugeMetricFamily]:
        report = _json(self._published.drift)
        if report is None:
            return
        by_feature = GaugeMetricFamily("churn_drift_psi", "Population stability index.", labels=["feature"])
        shifts = report.get("psi_by_feature")
        known = shifts if isinstance(shifts, dict) else {}
        for name, value in {**known, "churn_risk": report.get("score_psi")}.items():
            if isinstance(value, int | float):
                by_feature.add_metric([name], value)
        yield by_feature
        status = STATUS.get(str(report.get("status")))
        if status is not None:
            yield GaugeMetricFamily("churn_drift_status", "0 is OK, 1 a warning, 2 an alert.", value=status)
        made = self._published.drift.stat().st_mtime
        yield GaugeMetricFamily("churn_drift_report_timestamp_seconds", "When the report was made.", value=made)

    def _performance(self) -> Iterator[GaugeMetricFamily]:
        report = _json(self._published.performance) or {}
        value, expected = report.get("pr_auc"), report.get("expected")
        if isinstance(value, int | float):
            yield GaugeMetricFamily("churn_live_pr_auc", "Of predictions whose labels have matured.", value=value)
        promised = expected.get("pr_auc") if isinstance(expected, dict) else None
        if isinstance(promised, int | float):
            yield GaugeMetricFamily("churn_live_pr_auc_expected", "What their scores promised.", value=promised)
        status = STATUS.get(str(report.get("status")))
        if status is not None:
            yield GaugeMetricFamily("churn_performance_status", "0 is OK, 1 a warning, 2 an alert.", value=status)

    def _runs(self) -> Iterator[GaugeMetricFamily]:
        seen = _json(self._published.runs)
        jobs = seen.get("jobs") if seen else None
        if not isinstance(jobs, dict):
            return
        failed = GaugeMetricFamily("churn_last_run_failed", "1 if a job's last run failed.", labels=["dagster_job"])
        for name, outcome in jobs.items():
            if isinstance(outcome, dict):
                failed.add_metric([name], 1 if outcome.get("failed") else 0)
        yield failed
        looked = self._published.runs.stat().st_mtime
        yield GaugeMetricFamily("churn_daemon_seen_timestamp_seconds", "When the daemon last looked.", value=looked)


def _day(report: dict[str, Any] | None) -> date | None:
    try:
        return date.fromisoformat(str(report and report.get("as_of_date")))
    except ValueError:
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return content if isinstance(content, dict) else None

"""What Prometheus is told, each metric defined once; right with one process and with several.

With several workers `PROMETHEUS_MULTIPROC_DIR` names a folder in which each of them keeps its counters in mapped files:
any worker answers for all, and what a dead worker counted is not lost.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from prometheus_client.registry import Collector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of several workers' common folder."""

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RISK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
"""Other methods count as OTHER: a client must not be able to make new time series."""


class Telemetry:
    """The service's own counters and histograms.

    Args:
        collectors: Gauges that are read when Prometheus asks.
    """

    def __init__(self, collectors: Sequence[Collector] = ()) -> None:
        self._own = CollectorRegistry()
        self._collectors = collectors
        self._requests = Counter("churn_api_requests", "Requests.", ["method", "path", "status"], registry=self._own)
        self._latency = Histogram(
            "churn_api_request_latency_seconds",
            "Time from the request's head to its last byte.",
            ["method", "path"],
            buckets=LATENCY_BUCKETS,
            registry=self._own,
        )
        self._predictions = Counter("churn_api_predictions", "Scored rows.", registry=self._own)
        self._risk = Histogram("churn_prediction_risk", "Scores given.", buckets=RISK_BUCKETS, registry=self._own)
        self._risk_bounds = np.array(RISK_BUCKETS)
        self._failures = Counter("churn_model_reload_failures", "Models that were refused.", registry=self._own)
        self._dropped = Counter(
            "churn_prediction_log_dropped", "Scored rows that the log could not take.", registry=self._own
        )
        self._dropped_before = 0
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one request by its route's template."""
        key = (method, path, status)
        known = self._known.get(key)
        if known is None:
            name = method if method in METHODS else "OTHER"
            known = self._requests.labels(name, path, str(status)), self._latency.labels(name, path)
            if name == method:
                self._known[key] = known
        known[0].inc()
        known[1].observe(seconds)

    def prediction(self, risk: float) -> None:
        """Count one scored row."""
        self._predictions.inc()
        self._risk.observe(risk)

    def predictions(self, risks: NDArray[np.float64]) -> None:
        """Count many scored rows (n,)."""
        self._predictions.inc(len(risks))
        counts = np.bincount(np.searchsorted(self._risk_bounds, risks), minlength=len(RISK_BUCKETS) + 1)
        for bucket, count in zip(self._risk._buckets, counts.tolist(), strict=True):  # noqa: SLF001 - `observe` takes one at a time
            if count:
                bucket.inc(count)
        self._risk._sum.inc(float(risks.sum()))  # noqa: SLF001

    def reload_failure(self) -> None:
        """Count a model that was refused."""
        self._failures.inc()

    def log_dropped(self, total: int) -> None:
        """Tell how many rows the prediction log of this process has dropped so far."""
        if total > self._dropped_before:
            self._dropped.inc(total - self._dropped_before)
            self._dropped_before = total

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, other workers' counts included."""
        registry = CollectorRegistry()
        if os.environ.get(MULTIPROCESS):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(_Whole(self._own))
        for collector in self._collectors:
            registry.register(collector)
        return generate_latest(registry)


class _Whole:
    """A registry as a collector of another."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.collect = registry.collect

"""What Prometheus is told, each metric defined once; right with one process and with several.

With several workers `PROMETHEUS_MULTIPROC_DIR` names a folder in which each of them keeps its counters in mapped files:
any worker answers for all, and what a dead worker counted is not lost.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from prometheus_client.registry import Collector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of several workers' common folder."""

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RISK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

SLICE = 64
"""What is counted at once. With several workers each request is, so that a worker that dies takes no counts with it."""

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
        self._failures = Counter("churn_model_reload_failures", "Models that were refused.", registry=self._own)
        self._dropped = Counter(
            "churn_prediction_log_dropped", "Scored rows that the log could not take.", registry=self._own
        )
        self._dropped_before = 0
        self._waiting: list[tuple[str, str, int, float]] = []
        self._waiting_risks: list[float] = []
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._slice = 1 if os.environ.get(MULTIPROCESS) else SLICE

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one request by its route's template."""
        self._waiting.append((method, path, status, seconds))
        if len(self._waiting) >= self._slice:
            self._count_requests()

    def prediction(self, risk: float) -> None:
        """Count one scored row."""
        self._waiting_risks.append(risk)
        if len(self._waiting_risks) >= self._slice:
            self._count_risks()

    def _count_requests(self) -> None:
        waiting, self._waiting = self._waiting, []
        for kind, of_kind in _by_kind(waiting).items():
            requests, latency = self._known.get(kind) or self._series(kind)
            requests.inc(len(of_kind))
            _observe(latency, LATENCY_BUCKETS, of_kind)

    def _series(self, kind: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        method, path, status = kind
        name = method if method in METHODS else "OTHER"
        found = self._requests.labels(name, path, str(status)), self._latency.labels(name, path)
        if name == method:
            self._known[kind] = found
        return found

    def _count_risks(self) -> None:
        risks, self._waiting_risks = self._waiting_risks, []
        self._predictions.inc(len(risks))
        _observe(self._risk, RISK_BUCKETS, risks)

    def predictions(self, risks: NDArray[np.float64]) -> None:
        """Count many scored rows (n,)."""
        self._predictions.inc(len(risks))
        _observe(self._risk, RISK_BUCKETS, risks.tolist())

    def reload_failure(self) -> None:
        """Count a model that was refused."""
        self._failures.inc()

    def log_dropped(self, total: int) -> None:
        """Tell how many rows the prediction log of this process has dropped so far."""
        if total > self._dropped_before:
            self._dropped.inc(total - self._dropped_before)
            self._dropped_before = total

    def settle(self) -> None:
        """Count what waits to be counted. To be called where requests are counted, before `text`."""
        self._count_requests()
        self._count_risks()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, other workers' counts included; see `settle`."""
        registry = CollectorRegistry()
        if os.environ.get(MULTIPROCESS):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(_Whole(self._own))
        for collector in self._collectors:
            registry.register(collector)
        return generate_latest(registry)


def _by_kind(requests: list[tuple[str, str, int, float]]) -> dict[tuple[str, str, int], list[float]]:
    """The times of requests by method, path and status."""
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for method, path, status, seconds in requests:
        found[method, path, status].append(seconds)
    return found


def _observe(histogram: Histogram, bounds: tuple[float, ...], values: list[float]) -> None:
    """Observe many values: the library's own way takes one at a time, and looks each bucket up anew."""
    if len(values) == 1:
        histogram.observe(values[0])
        return
    for place, count in Counts(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[place].inc(count)  # noqa: SLF001
    histogram._sum.inc(sum(values))  # noqa: SLF001


class _Whole:
    """A registry as a collector of another."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.collect = registry.collect

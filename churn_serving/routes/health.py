"""Probes, and what Prometheus reads."""

from __future__ import annotations

import asyncio

from litestar import Response, get

from churn_serving.openapi import refusals
from churn_serving.schemas import Live, Ready
from churn_serving.service import Injected, Service, require_model

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@get("/live", operation_id="live", tags=["operations"], sync_to_thread=False)
def live() -> Live:
    """The process answers. For a liveness probe: it looks at nothing else."""
    return Live()


@get("/ready", operation_id="ready", tags=["operations"], responses=refusals(503), sync_to_thread=False)
def ready(service: Injected) -> Ready:
    """A verified model serves. For a readiness probe: 503 with the reason until a model has scored its golden rows.

    A refused newer model, or old features, are told as `degraded`, and do not take the service away.
    """
    return readiness(service)


def readiness(service: Service) -> Ready:
    """Return what serves, and what is wrong all the same.

    Raises:
        RefusedError: Nothing serves (503).
    """
    serving = service.current.serving
    model = require_model(serving)
    degraded = [problem for problem in (serving.model_problem, serving.snapshot_problem) if problem]
    if serving.snapshot:
        hours = serving.snapshot.age_seconds(service.now()) / 3600
        if hours > service.settings.serving.features_max_age_hours:
            degraded.append(f"features are as of {serving.snapshot.as_of_date}, {hours:.0f} hours old")
    return Ready(model=model.path, model_version=model.version, degraded=degraded)


@get("/health", operation_id="health", tags=["operations"], responses=refusals(503), sync_to_thread=False)
def health(service: Injected) -> Ready:
    """As `/ready`, under the name that the runbook calls."""
    return readiness(service)


@get("/metrics", operation_id="metrics", tags=["operations"], media_type="text/plain")
async def metrics(service: Injected) -> Response[bytes]:
    """Prometheus' text format."""
    if service.prediction_log is not None:
        service.telemetry.log_dropped(service.prediction_log.dropped)
    service.telemetry.settle()
    return Response(await asyncio.to_thread(service.telemetry.text), media_type=METRICS_TYPE)

"""The front door: where everything is."""

from __future__ import annotations

from litestar import get

from churn_serving.openapi import refusals

DOORS = {
    "service": "churn",
    "documentation": "/schema",
    "score": "/predict",
    "score many": "/predict/batch",
    "model": "/model",
    "models": "/models",
    "drift": "/drift",
    "reports": "/reports",
    "ready": "/ready",
    "metrics": "/metrics",
}


@get("/", operation_id="index", tags=["operations"], responses=refusals(401, 403), sync_to_thread=False)
def index() -> dict[str, str]:
    """Where everything is."""
    return DOORS

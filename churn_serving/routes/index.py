"""The front door: where everything is."""

from __future__ import annotations

from litestar import get

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


@get("/", operation_id="index", tags=["operations"], sync_to_thread=False)
def index() -> dict[str, str]:
    """Where everything is."""
    return DOORS

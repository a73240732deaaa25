"""The production model and the registry."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from litestar import get

from churn_serving.errors import ArtifactError
from churn_serving.openapi import refusals
from churn_serving.schemas import ModelDescription, ModelList
from churn_serving.service import Injected, Service, require_model

if TYPE_CHECKING:
    from churn_serving.serving_model import ServingModel

TAGS = ["models"]


@get("/model", operation_id="model", tags=TAGS, responses=refusals(401, 403, 503), sync_to_thread=True)
def model(service: Injected) -> ModelDescription:
    """The model that this worker serves: its features with their bounds, metrics, and how it came to serve."""
    served = require_model(service.current.serving)
    manifest = served.manifest
    since, reason, actor = _promotion(service, served)
    return ModelDescription(
        version=manifest.version,
        model_type=manifest.model_type,
        model_path=served.path,
        features=manifest.features,
        metrics=manifest.metrics,
        trained_on=manifest.training,
        population=manifest.population,
        bands=manifest.bands,
        threshold=manifest.threshold,
        created_at=manifest.created_at,
        promoted_at=since,
        promoted_because=reason,
        promoted_by=actor,
        code_version=manifest.code_version,
        data_fingerprint=manifest.data_fingerprint,
        workers=service.workers.all(),
    )


@get("/models", operation_id="models", tags=TAGS, responses=refusals(401, 403, 503), sync_to_thread=True)
def models(service: Injected) -> ModelList:
    """Every registered version, the newest first."""
    served = service.current.serving.model
    return ModelList(production=served.version if served else None, models=service.registry.versions())


def _promotion(service: Service, served: ServingModel) -> tuple[datetime, str, str]:
    """Since when, why and by whose doing a model serves, as the history has it by now."""
    try:
        production = service.registry.production()
    except (ArtifactError, OSError):
        production = None
    if production is None or production.version != served.version:
        return served.loaded_at, "it is the last good model; the alias holds another", "outside"
    return production.promoted_at, production.promoted_because, production.actor

"""The parts of one running service, put together once and handed to every route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from churn_serving.intake.problems import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from churn_serving.logs.prediction_log import PredictionLog
    from churn_serving.online.scores import ScoreHistory
    from churn_serving.prediction import Predictor
    from churn_serving.registry import Registry
    from churn_serving.serving import Current, Serving
    from churn_serving.serving_model import ServingModel
    from churn_serving.settings import ServiceSettings
    from churn_serving.telemetry import Telemetry
    from churn_serving.worker_states import WorkerStates


@dataclass(frozen=True)
class Service:
    """What routes work with.

    Attributes:
        settings: As configured.
        registry: Where models are.
        current: What answers at the moment.
        predictor: Scores rows.
        history: Scores of the daily lists.
        prediction_log: Where scored rows are noted; None if they are not.
        telemetry: Counts.
        workers: What each worker of this server serves.
        now: The time, UTC.
    """

    settings: ServiceSettings
    registry: Registry
    current: Current
    predictor: Predictor
    history: ScoreHistory
    prediction_log: PredictionLog | None
    telemetry: Telemetry
    workers: WorkerStates
    now: Callable[[], datetime]


Injected = NamedDependency[SkipValidation[Service]]
"""The service as routes ask for it: there is one, and it is no request data."""


def require_model(serving: Serving) -> ServingModel:
    """Return the model that serves.

    Raises:
        RefusedError: There is none (503); the detail says why.
    """
    if serving.model is None:
        reason = serving.model_problem or "the model is still being loaded"
        raise RefusedError(503, f"no verified model: {reason}", headers={"Retry-After": "5"})
    return serving.model

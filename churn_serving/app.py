"""The application: `create_app()` puts the service together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from litestar import Litestar, MediaType, Request, Response
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR

from churn_serving.edge import Edge
from churn_serving.intake.problems import RefusedError
from churn_serving.logs.access_log import AccessLog, standard_output
from churn_serving.logs.prediction_log import PredictionLog
from churn_serving.model_watch import ModelWatch
from churn_serving.online.publication import Publication
from churn_serving.online.scores import ScoreHistory
from churn_serving.openapi import openapi_config
from churn_serving.prediction import Predictor
from churn_serving.published import Published
from churn_serving.registry import Registry
from churn_serving.routes.health import health, live, metrics, ready
from churn_serving.routes.index import index
from churn_serving.routes.models import model, models
from churn_serving.routes.predict import prediction_routes
from churn_serving.routes.reports import drift, report, reports
from churn_serving.routes.users import user
from churn_serving.schemas import Problem
from churn_serving.security import Keys
from churn_serving.service import Service
from churn_serving.serving import Current, clock
from churn_serving.settings import ServiceSettings, read_settings
from churn_serving.state_metrics import StateMetrics
from churn_serving.telemetry import MULTIPROCESS, Telemetry
from churn_serving.watcher import Followed, Watcher
from churn_serving.worker_states import WorkerStates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from litestar.types import Scope

SIGNING_KEY = "CHURN_SIGNING_KEY"

_log = logging.getLogger(__name__)


def create_app(settings: ServiceSettings | None = None) -> Litestar:
    """Return the service.

    Args:
        settings: As configured; read from the file and the environment if not given.

    Raises:
        SettingsError: The configuration is refused.
        KeyFileError: The API keys cannot be used.
    """
    settings = settings or read_settings(ServiceSettings)
    serving = settings.serving
    published = Published(settings.paths)
    registry = Registry(settings.paths.artifacts, os.environ.get(SIGNING_KEY))
    now = clock(settings.clock.today)
    current, workers = Current(), WorkerStates.of_environment()
    telemetry = Telemetry([StateMetrics(current, workers, registry, published, now)])
    keys = Keys(serving.api_keys_file) if serving.api_keys_file else None
    log_bytes = serving.prediction_log_max_mb * 10**6
    service = Service(
        settings=settings,
        registry=registry,
        current=current,
        predictor=Predictor(now, timedelta(hours=serving.features_max_age_hours)),
        history=ScoreHistory(published.scores),
        prediction_log=PredictionLog(published.prediction_log, max_bytes=log_bytes) if serving.prediction_log else None,
        telemetry=telemetry,
        workers=workers,
        now=now,
    )
    models_watch = ModelWatch(registry, telemetry.reload_failure)
    followed = Followed(models_watch, Publication(published.features), service.history, keys)
    watcher = Watcher(current, followed, workers, serving.reload_seconds)
    access_log = AccessLog(standard_output(), serving.access_log_sample, is_shared=MULTIPROCESS in os.environ)
    scoring = prediction_routes(service)
    app = Litestar(
        route_handlers=[index, live, ready, health, metrics, *scoring, user, model, models, drift, reports, report],
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        lifespan=[_lifespan(service, watcher, access_log)],
        openapi_config=openapi_config(current, has_keys=keys is not None, most_rows=serving.max_batch_rows),
        exception_handlers={HTTPException: _refuse},
        after_exception=[_report_fault],
        logging_config=None,
        debug=False,
    )
    direct = {path: route.fn for route in scoring for path in route.paths}
    app.asgi_handler = Edge(
        app.asgi_handler, direct, _templates(app), telemetry, access_log, keys, serving.max_concurrency
    )
    app.state.watcher = watcher
    return app


def _templates(app: Litestar) -> dict[str, str]:
    """The routes' paths as the edge looks for them."""
    paths = [route.path for route in app.routes]
    return {path.partition("{")[0].lstrip("/") if "{" in path else path: path for path in paths}


def _refuse(_: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Every error is JSON, also where the route's answer is a page."""
    extra = error.problem.extra if isinstance(error, RefusedError) else []
    problem = Problem(status_code=error.status_code, detail=error.detail, extra=extra)
    return Response(problem, status_code=error.status_code, headers=error.headers, media_type=MediaType.JSON)


async def _report_fault(error: Exception, scope: Scope) -> None:
    """Log what is our fault, with the request's id; the client learns no more than that it was not his."""
    if not isinstance(error, HTTPException) or error.status_code == HTTP_500_INTERNAL_SERVER_ERROR:
        exchange = scope["state"].get("exchange")
        _log.error("request %s failed", exchange.request_id if exchange else "unknown", exc_info=error)


async def _follow_parent() -> None:
    """End a worker whose supervisor is gone: nobody would end it otherwise, and it would keep the port."""
    parent = os.getppid()
    while os.environ.get(MULTIPROCESS) and parent != 1:
        await asyncio.sleep(1.0)
        if os.getppid() != parent:
            _log.error("the supervisor is gone: stopping")
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _lifespan(
    service: Service, watcher: Watcher, access_log: AccessLog
) -> Callable[[Litestar], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        """Look once before the first request, then go on looking; at the end write down what waits."""
        await asyncio.to_thread(watcher.look)
        tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(_follow_parent())]
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread, as in tests
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, watcher.look_now)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if service.prediction_log is not None:
                await asyncio.to_thread(service.prediction_log.close)
            await asyncio.to_thread(access_log.close)

    return running

"""`POST /predict` and `POST /predict/batch`.

Both are plain ASGI routes: bytes in, bytes out. A typed handler would decode the body into a form that knows nothing of
the model, and take longer for that than scoring takes. The edge enters them directly.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from churn_serving.intake.problems import RefusedError, wrong_fields
from churn_serving.prediction import Scored, add_reasons, refused_row
from churn_serving.routes.body import ClientGoneError, read_body
from churn_serving.schemas import BatchPrediction, FieldProblem
from churn_serving.service import Service, require_model

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from churn_serving.serving_model import ServingModel

EXPLAIN = "explain"
SWITCH = {"true": True, "false": False}

BLOCK = 256
"""Rows of a batch that are scored before other requests get their turn."""

EXPLAINED_BLOCK = 16
"""The same for rows with reasons: the reasons of one take up to a millisecond."""

_ENCODER = msgspec.json.Encoder()


class Scoring:
    """Answers bodies.

    Args:
        service: The parts of the service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._current = service.current
        self._predictor = service.predictor
        self._telemetry = service.telemetry
        self._log = service.prediction_log
        self._most_rows = service.settings.serving.max_batch_rows

    async def one(self, body: bytes, query: bytes, request_id: str) -> bytes:
        """Score one user, by id or by features.

        Raises:
            RefusedError: The request is wrong, the user is unknown, or nothing serves.
        """
        serving = self._current.serving
        model = require_model(serving)
        is_explained = _is_explained(query)
        scored = self._predictor.one(serving, model, model.reader.row(body))
        answer, risk = scored.answer, scored.answer.churn_risk
        if risk is not None and scored.vector is not None:
            self._telemetry.prediction(risk)
            if self._log is not None:
                user, day = str(answer.user_id), answer.as_of_date
                self._log.record(request_id, user, model.version, risk, scored.vector, day, by_id=scored.by_id)
            if is_explained:
                add_reasons(model, [scored])
        return _ENCODER.encode(answer)

    async def many(self, body: bytes, query: bytes, request_id: str) -> bytes:
        """Score many users; each row is answered on its own, and other requests get their turn in between.

        Raises:
            RefusedError: The request as a whole is wrong, or nothing serves.
        """
        serving = self._current.serving
        model = require_model(serving)
        is_explained = _is_explained(query)
        rows = model.reader.rows(body, self._most_rows)
        results: list[Scored | RefusedError] = []
        step = EXPLAINED_BLOCK if is_explained else BLOCK
        for start in range(0, len(rows), step):
            if start:
                await asyncio.sleep(0)
            block = self._predictor.many(serving, model, rows[start : start + step])
            if is_explained:
                add_reasons(model, [found for found in block if isinstance(found, Scored)])
            results += block
        self._note(model, request_id, results)
        answers = [found.answer if isinstance(found, Scored) else refused_row(found) for found in results]
        return _ENCODER.encode(BatchPrediction(predictions=answers))

    def _note(self, model: ServingModel, request_id: str, results: Sequence[Scored | RefusedError]) -> None:
        """Count the scored rows of a batch, and write them down."""
        pairs = [
            (n, found) for n, found in enumerate(results) if isinstance(found, Scored) and found.vector is not None
        ]
        if not pairs:
            return
        scored = [found for _, found in pairs]
        risks = np.array([found.answer.churn_risk for found in scored], dtype=np.float64)
        self._telemetry.predictions(risks)
        if self._log is not None:
            self._log.record_many(
                request_id,
                [number for number, _ in pairs],
                [str(found.answer.user_id) for found in scored],
                model.version,
                risks,
                np.array([found.vector for found in scored]),
                [found.answer.as_of_date for found in scored],
                [found.by_id for found in scored],
            )


def prediction_routes(service: Service) -> list[ASGIRouteHandler]:
    """Return the routes that score."""
    scoring = Scoring(service)
    return [_route("/predict", scoring.one, service), _route("/predict/batch", scoring.many, service)]


def _route(path: str, answer: Callable[[bytes, bytes, str], Awaitable[bytes]], service: Service) -> ASGIRouteHandler:
    settings = service.settings.serving

    @asgi(path, copy_scope=False)
    async def enter(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - Litestar looks for the name
        """Read the body, answer it."""
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise RefusedError(405, "use POST", headers={"Allow": "POST"})
        state: Any = scope["state"]
        exchange = state["exchange"]
        with contextlib.suppress(ClientGoneError):
            body = await read_body(state["headers"], receive, settings)
            await exchange.answer(200, await answer(body, scope["query_string"], exchange.request_id))

    return enter


def _is_explained(query: bytes) -> bool:
    if not query:
        return False
    try:
        given = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=8)
    except (UnicodeDecodeError, ValueError):
        given = [("query", "")]
    problems = [
        FieldProblem(key=name[:64], message=message) for name, value in given if (message := _wrong(name, value))
    ]
    if problems:
        raise wrong_fields(problems)
    return SWITCH[given[-1][1]] if given else False


def _wrong(name: str, value: str) -> str:
    if name != EXPLAIN:
        return f"is not known; the one query parameter is `{EXPLAIN}`"
    return "" if value in SWITCH else "must be true or false"

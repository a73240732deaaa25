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
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from churn_serving.intake.problems import RefusedError, wrong_fields
from churn_serving.prediction import Block, add_block_reasons, add_reasons
from churn_serving.routes.body import BodyReader, ClientGoneError
from churn_serving.schemas import BatchPrediction, FieldProblem, Prediction, RefusedRow
from churn_serving.service import Service, require_model

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from churn_serving.serving_model import ServingModel

EXPLAIN = "explain"
SWITCH = {"true": True, "false": False}

BLOCK = 512
"""Rows of a batch that are scored before other requests get their turn."""

EXPLAINED_BLOCK = 16
"""The same for rows with reasons: the reasons of one take up to a millisecond."""

LARGE = 2**16
"""Bytes from which a request for one user is read in a thread: none that is right is as large."""

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
        row = model.reader.row(body) if len(body) < LARGE else await asyncio.to_thread(model.reader.row, body)
        scored = self._predictor.one(serving, model, row)
        answer, risk = scored.answer, scored.answer.churn_risk
        if risk is not None and scored.cells is not None:
            self._telemetry.prediction(risk)
            if self._log is not None:
                user, day, is_known = str(answer.user_id), answer.as_of_date, scored.place >= 0
                packed = model.scorer.encoder.packed(*scored.cells)
                self._log.record(request_id, user, model.version, risk, packed, day, by_id=is_known)
            if is_explained:
                add_reasons(serving, model, [row], [scored])
        return _ENCODER.encode(answer)

    async def many(self, body: bytes, query: bytes, request_id: str) -> bytes:
        """Score many users; each row is answered on its own, and other requests get their turn in between.

        Raises:
            RefusedError: The request as a whole is wrong, or nothing serves.
        """
        serving = self._current.serving
        model = require_model(serving)
        is_explained = _is_explained(query)
        asked = model.reader.sound_rows(body, self._most_rows)
        if asked is None:
            asked = await asyncio.to_thread(model.reader.rows, body, self._most_rows)
        answers: list[Prediction | RefusedRow] = []
        for start, some in asked.blocks(EXPLAINED_BLOCK if is_explained else BLOCK):
            if start:
                await asyncio.sleep(0)
            block = self._predictor.many(serving, model, some)
            if is_explained:
                add_block_reasons(serving, model, some.rows, block)
            self._note(model, request_id, start, block)
            answers += [_refused_row(found) if isinstance(found, RefusedError) else found for found in block.answers]
        return _ENCODER.encode(BatchPrediction(predictions=answers))

    def _note(self, model: ServingModel, request_id: str, start: int, block: Block) -> None:
        """Count the scored rows of a block, and write them down."""
        if not block.scored:
            return
        self._telemetry.predictions(block.risks)
        if self._log is not None:
            answers: list[Any] = [block.answers[number] for number in block.scored]
            self._log.record_many(
                request_id,
                [start + number for number in block.scored],
                [str(answer.user_id) for answer in answers],
                model.version,
                block.risks,
                block.matrix,
                [answer.as_of_date for answer in answers],
                [place >= 0 for place in block.places],
            )


def prediction_routes(service: Service) -> list[ASGIRouteHandler]:
    """Return the routes that score."""
    scoring, bodies = Scoring(service), BodyReader(service.settings.serving)
    return [_route("/predict", scoring.one, bodies), _route("/predict/batch", scoring.many, bodies)]


def _route(path: str, answer: Callable[[bytes, bytes, str], Awaitable[bytes]], bodies: BodyReader) -> ASGIRouteHandler:
    @asgi(path, copy_scope=False)
    async def enter(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - Litestar looks for the name
        """Read the body, answer it."""
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise RefusedError(405, "use POST", headers={"Allow": "POST"})
        state: Any = scope["state"]
        exchange = state["exchange"]
        with contextlib.suppress(ClientGoneError):
            body = await bodies.read(state["headers"], receive)
            await exchange.answer(200, await answer(body, scope["query_string"], exchange.request_id))

    return enter


def _refused_row(refusal: RefusedError) -> RefusedRow:
    return RefusedRow(user_id=refusal.user_id, error=refusal.problem)


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

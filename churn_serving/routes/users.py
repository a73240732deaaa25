"""One user: the newest snapshot, the risk and its reasons, and how it came to that."""

from __future__ import annotations

from urllib.parse import unquote

from litestar import Request, get

from churn_serving.intake.fields import user_id_problem
from churn_serving.intake.problems import RefusedError, wrong_fields
from churn_serving.intake.reader import Row
from churn_serving.openapi import refusals
from churn_serving.prediction import add_reasons, values_of
from churn_serving.schemas import FieldProblem, UserDetails
from churn_serving.service import Injected, require_model

PREFIX = b"/users/"


@get(
    "/users/{user_id:path}",
    operation_id="user",
    tags=["scoring"],
    responses=refusals(400, 401, 403, 404, 422, 503),
    sync_to_thread=False,
)
def user(request: Request, service: Injected) -> UserDetails:  # type: ignore[type-arg]
    """All that is known of a user's risk: as in `/predict?explain=true`, with features, rank and history."""
    user_id = _user_id(request)
    serving = service.current.serving
    model = require_model(serving)
    row = Row(user_id, None)
    scored = service.predictor.one(serving, model, row)
    add_reasons(serving, model, [row], [scored])
    history = service.history.of(user_id)
    newest = history[-1] if history and history[-1].as_of_date == scored.answer.as_of_date else None
    return UserDetails(
        prediction=scored.answer,
        at_risk=scored.cells is not None,
        features=values_of(serving, scored),
        risk_rank=newest.risk_rank if newest else None,
        of=newest.of if newest else None,
        history=history,
    )


def _user_id(request: Request) -> str:  # type: ignore[type-arg]
    """The id as it was sent: Litestar's own parameter has slashes put in order."""
    path = request.scope["raw_path"].partition(b"?")[0]
    try:
        user_id = unquote(path.partition(PREFIX)[2].decode("ascii"), errors="strict")
    except UnicodeDecodeError:
        raise RefusedError(400, "the path is not UTF-8") from None
    if message := user_id_problem(user_id):
        raise wrong_fields([FieldProblem(key="user_id", message=message)])
    return user_id

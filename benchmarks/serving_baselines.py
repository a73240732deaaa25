"""What the service is measured against: a plain Litestar application with typed bodies and fixed replies.

`python benchmarks/serving_baselines.py PORT` serves it, with uvicorn set up as the service sets it up.
"""

from __future__ import annotations

import sys
from datetime import date

import msgspec
import uvicorn
from litestar import Litestar, get, post

from churn_serving.server import BACKLOG


class Body(msgspec.Struct):
    """A request for one user."""

    user_id: str | int
    snapshot_date: str | None = None
    features: dict[str, float | str | None] | None = None


class Batch(msgspec.Struct):
    """A request for many."""

    instances: list[Body]


class Reply(msgspec.Struct):
    """The answer for one user."""

    user_id: str | int
    churn_risk: float
    risk_band: str
    model_version: str
    model_path: str
    as_of_date: date
    missing_features: list[str]


class Replies(msgspec.Struct):
    """The answer for many."""

    predictions: list[Reply]


class Done(msgspec.Struct):
    """As short an answer as there can be."""

    rows: int


VERSION = "candidate_hgb_20260105T030012Z"


def _reply(number: int) -> Reply:
    risk = (number % 997 + 0.123456789) / 1000
    path = f"/app/artifacts/models/{VERSION}.joblib"
    return Reply(f"u{number:06}", risk, "low", VERSION, path, date(2026, 1, 5), [])


REPLY = _reply(1)
REPLIES = Replies([_reply(number) for number in range(1000)])
DONE = Done(1000)


@get("/ready", sync_to_thread=False)
def ready() -> Done:
    """Answer once the server runs."""
    return DONE


@post("/predict", status_code=200)
async def predict(data: Body) -> Reply:  # noqa: ARG001 - decoding it is the work; a handler as people write it
    """Answer one user with the same reply as any other."""
    return REPLY


@post("/batch/short", status_code=200)
async def batch_short(data: Batch) -> Done:  # noqa: ARG001 - as above
    """Answer many users with one number."""
    return DONE


@post("/batch", status_code=200)
async def batch(data: Batch) -> Replies:  # noqa: ARG001 - as above
    """Answer many users with a thousand fixed replies."""
    return REPLIES


def main() -> None:
    """Serve until told to stop."""
    app = Litestar([ready, predict, batch_short, batch], openapi_config=None)
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )


if __name__ == "__main__":
    main()

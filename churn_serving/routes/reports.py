"""What the daily runs have found: the newest drift report, and the pages for people."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from churn_serving.intake.problems import RefusedError
from churn_serving.openapi import refusals
from churn_serving.published import Published
from churn_serving.service import Injected

TAGS = ["monitoring"]
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; "
    "font-src data:; connect-src 'none'; frame-ancestors 'self'"
)
"""What a report's page may do: show what it carries, and talk to nobody."""

_PAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.html")


@get("/drift", operation_id="drift", tags=TAGS, responses=refusals(401, 403, 404, 503), sync_to_thread=True)
def drift(service: Injected) -> dict[str, Any]:
    """The newest drift report."""
    path = Published(service.settings.paths).drift
    try:
        content: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise RefusedError(404, "there is no drift report yet: `churn drift` makes one") from None
    except (OSError, msgspec.DecodeError):
        raise RefusedError(503, "the drift report cannot be read: run `churn drift` again") from None
    return content


@get("/reports", operation_id="reports", tags=TAGS, responses=refusals(401, 403, 503), sync_to_thread=True)
def reports(service: Injected) -> list[str]:
    """The names of the pages, the newest first by name."""
    folder = Published(service.settings.paths).reports
    return sorted(
        (path.name for path in folder.glob("*.html") if _PAGE.fullmatch(path.name) and path.is_file()), reverse=True
    )


@get(
    "/reports/{name:str}",
    operation_id="report",
    tags=TAGS,
    responses=refusals(401, 403, 404, 503),
    media_type="text/html",
    sync_to_thread=True,
)
def report(service: Injected, name: FromPath[str]) -> Response[bytes]:
    """A page: a model card, or a drift report."""
    path = Published(service.settings.paths).reports / name
    if not _PAGE.fullmatch(name) or not path.is_file():
        raise RefusedError(404, "there is no such report; `/reports` lists them")
    return Response(path.read_bytes(), headers={"content-security-policy": PAGE_POLICY}, media_type="text/html")

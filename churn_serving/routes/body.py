"""Reading a request's body within a size and a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from churn_serving.intake.problems import RefusedError

if TYPE_CHECKING:
    from litestar.types import Receive

    from churn_serving.settings import ServingSettings


class ClientGoneError(Exception):
    """The client went away before its request was whole."""


async def read_body(headers: dict[bytes, bytes], receive: Receive, settings: ServingSettings) -> bytes:
    """Return the body of a request.

    Args:
        headers: Of the request, names in lower case.
        receive: Gives its parts.
        settings: The largest size, the longest time.

    Raises:
        RefusedError: It is declared as something else than JSON (415), is too large (413), or did not come in time
            (408).
        ClientGoneError: It will never come.
    """
    _check_type(headers.get(b"content-type"))
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > settings.max_body_bytes:
        raise _too_large(settings)
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            message = await receive()
            body: bytes = _part(message)
            if not message.get("more_body"):
                return body
            return await _rest(bytearray(body), receive, settings)
    except TimeoutError:
        seconds = settings.request_timeout_seconds
        raise RefusedError(408, f"the body did not come within {seconds:g} seconds") from None


async def _rest(body: bytearray, receive: Receive, settings: ServingSettings) -> bytes:
    while True:
        message = await receive()
        body += _part(message)
        if len(body) > settings.max_body_bytes:
            raise _too_large(settings)
        if not message.get("more_body"):
            return bytes(body)


def _part(message: Any) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    part: bytes = message.get("body", b"")
    return part


def _check_type(given: bytes | None) -> None:
    if given is None or given == b"application/json":
        return
    kind = given.partition(b";")[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise RefusedError(415, "the body must be JSON: send the header `Content-Type: application/json`")


def _too_large(settings: ServingSettings) -> RefusedError:
    return RefusedError(
        413, f"the body is larger than {settings.max_body_bytes:,} bytes (`max_body_bytes`): send fewer rows"
    )

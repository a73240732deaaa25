"""Reading a request's body within a size and a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from churn_serving.intake.problems import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from litestar.types import Receive

    from churn_serving.settings import ServingSettings

SWEEPS = 4
"""How often within the time limit late bodies are looked for: one is refused at most a quarter too late."""

_LATE = "the body is late"


class ClientGoneError(Exception):
    """The client went away before its request was whole."""


class BodyReader:
    """Reads bodies, in one event loop.

    Time is kept only for bodies that are not there when they are asked for, and by one timer for all of them: keeping
    it for each would cost more than reading one.

    Args:
        settings: The largest size, the longest time.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._most = settings.max_body_bytes
        self._seconds = settings.request_timeout_seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._is_armed = False

    async def read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body of a request. To be called within a task of its own.

        Args:
            headers: Of the request, names in lower case.
            receive: Gives its parts.

        Raises:
            RefusedError: It is declared as something else than JSON (415), is too large (413), or did not come in
                time (408).
            ClientGoneError: It will never come.
        """
        _check_type(headers.get(b"content-type"))
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large()
        coming: Any = receive()
        try:
            waits_for = coming.send(None)
        except StopIteration as come:  # as nearly always: the body came together with the head
            message = come.value
        else:
            return await self._in_time(_Begun(coming, waits_for), receive)
        if message.get("more_body"):
            return await self._in_time(_done(message), receive)
        body = _part(message)
        if len(body) > self._most:
            raise self._too_large()
        return body

    async def _in_time(self, coming: Awaitable[Any], receive: Receive) -> bytes:
        """The body of a request of which not all has come yet."""
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        self._since[task] = loop.time()
        if not self._is_armed:
            self._arm(loop)
        try:
            message = await coming
            body = _part(message)
            if len(body) > self._most:
                raise self._too_large()
            return await self._rest(body, receive) if message.get("more_body") else body
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_LATE,):
                raise
            task.uncancel()
            raise RefusedError(408, f"the body did not come within {self._seconds:g} seconds") from None
        finally:
            del self._since[task]

    async def _rest(self, body: bytes, receive: Receive) -> bytes:
        parts, size = [body], len(body)
        while True:
            message = await receive()
            parts.append(_part(message))
            size += len(parts[-1])
            if size > self._most:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(parts)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_armed = True
        loop.call_later(self._seconds / SWEEPS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_armed = False
        latest = loop.time() - self._seconds
        for task, since in self._since.items():
            if since <= latest:
                task.cancel(_LATE)
        if self._since:
            self._arm(loop)

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body is larger than {self._most:,} bytes (`max_body_bytes`): send fewer rows")


class _Begun:
    """A coroutine that has begun and waits for something: to be awaited to its end.

    Args:
        coroutine: The coroutine.
        waits_for: What it handed out.
    """

    def __init__(self, coroutine: Any, waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for what it waits for, then let it go on."""
        try:
            yield self._waits_for
        except BaseException:
            self._coroutine.close()
            raise
        return (yield from self._coroutine.__await__())


async def _done(message: Any) -> Any:
    return message


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

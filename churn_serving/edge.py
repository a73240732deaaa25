"""The edge: what holds for every request whatever its route, in one pass around the application.

Request id, API key, bounded concurrency, security headers, counting and the access log. It is one ASGI layer, not six,
because it stands on the way of every prediction.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.enums import ScopeType

from churn_serving.intake.problems import RefusedError
from churn_serving.openapi import OPEN, PAGE_POLICY
from churn_serving.security import Denied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from churn_serving.key_file import Scope as KeyScope
    from churn_serving.logs.access_log import AccessLog
    from churn_serving.security import Keys
    from churn_serving.telemetry import Telemetry

ALWAYS_ANSWERED = frozenset(OPEN)
"""These are answered however busy the service is, too."""

PREDICTING = frozenset({"predict"})
"""First parts of the paths that the scope `predict` opens; all others take `read`."""

DOCUMENTATION = "/schema"

UNMATCHED = "unmatched"
"""The route of a path that there is not; the path itself could be anything."""

CLIENT_GONE = 499
"""The status noted when nobody waited for the answer."""

RETRY_AFTER = "1"

_DOCUMENTATION_POLICY = (b"content-security-policy", PAGE_POLICY.encode())

_log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

_JSON_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""For answers to programs; each header costs the server about a microsecond."""

_HEADERS = (*_JSON_HEADERS, (b"x-frame-options", b"DENY"), (b"referrer-policy", b"no-referrer"))
"""For answers that a browser may show."""

_JSON = (b"content-type", b"application/json")
_DATA_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Exchange:
    """One request and its answer, as it passes the edge.

    Attributes:
        request_id: The caller's, or one of ours.
        key_name: Name of the API key, if keys are asked for.
        policy: What a browser may do with the answer, unless the route says it.
        status: Of the answer; 0 until it begins.
        size: Bytes of the answer's body.
    """

    __slots__ = ("_send", "key_name", "policy", "request_id", "size", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.key_name: str | None = None
        self.policy = _DATA_POLICY
        self.status = 0
        self.size = 0

    async def answer(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer with JSON, whole."""
        self.status, self.size = status, len(body)
        head = [_JSON, (b"content-length", str(len(body)).encode()), *_JSON_HEADERS, *headers]
        head.append((b"x-request-id", self.request_id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def let_go(self) -> None:
        """Forget the way to the client, which leads back here: such a ring would wait for the collector to find it."""
        del self._send

    async def send(self, message: Message) -> None:
        """Pass a part of an answer of Litestar's on, the head with our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], *_HEADERS, (b"x-request-id", self.request_id.encode())]
            if not any(name == b"content-security-policy" for name, _ in headers):
                headers.append(self.policy)
            message["headers"] = headers
        else:
            self.size += len(message.get("body", b""))  # type: ignore[arg-type]
        await self._send(message)


class Edge:
    """The outermost layer of the application.

    Args:
        app: What is inside.
        direct: Routes that are entered from here, by path: those that score. What lies between (Litestar's search for
            the route, its two layers that catch exceptions) takes as long as a logistic regression.
        telemetry: Counts requests.
        templates: The routes' paths, by path; those with a parameter by their first part and a slash.
        access_log: Writes them down.
        keys: API keys; None to ask for none.
        max_concurrency: Requests at a time.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the one place where all of them meet
        self,
        app: ASGIApp,
        direct: Mapping[str, ASGIApp],
        templates: Mapping[str, str],
        telemetry: Telemetry,
        access_log: AccessLog,
        keys: Keys | None,
        max_concurrency: int,
    ) -> None:
        self._app = app
        self._direct = direct
        self._templates = templates
        self._telemetry = telemetry
        self._access_log = access_log
        self._keys = keys
        self._max_concurrency = max_concurrency
        self._running = 0
        self._new_id = _request_ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        headers = dict(scope["headers"])
        exchange = Exchange(send, self._request_id(headers))
        scope["state"]["exchange"] = exchange
        scope["state"]["headers"] = headers
        self._running += 1
        try:
            await self._pass(scope, receive, exchange, headers)
        finally:
            self._running -= 1
            self._note(scope, exchange, perf_counter() - started)
            exchange.let_go()

    async def _pass(self, scope: Scope, receive: Receive, exchange: Exchange, headers: dict[bytes, bytes]) -> None:
        path = scope["path"]
        refusal = self._refusal(scope, headers, exchange)
        if refusal is not None:
            scope["path_template"] = self._templates.get(path) or self._templates.get(_first_part(path) + "/", "")
            await _refuse(exchange, refusal)
            return
        direct = self._direct.get(path)
        if direct is None:
            if path.startswith(DOCUMENTATION):
                exchange.policy = _DOCUMENTATION_POLICY
            await self._app(scope, receive, exchange.send)
            return
        scope["path_template"] = path
        try:
            await direct(scope, receive, exchange.send)
        except RefusedError as error:
            await _refuse(exchange, error)
        except Exception:  # noqa: BLE001 - nobody above would answer in our form
            _log.exception("request %s failed", exchange.request_id)
            if not exchange.status:
                await _refuse(exchange, RefusedError(500, "Internal Server Error"))

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        return given.decode() if given and _REQUEST_ID.fullmatch(given) else self._new_id()

    def _refusal(self, scope: Any, headers: dict[bytes, bytes], exchange: Exchange) -> RefusedError | None:
        """Why a request goes no further, if it does not."""
        path = scope["path"]
        if path in ALWAYS_ANSWERED:
            return None
        if self._running > self._max_concurrency:
            return RefusedError(503, "the service is busy; try again", headers={"Retry-After": RETRY_AFTER})
        return None if self._keys is None else self._locked_out(self._keys, scope, headers, exchange)

    def _locked_out(
        self, keys: Keys, scope: Any, headers: dict[bytes, bytes], exchange: Exchange
    ) -> RefusedError | None:
        """Why the caller's API key does not do, if it does not."""
        needed: KeyScope = "predict" if _first_part(scope["path"]) in PREDICTING else "read"
        given = b", ".join(value for name, value in scope["headers"] if name == b"authorization")  # as RFC 9110 has it
        found = keys.check(given or None, headers.get(b"x-api-key"), needed)
        if isinstance(found, Denied):
            return RefusedError(found.status, found.detail, headers={"WWW-Authenticate": found.challenge})
        exchange.key_name = found.name
        return None

    def _note(self, scope: Any, exchange: Exchange, seconds: float) -> None:
        path = _template(scope)
        status = exchange.status or CLIENT_GONE
        self._telemetry.request(scope["method"], path, status, seconds)
        self._access_log.record(
            scope["method"], path, status, seconds, exchange.request_id, exchange.key_name, exchange.size
        )


def _first_part(path: str) -> str:
    """The first part of a path, as Litestar finds it: repeated slashes count as one."""
    return next((part for part in path.split("/") if part), "")


async def _refuse(exchange: Exchange, refusal: RefusedError) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in (refusal.headers or {}).items()]
    await exchange.answer(refusal.status_code, msgspec.json.encode(refusal.problem), headers)


def _template(scope: Any) -> str:
    """The route's path with its parameters unfilled, as `/users/{user_id}`."""
    template: str = scope.get("path_template") or UNMATCHED
    return template.partition(":")[0] + "}" if ":" in template else template


def _request_ids() -> Callable[[], str]:
    """Return a source of ids: different between processes, cheap, and in order within one."""
    prefix = secrets.token_hex(6)
    counter = itertools.count()
    return lambda: f"{prefix}-{next(counter):08x}"

"""Loads an HTTP server on this machine: in a closed loop to see what a request costs, in an open loop for latency.

The client does as little as it can, so that the server is what is measured: whole requests as bytes, keep-alive
connections with one request at a time, and of an answer only its status, its length and a mark in its body.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LONGEST_SECONDS = 60.0
"""A load that has not ended by then has failed."""

COARSE_SECONDS = 0.0005
"""How often an open loop looks at the clock if it must leave the processor to the server."""

T = TypeVar("T")

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class LoadError(RuntimeError):
    """The server did not answer as it should."""


@dataclass(frozen=True)
class Traffic:
    """What is sent where.

    Attributes:
        port: The server's, on 127.0.0.1.
        requests: Whole HTTP requests, sent in turn, over and over.
        mark: Bytes that the body of every answer holds.
    """

    port: int
    requests: Sequence[bytes]
    mark: bytes


@dataclass(frozen=True)
class Answers:
    """What came back.

    Attributes:
        count: Answers, all with status 200.
        seconds: From the first request to the last answer.
        bodies: The last body on each connection.
    """

    count: int
    seconds: float
    bodies: tuple[bytes, ...]


def post(path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """Return a whole POST request with a JSON body.

    Args:
        path: Of the route.
        body: JSON.
        headers: Further header lines.
    """
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def closed_loop(traffic: Traffic, connections: int, is_enough: Callable[[], bool]) -> Answers:
    """Send the next request as soon as a connection has its answer, until `is_enough`, and wait for what is under way.

    Raises:
        LoadError: An answer is not as it should be, or it takes too long.
    """
    return uvloop.run(_ended(_ClosedLoop(traffic, is_enough).run(connections)))


@dataclass(frozen=True)
class Latencies:
    """How long requests took, in an open loop.

    Attributes:
        seconds: Of each request, counted from when it was due.
        held_up: Share of the requests that found no free connection when they were due.
    """

    seconds: list[float]
    held_up: float


def open_loop(traffic: Traffic, connections: int, rate: float, seconds: float, *, spin: bool) -> Latencies:
    """Send requests at even distances whatever the answers do; one that finds no free connection waits for it.

    Args:
        traffic: What is sent where.
        connections: How many.
        rate: Requests a second.
        seconds: For how long.
        spin: Whether the client may use its processor all the time; if not, requests go in small bursts.

    Raises:
        LoadError: An answer is not as it should be, or it takes too long.
    """
    return uvloop.run(_ended(_OpenLoop(traffic, rate, seconds, spin=spin).run(connections)))


async def _ended(load: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(load, LONGEST_SECONDS)
    except TimeoutError:
        raise LoadError(f"the server has not answered everything within {LONGEST_SECONDS:g} s") from None


class _Connection(asyncio.Protocol):
    """One connection; calls `answered` with itself, or sets the failure."""

    def __init__(self, mark: bytes, answered: Callable[[_Connection], None], failure: asyncio.Future[None]) -> None:
        self._mark = mark
        self._answered = answered
        self._failure = failure
        self._received = b""
        self._start = self._end = 0
        self._transport: asyncio.Transport
        self.body = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def send(self, request: bytes) -> None:
        """Send a request; the one before must have been answered."""
        self._transport.write(request)

    def close(self) -> None:
        """Close it from this side."""
        self._answered = _ignore
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        if not self._end and not self._read_head(received):
            return
        if len(received) < self._end:
            return
        self.body = received[self._start :]
        self._received, self._end = b"", 0
        if self._mark in self.body:
            self._answered(self)
        else:
            self._fail(f"an answer without {self._mark.decode()}: {self.body[:300].decode()}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not _ignore:
            self._fail(f"the server closed a connection: {exc}")

    def _read_head(self, received: bytes) -> bool:
        end = received.find(_HEAD_END)
        if end < 0:
            return False
        head = received[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            self._fail(f"an answer that is not 200: {received[:600].decode()}")
            return False
        at = head.find(_LENGTH) + len(_LENGTH)
        self._start = end + len(_HEAD_END)
        self._end = self._start + int(head[at:].partition(b"\r\n")[0])
        return True

    def _fail(self, text: str) -> None:
        if not self._failure.done():
            self._failure.set_exception(LoadError(text))


def _ignore(_: _Connection) -> None:
    """Take no notice."""


async def _connections(
    count: int, traffic: Traffic, answered: Callable[[_Connection], None], over: asyncio.Future[None]
) -> list[_Connection]:
    loop = asyncio.get_running_loop()

    def new() -> _Connection:
        return _Connection(traffic.mark, answered, over)

    return [(await loop.create_connection(new, "127.0.0.1", traffic.port))[1] for _ in range(count)]


class _ClosedLoop:
    def __init__(self, traffic: Traffic, is_enough: Callable[[], bool]) -> None:
        self._traffic = traffic
        self._is_enough = is_enough
        self._requests = itertools.cycle(traffic.requests)
        self._count = self._open = 0
        self._is_over = False

    async def run(self, connections: int) -> Answers:
        self._over = asyncio.get_running_loop().create_future()
        made = await _connections(connections, self._traffic, self._answered, self._over)
        self._open = len(made)
        start = perf_counter()
        for connection in made:
            connection.send(next(self._requests))
        while not self._over.done() and not self._is_enough():  # noqa: ASYNC110 - the processor's time has no event
            await asyncio.sleep(0.02)
        self._is_over = True
        await self._over
        seconds = perf_counter() - start
        for connection in made:
            connection.close()
        return Answers(self._count, seconds, tuple(connection.body for connection in made))

    def _answered(self, connection: _Connection) -> None:
        self._count += 1
        if not self._is_over:
            connection.send(next(self._requests))
            return
        self._open -= 1
        if not self._open and not self._over.done():
            self._over.set_result(None)


class _OpenLoop:
    def __init__(self, traffic: Traffic, rate: float, seconds: float, *, spin: bool) -> None:
        self._traffic = traffic
        self._rate = rate
        self._total = round(rate * seconds)
        self._spin = spin
        self._requests = itertools.cycle(traffic.requests)
        self._next = self._held_up = 0
        self._waiting: deque[float] = deque()
        self._free: deque[_Connection] = deque()
        self._latencies: list[float] = []

    async def run(self, connections: int) -> Latencies:
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        made = await _connections(connections, self._traffic, self._answered, self._over)
        self._free.extend(made)
        self._start = perf_counter()
        self._tick()
        await self._over
        for connection in made:
            connection.close()
        return Latencies(self._latencies, self._held_up / self._total)

    def _tick(self) -> None:
        now, before = perf_counter(), self._next
        while self._next < self._total and (due := self._start + self._next / self._rate) <= now:
            self._waiting.append(due)
            self._next += 1
        self._hand_out()
        self._held_up += min(len(self._waiting), self._next - before)
        if self._next == self._total or self._over.done():
            return
        if self._spin:
            self._loop.call_soon(self._tick)
        else:
            self._loop.call_later(COARSE_SECONDS, self._tick)

    def _hand_out(self) -> None:
        while self._waiting and self._free:
            connection = self._free.popleft()
            connection.due = self._waiting.popleft()
            connection.send(next(self._requests))

    def _answered(self, connection: _Connection) -> None:
        self._latencies.append(perf_counter() - connection.due)
        self._free.append(connection)
        self._hand_out()
        if len(self._latencies) == self._total and not self._over.done():
            self._over.set_result(None)

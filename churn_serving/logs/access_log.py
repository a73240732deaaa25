"""The access log: one JSON line for a request, all that failed or were slow and a share of the others."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import msgspec

from churn_serving.logs.line_writer import Lines, LineWriter, write_all
from churn_serving.logs.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 0.6180339887498949
"""The golden ratio less one: multiples of it, less their whole parts, fill [0, 1) evenly; so does every k-th one."""


class Request(msgspec.Struct, frozen=True):
    """A line of the log.

    Attributes:
        time: When the answer was finished, UTC.
        level: `error` from status 500, `warning` if slow, else `info`.
        message: Always `request`.
        method: HTTP method.
        path: The route's template.
        status: HTTP status.
        ms: Milliseconds that the answer took.
        request_id: The request's id.
        key: Name of the API key, if there was one.
        bytes: Size of the answer's body.
    """

    time: str
    level: str
    message: str
    method: str
    path: str
    status: int
    ms: float
    request_id: str
    key: str | None
    bytes: int


class AccessLog:
    """Writes the log, from one event loop.

    Of the requests that neither failed nor were slow, `sample` is the share that is logged. Which ones, a counter
    decides: request n is logged if the fraction of n times `STEP` is below `sample`. So the share is exact, the same
    requests give the same lines, and traffic that repeats itself is not missed by falling in step with it.

    Args:
        stream: Where lines go; unbuffered, such as `standard_output()`.
        sample: Share of ordinary requests, 0 to 1.
        is_shared: Whether other processes write to the stream too.
        slow_seconds: What took this long is always logged.
        queue: Lines that may wait to be written; more are dropped and counted.
        interval: Seconds until a line is written.
        clock: Gives POSIX time, seconds.
    """

    def __init__(  # noqa: PLR0913 - all but two by name, with defaults
        self,
        stream: BinaryIO,
        sample: float,
        *,
        is_shared: bool = True,
        slow_seconds: float = 0.5,
        queue: int = 65_536,
        interval: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sample = sample
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._place = 0.0
        self._writer = LineWriter(
            "access log", self._encoded, StreamSink(stream, is_shared=is_shared), limit=queue, interval=interval
        )
        self._leave = self._writer.record

    @property
    def written(self) -> int:
        """Lines in the stream."""
        return self._writer.written

    @property
    def dropped(self) -> int:
        """Lines that could not be written; what the sample leaves out does not count."""
        return self._writer.dropped

    def record(  # noqa: PLR0913, PLR0917 - an object in between would cost more than the call
        self,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        key_name: str | None,
        size: int,
    ) -> None:
        """Log a request, or leave it out. Never waits, never raises.

        Args:
            method: HTTP method.
            path: The route's template; a raw path would hold user ids.
            status: HTTP status.
            seconds: What the answer took.
            request_id: The request's id.
            key_name: Name of the API key, if there was one.
            size: Bytes of the answer's body.
        """
        self._place = place = (self._place + STEP) % 1.0
        if place < self._sample or status >= 500 or seconds >= self._slow_seconds:
            self._leave((self._clock(), method, path, status, seconds, request_id, key_name, size))

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, and stop; returns whether all was done within `timeout` seconds."""
        return self._writer.close(timeout)

    def _encoded(self, records: list[_Record]) -> bytes:
        return _encode_lines([self._line(record) for record in records])

    def _line(self, record: _Record) -> Request:
        moment, method, path, status, seconds, request_id, key_name, size = record
        level = "error" if status >= 500 else "warning" if seconds >= self._slow_seconds else "info"
        milliseconds = round(seconds * 1000, 3)
        return Request(
            utc_text(moment), level, "request", method, path, status, milliseconds, request_id, key_name, size
        )


class StreamSink:
    """Writes lines to a stream that others may write to as well; a sink of a `LineWriter`.

    A slice is one write. Only to a pipe it is several, each of whole lines and short enough that the system keeps it in
    one piece: the workers of a container share its standard output. After a failed write a newline comes first, so that
    a line that was cut off spoils no other.

    Args:
        stream: Unbuffered; stays open.
        is_shared: Whether other processes write to it too.
    """

    def __init__(self, stream: BinaryIO, *, is_shared: bool = True) -> None:
        self._stream = stream
        self._longest = select.PIPE_BUF if is_shared and _is_pipe(stream) else None
        self._is_torn = False

    def write(self, lines: Lines) -> None:
        """Write all lines.

        Raises:
            OSError: The stream takes no more; nobody reading (`BrokenPipeError`) is one case.
            ValueError: The stream is closed.
        """
        content = b"\n" + lines.content if self._is_torn else lines.content
        self._is_torn = True
        for piece in _pieces(content, self._longest) if self._longest else (content,):
            write_all(self._stream.write, piece)
        self._stream.flush()
        self._is_torn = False

    def close(self) -> None:
        """Leave the stream open: it is the process's."""


def standard_output() -> BinaryIO:
    """Return the process's standard output, unbuffered: nothing is left in a buffer for a pipe that broke.

    Raises:
        OSError: The process has none.
    """
    return open(1, "wb", buffering=0, closefd=False)


_encode_lines = msgspec.json.Encoder().encode_lines
_Record: TypeAlias = "tuple[float, str, str, int, float, str, str | None, int]"


def _pieces(content: bytes, longest: int) -> Iterator[bytes]:
    """Cut at line ends into pieces of at most `longest` bytes; a line that is longer is a piece of its own."""
    start = 0
    while start < len(content):
        stop = start + longest
        if stop < len(content):
            stop = content.rfind(b"\n", start, stop) + 1 or content.find(b"\n", stop) + 1
        yield content[start:stop]
        start = stop


def _is_pipe(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # not a file of the system's
        return False

"""Log lines off the request's path: a request only appends to a queue, a thread does all the rest.

Python runs one thread at a time, and a busy event loop leaves the writer few turns. The writer therefore works in
slices and rests between them: short ones, so that no request waits long for its own turn, and longer ones the more
lines wait, so that it keeps up with a service that is never idle.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import ReadableBuffer

SHORT_SLICE = 128
"""Lines that are encoded and written at once while few wait: about 0.3 ms."""

LONG_SLICE = 2048
"""Most lines that an encoder puts into one piece: about 5 ms."""

SLICES_WAITING = 8
"""If more than so many short slices wait, a slice grows to one in so many of the lines that wait."""

REST_SECONDS = 0.0005
"""How long the thread rests after a slice, for requests to go on."""

Record = TypeVar("Record")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lines:
    """Whole lines, ready to be written.

    Attributes:
        content: The bytes, each line with its newline.
        count: How many lines these are.
        time: POSIX time of the first of them, seconds.
    """

    content: bytes
    count: int
    time: float


class Sink(Protocol):
    """Where lines go. Used by one thread."""

    def write(self, lines: Lines) -> None:
        """Write all of `lines`; whatever is raised means that none of them counts as written."""

    def close(self) -> None:
        """Let go of what is open."""


class LineWriter(Generic[Record]):
    """A bounded queue, and a daemon thread that empties it into a sink.

    What cannot be written is dropped, counted, reported once through `logging`, and the next slice is tried again.

    Args:
        name: What is written, for reports: `prediction log`.
        encode: Turns records into slices of lines, lazily; runs in the thread.
        sink: Takes the lines.
        limit: Lines that may wait. The offer that reaches the limit is still taken as a whole.
        interval: Seconds between two looks into the queue.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[list[Record]], Iterable[Lines]],
        sink: Sink,
        *,
        limit: int = 65_536,
        interval: float = 0.25,
    ) -> None:
        self._name = name
        self._encode = encode
        self._sink = sink
        self._limit = limit
        self._interval = interval
        self._queue: deque[tuple[Record, int]] = deque()
        self._offered = self._taken = self._refused = self._lost = self._written = 0
        self._is_failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name} writer", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Lines that the sink has taken."""
        return self._written

    @property
    def dropped(self) -> int:
        """Lines that found the queue full or closed, or could not be encoded or written."""
        return self._refused + self._lost

    def offer(self, record: Record, lines: int = 1) -> None:
        """Queue a record; if the queue is full, count its lines as dropped. Never waits, never raises.

        Counts are exact if one thread offers, as an event loop does.

        Args:
            record: Must not be changed afterwards.
            lines: How many lines it will become.
        """
        if self._offered - self._taken >= self._limit:
            self._refused += lines
        else:
            self._offered += lines
            self._queue.append((record, lines))

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, and stop. What is offered from now on is dropped.

        Args:
            timeout: Seconds to wait for the sink.

        Returns:
            Whether all is done; if not, the thread goes on for as long as the process lives.
        """
        self._limit = 0
        self._closing.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self._empty()
        self._empty()
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 - as in _hand_over
            self._report(error)

    def _empty(self) -> None:
        while records := self._take():
            self._hand_over(records)

    def _take(self) -> list[tuple[Record, int]]:
        """Take one slice off the queue; a record of many lines may make it longer."""
        taken: list[tuple[Record, int]] = []
        lines = 0
        enough = max(SHORT_SLICE, (self._offered - self._taken) // SLICES_WAITING)
        while self._queue and lines < enough:
            taken.append(self._queue.popleft())
            lines += taken[-1][1]
        self._taken += lines
        return taken

    def _hand_over(self, records: list[tuple[Record, int]]) -> None:
        waiting = offered = sum(lines for _, lines in records)
        try:
            for lines in self._encode([record for record, _ in records]):
                waiting -= lines.count
                self._write(lines)
                self._closing.wait(REST_SECONDS)
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a record brings
            if len(records) > 1 and waiting == offered:
                for record in records:  # to lose only the one that cannot be encoded
                    self._hand_over([record])
            else:
                self._lose(waiting, error)

    def _write(self, lines: Lines) -> None:
        try:
            self._sink.write(lines)
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a sink meets
            self._lose(lines.count, error)
        else:
            self._written += lines.count
            if self._is_failing:
                self._is_failing = False
                _log.warning("the %s is written again; %d lines were dropped until now", self._name, self.dropped)

    def _lose(self, lines: int, error: Exception) -> None:
        self._lost += lines
        if not self._is_failing:
            self._is_failing = True
            self._report(error)

    def _report(self, error: Exception) -> None:
        _log.error(
            "the %s cannot be written (%s: %s): lines are dropped until it can; look for a full disk or a lost folder",
            self._name,
            type(error).__name__,
            error,
        )


def write_all(write: Callable[[ReadableBuffer], Any], content: bytes) -> None:
    """Write all of `content` to an unbuffered file, which may take a part of it only.

    Args:
        write: The file's method; returns how many bytes it took, or None if it would have had to wait.
        content: The bytes.

    Raises:
        OSError: The file takes no more; a part may have been written.
    """
    rest = memoryview(content)
    while rest:
        taken = write(rest)
        if not taken:
            raise BlockingIOError("the file takes nothing at the moment")
        rest = rest[taken:]

"""Log lines off the request's path: a request leaves a record, a thread writes.

Records are encoded some at a time, by whoever leaves the one that makes a slice full. A thread that encodes all of them
would wait for the interpreter's lock, and hold it, in turn with a busy event loop; and a request that encodes its own
record finds the encoder's code in no cache. Either costs a request three times as much.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from churn_serving.logs.timestamps import utc_day

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SLICE = 64
"""Records that are encoded at once: about 0.15 ms."""

MOST = 4096
"""Most entries of the queue that are handed to the sink at once."""

Record = TypeVar("Record", bound=tuple[Any, ...])

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lines:
    """Whole lines of one UTC day, ready to be written.

    Attributes:
        content: The bytes, each line with its newline.
        count: How many lines these are.
        time: POSIX time of the first of them, seconds.
    """

    content: bytes
    count: int
    time: float


_Entry = tuple[float, bytes, int]


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
        encode: Makes lines of records, which begin with their POSIX time.
        sink: Takes the lines.
        limit: Lines that may wait. The offer that reaches the limit is still taken as a whole.
        interval: Seconds between two looks into the queue.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[list[Record]], bytes],
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
        self._records: deque[Record] = deque()
        self._encoding = threading.Lock()
        self._queue: deque[_Entry] = deque()
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

    def record(self, record: Record) -> None:
        """Leave a record that will be one line; if the queue is full, count it as dropped. Never waits, never raises.

        Counts are exact if one thread leaves records, as an event loop does.

        Args:
            record: Begins with its POSIX time, seconds; must not be changed afterwards.
        """
        if self._offered - self._taken >= self._limit:
            self._refused += 1
            return
        self._offered += 1
        self._records.append(record)
        if len(self._records) >= SLICE and self._encoding.acquire(blocking=False):
            try:
                self._encode_slice()
            finally:
                self._encoding.release()

    def offer(self, seconds: float, content: bytes, lines: int = 1) -> None:
        """Leave lines that are encoded already, as `record` leaves a record.

        Args:
            seconds: Their POSIX time.
            content: The lines, each with its newline.
            lines: How many.
        """
        if self._offered - self._taken >= self._limit:
            self._refused += lines
        else:
            self._offered += lines
            self._queue.append((seconds, content, lines))

    def refuse(self, error: Exception, lines: int = 1) -> None:
        """Count lines that could not be encoded as dropped. Never raises."""
        self._lose(lines, error)

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
        except Exception as error:  # noqa: BLE001 - as in _write
            self._report(error)

    def _empty(self) -> None:
        while self._records or self._queue:
            with self._encoding:
                self._encode_slice()
            entries = [self._queue.popleft() for _ in range(min(len(self._queue), MOST))]
            self._taken += sum(lines for _, _, lines in entries)
            for _, of_day in itertools.groupby(entries, key=lambda entry: utc_day(entry[0])):
                times, contents, counts = zip(*of_day, strict=True)
                self._write(Lines(b"".join(contents), sum(counts), times[0]))

    def _encode_slice(self) -> None:
        records = [self._records.popleft() for _ in range(min(len(self._records), SLICE))]
        for _, of_day in itertools.groupby(records, key=lambda record: utc_day(record[0])):
            self._encode_some(list(of_day))

    def _encode_some(self, records: list[Record]) -> None:
        try:
            self._queue.append((records[0][0], self._encode(records), len(records)))
        except Exception as error:  # noqa: BLE001 - an answer is worth more than its line
            if len(records) == 1:
                self._taken += 1
                self._lose(1, error)
                return
            for record in records:  # to lose only the one that cannot be encoded
                self._encode_some([record])

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

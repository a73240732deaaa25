"""The prediction log: one JSON line for each row that was scored, to be compared later with what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import numpy as np

from churn_serving.logs.line_writer import LineWriter
from churn_serving.logs.rotated_file import RotatedFile, files_of_days
from churn_serving.logs.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PREFIX = "served"
"""What the names of the files begin with."""

Source = Literal["id", "features"]
"""Whether a row was looked up by its user id, or came with its features."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was scored, as read.

    Attributes:
        id: The request's id; in a batch `<request id>/<position>`.
        time: When it was scored, UTC, to the millisecond.
        user_id: As the client wrote it.
        model_version: Which model scored.
        score: Probability of churn.
        features: `features_digest` of the encoded vector.
        as_of_date: Day of the features, if known.
        source: Where the features came from.
    """

    id: str
    time: datetime
    user_id: str
    model_version: str
    score: float
    features: str
    as_of_date: date | None
    source: Source


@dataclass(frozen=True)
class LogFile:
    """What one file holds.

    Attributes:
        path: The file.
        rows: Its rows, in the order in which they were scored.
        broken: Numbers of the lines, from 1, that are not rows although they are complete: the file was damaged.
        is_cut_off: Whether the last line has no end, and was skipped: its writer is at work, or was killed.
    """

    path: Path
    rows: list[Served]
    broken: list[int]
    is_cut_off: bool


class PredictionLog:
    """Writes the log, from one event loop.

    Args:
        folder: Where the files go, `data/predictions/log`.
        max_bytes: A file this large is followed by a new one.
        queue: Rows that may wait to be written; more are dropped and counted.
        interval: Seconds until a row is written; a process killed at once loses this much.
        clock: Gives POSIX time, seconds.
        host: Name of the machine or pod, for the file's name.
    """

    def __init__(  # noqa: PLR0913 - all but one by name, with defaults
        self,
        folder: Path,
        *,
        max_bytes: int = 64 * 2**20,
        queue: int = 65_536,
        interval: float = 0.5,
        clock: Callable[[], float] = time.time,
        host: str | None = None,
    ) -> None:
        self._clock = clock
        sink = RotatedFile(folder, PREFIX, max_bytes=max_bytes, host=host)
        self._writer = LineWriter("prediction log", _encoded, sink, limit=queue, interval=interval)
        self._leave = self._writer.record

    @property
    def written(self) -> int:
        """Rows in the files."""
        return self._writer.written

    @property
    def dropped(self) -> int:
        """Rows that could not be logged."""
        return self._writer.dropped

    def record(  # noqa: PLR0913, PLR0917 - an object in between would cost more than the call
        self,
        row_id: str,
        user_id: str,
        version: str,
        score: float,
        packed: bytes,
        as_of_date: date | None,
        *,
        by_id: bool,
    ) -> None:
        """Log one scored row. Never waits, never raises.

        Args:
            row_id: The request's id.
            user_id: As the client wrote it.
            version: The model's version.
            score: Probability of churn.
            packed: The encoded row: F numbers, float64, little-endian. Kept as numbers until it is written, a row would
                take ten times the room, out of the processor's caches.
            as_of_date: Day of the features, if known.
            by_id: Whether the features were looked up, and did not come with the request.
        """
        self._leave((self._clock(), row_id, user_id, version, score, packed, as_of_date, by_id))

    def record_many(  # noqa: PLR0913, PLR0917 - as above
        self,
        request_id: str,
        positions: Sequence[int],
        user_ids: Sequence[str],
        version: str,
        scores: NDArray[np.float64],
        matrix: NDArray[np.float64],
        as_of_dates: Sequence[date | None],
        by_id: Sequence[bool],
    ) -> None:
        """Log the n scored rows of a batch. Never waits, never raises; if the lengths differ, the batch is dropped.

        Args:
            request_id: The request's id.
            positions: (n,) place of each row in the request; rows that were refused leave gaps.
            user_ids: (n,) as the client wrote them.
            version: The model's version.
            scores: (n,) probabilities of churn.
            matrix: (n, F) encoded rows.
            as_of_dates: (n,) day of each row's features, if known.
            by_id: (n,) whether the features were looked up.
        """
        try:
            now = self._clock()
            text = utc_text(now)
            vectors = np.ascontiguousarray(matrix, _LITTLE_ENDIAN)
            columns = zip(positions, user_ids, scores.tolist(), vectors, as_of_dates, by_id, strict=True)
            lines = [
                _Line(
                    f"{request_id}/{position}",
                    text,
                    user_id,
                    version,
                    score,
                    _digest(vector.tobytes()),
                    day,
                    "id" if is_known else "features",
                )
                for position, user_id, score, vector, day, is_known in columns
            ]
            self._writer.offer(now, _encode_lines(lines), len(lines))
        except Exception as error:  # noqa: BLE001 - as above
            self._writer.refuse(error, len(user_ids))

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, and stop; returns whether all was done within `timeout` seconds."""
        return self._writer.close(timeout)


def features_digest(vector: NDArray[np.float64]) -> str:
    """Return 16 hexadecimal digits for an encoded vector (F,): BLAKE2b of its little-endian float64 bytes."""
    return _digest(np.ascontiguousarray(vector, _LITTLE_ENDIAN).tobytes())


def _digest(packed: bytes) -> str:
    return blake2b(packed, digest_size=8).hexdigest()


def read_log(folder: Path, first: date, last: date) -> Iterator[LogFile]:
    """Read the rows scored on the UTC days from `first` to `last`, a file at a time, also while they are written.

    Args:
        folder: Where the files are; need not exist.
        first: First day.
        last: Last day.

    Yields:
        Each file, ordered by the time of its first row.

    Raises:
        OSError: A file cannot be read.
    """
    for path in files_of_days(folder, PREFIX, first, last):
        yield _read_file(path)


def _read_file(path: Path) -> LogFile:
    *lines, rest = path.read_bytes().split(b"\n")
    rows, broken = [], []
    for number, line in enumerate(lines, start=1):
        row = _decoded(line)
        if row is None:
            broken.append(number)
        else:
            rows.append(row)
    return LogFile(path, rows, broken, is_cut_off=bool(rest))


def _decoded(line: bytes) -> Served | None:
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Line(msgspec.Struct, frozen=True):
    """`Served` as written: its time is text already."""

    id: str
    time: str
    user_id: str
    model_version: str
    score: float
    features: str
    as_of_date: date | None
    source: Source


_Row: TypeAlias = "tuple[float, str, str, str, float, bytes, date | None, bool]"


def _encoded(rows: list[_Row]) -> bytes:
    return _encode_lines([_line(row) for row in rows])


def _line(row: _Row) -> _Line:
    seconds, row_id, user_id, version, score, packed, day, by_id = row
    source: Source = "id" if by_id else "features"
    return _Line(row_id, utc_text(seconds), user_id, version, float(score), _digest(packed), day, source)


_LITTLE_ENDIAN = np.dtype("<f8")
_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Served).decode

"""A log in files: one at a time for each process, a new one each UTC day and when the old one is large.

Two processes never share a file, and all lines of a file are of the day that its name begins with. Lines go to the
operating system at once, so a killed process loses none that it had written; they are not flushed to the disk.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from churn_serving.logs.line_writer import write_all
from churn_serving.logs.timestamps import utc_day

if TYPE_CHECKING:
    from io import FileIO

    from churn_serving.logs.line_writer import Lines

CHECK_SECONDS = 1.0
"""How often it is looked whether a file is still where it was: each look may cost the thread a turn."""

_NAME = re.compile(r"_(\d{8})T\d{6}Z_[A-Za-z0-9.-]+_\d+(?:_\d+)?\.jsonl")


@dataclass
class _Open:
    """The file that is being written.

    Attributes:
        file: Unbuffered, opened to append.
        inode: Its number, to notice that the path leads elsewhere.
        day: `utc_day` of all its lines.
        checked: POSIX time at which the path was last seen to lead here.
        size: Bytes of the whole lines in it.
    """

    file: FileIO
    path: Path
    inode: int
    day: int
    checked: float
    size: int = 0


class RotatedFile:
    """Appends lines to `<prefix>_<YYYYMMDDTHHMMSSZ>_<host>_<pid>.jsonl`; a sink of a `LineWriter`.

    The time is that of the first line. If such a file exists, `_2`, `_3`, ... follows the process id. A file that
    somebody moved, removed or replaced is left alone and a new one is begun. After a failed write the file is cut back
    to its last whole line.

    Args:
        folder: Made if need be, also later, if it was removed.
        prefix: Letters that the name begins with.
        max_bytes: A file this large is followed by a new one.
        host: Name of the machine or pod; what a file name should not hold becomes `-`.
    """

    def __init__(self, folder: Path, prefix: str, *, max_bytes: int, host: str | None = None) -> None:
        self._folder = folder
        self._prefix = prefix
        self._max_bytes = max_bytes
        self._host = re.sub(r"[^A-Za-z0-9.-]", "-", host or socket.gethostname())[:63] or "-"
        self._open: _Open | None = None

    def write(self, lines: Lines) -> None:
        """Append lines of one day.

        Raises:
            OSError: They could not be written, and none of them is in the file.
        """
        current = self._file_for(lines.time)
        try:
            write_all(current.file.write, lines.content)
        except OSError:
            self._cut_back(current)
            raise
        current.size += len(lines.content)

    def close(self) -> None:
        """Close the file. The next write begins a new one.

        Raises:
            OSError: Some network file systems say only here that the disk is full.
        """
        current, self._open = self._open, None
        if current:
            current.file.close()

    def _file_for(self, seconds: float) -> _Open:
        current = self._open
        day = utc_day(seconds)
        if current and current.day == day and current.size < self._max_bytes and not _has_gone(current, seconds):
            return current
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        path, file = self._new_file(f"{self._prefix}_{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%SZ}")
        self._open = _Open(file, path, os.fstat(file.fileno()).st_ino, day, seconds)
        return self._open

    def _new_file(self, begin: str) -> tuple[Path, FileIO]:
        for number in itertools.count(1):
            suffix = "" if number == 1 else f"_{number}"
            path = self._folder / f"{begin}_{self._host}_{os.getpid()}{suffix}.jsonl"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                continue
            return path, open(descriptor, "ab", buffering=0)  # noqa: PTH123 - kept open, from a descriptor
        raise AssertionError  # there is always a next number

    def _cut_back(self, current: _Open) -> None:
        try:
            os.ftruncate(current.file.fileno(), current.size)
        except OSError:
            with contextlib.suppress(OSError):
                self.close()


def files_of_days(folder: Path, prefix: str, first: date, last: date) -> list[Path]:
    """Return the files whose lines are of the UTC days from `first` to `last`, oldest first; none without a folder."""
    found = sorted(folder.glob(f"{prefix}_*.jsonl"))
    days = {path: match[1] for path in found if (match := _NAME.fullmatch(path.name.removeprefix(prefix)))}
    return [path for path, day in days.items() if f"{first:%Y%m%d}" <= day <= f"{last:%Y%m%d}"]


def _has_gone(current: _Open, seconds: float) -> bool:
    if abs(seconds - current.checked) < CHECK_SECONDS:
        return False
    current.checked = seconds
    try:
        return current.path.stat().st_ino != current.inode
    except OSError:
        return True

"""Which files have been read, and which days were in them: how late events are found without reading all again."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import msgspec

from churn_serving import atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

UNDATED = "undated"
"""The key of rows that belong to no day."""


class FileContent(msgspec.Struct, frozen=True):
    """One file as it was when it was read.

    Attributes:
        stamp: Size and modification time (or ETag), as text.
        days: ISO day (or `undated`) → a fingerprint of its rows: their number and the sum of their hashes. That of
            the newest day covers what belongs to no day too.
    """

    stamp: str
    days: dict[str, str]


Arrivals = dict[str, FileContent]
"""Path or URL → what it held."""


def read_arrivals(path: Path) -> Arrivals:
    """What has been read so far; empty before the first time."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Arrivals)
    except FileNotFoundError:
        return {}


def write_arrivals(path: Path, arrivals: Arrivals) -> None:
    """Remember what has been read."""
    atomic.write_bytes(path, msgspec.json.encode(arrivals, order="sorted"))


def with_loose_rows(found: dict[str, dict[str, str]], lines: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Let rows of no day, and lines that are no row, count for the newest day of their file: they come with it.

    Args:
        found: File → day → fingerprint.
        lines: Lines that could not be split into columns, each with its file.
    """
    loose = {name: days[UNDATED] for name, days in found.items() if UNDATED in days}
    for line, name in lines:
        loose[name] = f"{loose.get(name, '')}+{zlib.crc32(line.encode())}"
    for name, fingerprint in loose.items():
        days = found.setdefault(name, {})
        newest = max((day for day in days if day != UNDATED), default=UNDATED)
        days[newest] = f"{days.get(newest, '')}+{fingerprint}"
    return found


def touched(before: Arrivals, now: Arrivals) -> set[str]:
    """The days (ISO, or `undated`) whose rows differ: in a new, a changed or a vanished file."""
    days: set[str] = set()
    for name in before.keys() | now.keys():
        old = before[name].days if name in before else {}
        new = now[name].days if name in now else {}
        days |= {day for day in old.keys() | new.keys() if old.get(day) != new.get(day)}
    return days

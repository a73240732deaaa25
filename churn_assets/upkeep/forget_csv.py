"""A person's rows in CSV files: they go, and every other byte stays."""

from __future__ import annotations

import csv
import itertools
from functools import partial
from typing import TYPE_CHECKING

from churn_assets.upkeep.forget_places import Files, UnreadableFileError
from churn_serving import atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from churn_assets.layout import Layout

    IsAbout = Callable[[dict[str, str]], bool]
    """Whether a row, by column, is about the person."""


def daily_lists(layout: Layout, user_id: str) -> Files:
    """The daily lists, the short lists, and the copy of the newest; ranks stay as they were told."""

    def is_about(row: dict[str, str]) -> bool:
        return row.get("user_id") == user_id

    def files() -> Iterable[Path]:
        return sorted(layout.predictions.glob("*.csv"))

    return Files(
        "predictions",
        files,
        partial(rows_in_csv, user_id=user_id, is_about=is_about),
        partial(strip_csv, user_id=user_id, is_about=is_about),
    )


def rows_in_csv(path: Path, user_id: str, is_about: IsAbout) -> int:
    """Count a person's rows.

    Raises:
        UnreadableFileError: It is no CSV in UTF-8.
    """
    return len(_theirs(path, path.read_bytes(), user_id, is_about))


def strip_csv(path: Path, user_id: str, is_about: IsAbout) -> None:
    """Take a person's rows out of a file; the others keep their bytes and their order.

    Raises:
        UnreadableFileError: It is no CSV in UTF-8.
        OSError: It cannot be written; it is as before.
    """
    content = path.read_bytes()
    theirs = _theirs(path, content, user_id, is_about)
    edges = [0, *itertools.chain.from_iterable(theirs), len(content)]
    kept = itertools.starmap(slice, zip(edges[::2], edges[1::2], strict=True))
    atomic.write_bytes(path, b"".join(content[part] for part in kept))


def records_with(content: bytes, needle: bytes) -> Iterator[tuple[int, int]]:
    """Find the records of CSV that have certain bytes, without a look at the others.

    A record ends at a line end outside of quotes: where the number of quotes before it is even.

    Yields:
        Where each begins and ends.
    """
    at = 0  # always between two records
    while at < len(content) and (hit := content.find(needle, at)) >= 0:
        start = max(content.rfind(b"\n", at, hit) + 1, at)
        while content.count(b'"', at, start) % 2:
            start = max(content.rfind(b"\n", at, start - 1) + 1, at)
        at = _end(content, start, min(hit + len(needle), len(content)))
        yield start, at


def _end(content: bytes, start: int, inside: int) -> int:
    """Where the record ends that begins at `start` and reaches to `inside` at least."""
    end = max(inside - 1, start)
    while True:
        end = content.find(b"\n", end) + 1 or len(content)
        if end == len(content) or content.count(b'"', start, end) % 2 == 0:
            return end


def _theirs(path: Path, content: bytes, user_id: str, is_about: IsAbout) -> list[tuple[int, int]]:
    """Where the person's records are; the first one of the file is the header and about nobody."""
    head = _end(content, 0, 0)
    try:
        names = _cells(content[:head])
        return [
            (start, end)
            for start, end in records_with(content, _needle(user_id))
            if start >= head and is_about(dict(zip(names, _cells(content[start:end]), strict=False)))
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(f"{path} cannot be read ({error}): remove it, then run this again") from error


def _cells(record: bytes) -> list[str]:
    text = record.decode("utf-8").removesuffix("\n").removesuffix("\r")
    return next(csv.reader([text]), [])


def _needle(user_id: str) -> bytes:
    """What stands in every file that has the id, however often quotes around it and in it were doubled."""
    return max(user_id.split('"'), key=len).encode()

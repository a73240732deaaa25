"""What readers see of a folder: the newest published table that is whole; an error tells of a newer one that is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_serving.online import pointer
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.keyed_table import KeyedTable

if TYPE_CHECKING:
    from pathlib import Path

    from churn_serving.online.pointer import Entry

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Opened:
    """A published table, mapped, and what its publisher said of it."""

    table: KeyedTable
    entry: Entry


class Publication:
    """The newest table of a folder. Call `poll` every few seconds, from one thread at a time.

    Args:
        folder: Where the pointer lies.

    Attributes:
        current: The table that `poll` has opened last; None before the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current: Opened | None = None
        self._read = b""
        self._refusals = Refusals()

    def poll(self) -> Opened | None:
        """Open what was published since the last call: some 20 µs if nothing was, else the file is read once.

        A file that is refused stays so, at the same low cost, until it or the pointer changes.

        Returns:
            The new table, which is `current` from now on; None if nothing is new.

        Raises:
            NothingPublishedError: There is no pointer.
            OnlineStoreError: What is published cannot be used; `current` is as before.
        """
        content = pointer.read_bytes(self.folder)
        if content == self._read:
            return None
        published = pointer.decode(content, self.folder).published
        if not published:
            raise pointer.NothingPublishedError(f"{self.folder / pointer.POINTER} names no table: publish one")
        entry = published[0]
        if self.current is None or self.current.entry != entry:
            self.current = Opened(self._refusals.open(self.folder, entry), entry)
            self._read = content
            return self.current
        self._read = content
        return None


class Refusals:
    """Opens published tables, and does not read a file again that it has refused before."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[Entry, Stamp, str]] = {}

    def open(self, folder: Path, entry: Entry) -> KeyedTable:
        """Return the table of an entry, its digest checked.

        Raises:
            OnlineStoreError: Its file is missing, or not what was published.
        """
        path = folder / entry.file
        stamp = _stamp(path)
        known = self._refused.get(entry.file)
        if known and known[:2] == (entry, stamp):
            raise OnlineStoreError(known[2])
        try:
            table = _open(path, entry)
        except OnlineStoreError as error:
            if not isinstance(error.__cause__, OSError):  # the file is at fault, not what lies between
                self._refused[entry.file] = (entry, stamp, str(error))
            raise
        self._refused.pop(entry.file, None)
        return table


def _open(path: Path, entry: Entry) -> KeyedTable:
    table = KeyedTable.open(path, entry.sha256)
    if (table.header.as_of_date, len(table)) != (entry.as_of_date, entry.rows):
        raise OnlineStoreError(
            f"{path} has {len(table)} rows as of {table.header.as_of_date}, and {entry.rows} as of {entry.as_of_date} "
            "were published: publish it again"
        )
    return table


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise OnlineStoreError(f"{path} cannot be opened ({error.strerror}): publish it again") from error
    return status.st_ino, status.st_size, status.st_mtime_ns

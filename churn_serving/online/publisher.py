"""Publishes tables: the file first, the pointer last, old files removed once nobody can have them mapped."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from churn_serving.atomic import move, remove_leftovers
from churn_serving.online import pointer
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.keyed_writer import Draft, Written, write_keyed_table
from churn_serving.online.pointer import SUFFIX, Entry, NothingPublishedError, Pointer, Retired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from pathlib import Path

SPARED = 2
"""Retired files that always stay: with the published one, the newest three."""

GRACE = timedelta(minutes=15)
"""How long any retired file stays; readers look for a new pointer far more often."""


class Publisher:
    """Writes the tables of one folder. Several processes may, one after the other.

    Args:
        folder: Where the pointer lies.
        stem: What the files' names begin with.
        keep: Published days; older ones are retired.
        clock: Gives the time, UTC.
        lock_timeout: Seconds to wait for another publisher.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        keep: int,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lock_timeout: float = 300.0,
    ) -> None:
        self.folder = folder
        self._stem = stem
        self._keep = keep
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._lock = FileLock(folder / ".lock")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other publishers out, for those who must not read their input before it is their turn. Nests.

        Raises:
            OnlineStoreError: Another one holds the lock for too long.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=self._lock_timeout)
        except Timeout:
            raise OnlineStoreError(
                f"{self.folder} is locked by another publisher for {self._lock_timeout:.0f} s: run this again later"
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    def publish(self, draft: Draft) -> Entry | None:
        """Publish a table in place of an earlier one of its day.

        Publishing the same again changes nothing. A file that has gone is not counted as published.

        Returns:
            Its entry; None if there are enough newer days already, so that nothing was done.

        Raises:
            OnlineStoreError: The draft cannot be written as a table, or another publisher holds the lock for too long.
            OSError: A file cannot be written; what was published before still is.
        """
        with self.locked():
            remove_leftovers(self.folder, older_than_seconds=0)
            before = self._read()
            others = self._others(before, draft.as_of_date)
            if sum(entry.as_of_date > draft.as_of_date for entry in others) >= self._keep:
                return None
            entry = self._write(draft)
            for published in before.published:
                if (published.file, published.sha256) == (entry.file, entry.sha256):
                    return published
            after = self._follow(before, entry, others)
            pointer.write(self.folder, after)
            self._remove_others(after)
            return entry

    def _read(self) -> Pointer:
        try:
            return pointer.decode(pointer.read_bytes(self.folder), self.folder)
        except NothingPublishedError:
            return Pointer()

    def _others(self, before: Pointer, day: date) -> list[Entry]:
        """What is published of other days, and is there."""
        return [entry for entry in before.published if entry.as_of_date != day and (self.folder / entry.file).is_file()]

    def _write(self, draft: Draft) -> Entry:
        aside = self.folder / f".{self._stem}.part"
        try:
            written = write_keyed_table(aside, draft)
            path = self.folder / self._name(draft.as_of_date, written)
            move(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        return Entry(
            as_of_date=draft.as_of_date,
            file=path.name,
            rows=written.rows,
            size=written.size,
            sha256=written.sha256,
            published_at=self._clock(),
        )

    def _name(self, day: date, written: Written) -> str:
        return f"{self._stem}_{day.isoformat()}_{written.sha256[:16]}{SUFFIX}"

    def _follow(self, before: Pointer, entry: Entry, others: list[Entry]) -> Pointer:
        """The pointer with one more entry."""
        published = sorted([entry, *others], key=lambda one: one.as_of_date, reverse=True)[: self._keep]
        current = {one.file for one in published}
        known = {one.file: one for one in before.retired}
        now = self._clock()
        retired = [
            known.get(path.name) or Retired(file=path.name, since=now)
            for path in self.folder.glob(f"*{SUFFIX}")
            if path.name not in current
        ]
        retired.sort(key=lambda one: (one.since, one.file), reverse=True)
        spared = [one for place, one in enumerate(retired) if place < SPARED or now - one.since < GRACE]
        return Pointer(published=tuple(published), retired=tuple(spared))

    def _remove_others(self, after: Pointer) -> None:
        mentioned = {one.file for one in after.published} | {one.file for one in after.retired}
        for path in self.folder.glob(f"*{SUFFIX}"):
            if path.name not in mentioned:
                path.unlink(missing_ok=True)

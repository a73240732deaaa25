"""Reads files for a backup, once each, and stores what the place does not have."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from churn_assets.upkeep import backup_database
from churn_assets.upkeep.backup_files import Source, has_grown, mode_of, stamp_of
from churn_assets.upkeep.backup_manifest import BackupError, BackupManifest, Root, StoredFile
from churn_assets.upkeep.backup_store import ChangedWhileReadError, Store, chunks_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ATTEMPTS = 5
"""How often a file is read that changes in place; this project replaces files, so only foreign ones do."""

SETTLED_NS = 2_000_000_000
"""A file that had changed so shortly before is read again: time stamps are too coarse to tell two writes apart."""

Progress = Callable[[str, int, int], None]
"""Told what is done, how many files of it, and of how many."""


@dataclass
class Collector:
    """The files of one backup.

    Args:
        store: Where they go.
        stored: Digest → size of what is there.
        previous: The backup of this machine before; what has not changed since is not read again.
        copies: A folder for copies of databases.
        progress: Told of each file.
        dry_run: Send nothing.
        verify: Believe neither the previous backup nor what is stored: read both again, and send what is damaged.

    Attributes:
        taken: Every file, by its place.
        sent: Files whose bytes were new to the store (or would be).
    """

    store: Store
    stored: dict[str, int]
    previous: BackupManifest | None
    copies: Path
    progress: Progress
    dry_run: bool = False
    verify: bool = False
    taken: dict[tuple[Root, str], StoredFile] = field(default_factory=dict)
    sent: list[StoredFile] = field(default_factory=list)

    def __post_init__(self) -> None:
        files = self.previous.files if self.previous and not self.verify else ()
        self._before = {(file.root, file.path): file for file in files}
        self._sound: set[str] = set()

    def take(self, doing: str, sources: Sequence[Source]) -> None:
        """Read and store files; one that has vanished is left out.

        Args:
            doing: What this is, for the progress.
            sources: The files.

        Raises:
            BackupError: A file cannot be read or stored, or changes each time it is read.
        """
        for number, source in enumerate(sources):
            self.progress(doing, number, len(sources))
            file = self._take(source)
            if file is None:
                self.taken.pop(source.key, None)
            else:
                self.taken[source.key] = file
        self.progress(doing, len(sources), len(sources))

    def changed(self, sources: Sequence[Source]) -> list[Source]:
        """Return what is not, or no longer, as it was taken; forget what is gone. A log that has grown is as it was."""
        found = {source.key for source in sources}
        roots = {source.root for source in sources}
        for key in [key for key in self.taken if key[0] in roots and key not in found]:
            del self.taken[key]
        return [source for source in sources if not self._is_as_taken(source)]

    def _is_as_taken(self, source: Source) -> bool:
        file = self.taken.get(source.key)
        try:
            now = stamp_of(source.file.stat())
        except FileNotFoundError:
            return file is None
        return file is not None and (file.stamp == now or (source.is_log and has_grown(file.stamp, now)))

    def _take(self, source: Source) -> StoredFile | None:
        try:
            if source.root == "dagster" and backup_database.is_database(source.file):
                return self._take_database(source)
            return self._take_file(source)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackupError(f"{source.file} cannot be read: {error.strerror}; no backup was made") from None

    def _take_database(self, source: Source) -> StoredFile:
        status = source.file.stat()
        stamp = (*stamp_of(status), *backup_database.log_size(source.file))
        if (known := self._unchanged(source, stamp)) and self._is_stored(known):
            return known
        with backup_database.copied(source.file, self.copies) as copy, copy.open("rb") as file:
            return self._store(source, file, copy.stat().st_size, status, stamp)

    def _take_file(self, source: Source) -> StoredFile:
        for _ in range(ATTEMPTS):
            with source.file.open("rb") as file:
                status = os.fstat(file.fileno())
                before = stamp_of(status)
                try:
                    stored = self._store(source, file, status.st_size, status, before)
                except ChangedWhileReadError:
                    continue
                after = stamp_of(os.fstat(file.fileno()))
            if before[:2] == after[:2] or has_grown(before, after):
                return stored
        raise BackupError(
            f"{source.file} was rewritten in place each of the {ATTEMPTS} times that it was read; no backup was made: "
            "stop what writes it, or move it elsewhere"
        )

    def _store(
        self, source: Source, file: BinaryIO, size: int, status: os.stat_result, stamp: tuple[int, ...]
    ) -> StoredFile:
        known = self._unchanged(source, stamp)
        stored = StoredFile(
            root=source.root,
            path=source.path,
            size=size,
            mtime_ns=status.st_mtime_ns,
            mode=mode_of(status),
            sha256=known.sha256 if known else _digest(file, size),
            stamp=stamp,
        )
        if not self._is_stored(stored):
            if not self.dry_run:
                self.store.add(stored.sha256, size, file)
            self.stored[stored.sha256] = size
            self._sound.add(stored.sha256)
            self.sent.append(stored)
        return stored

    def _unchanged(self, source: Source, stamp: tuple[int, ...]) -> StoredFile | None:
        """What the previous backup has of a file, if the file is as it was then."""
        known = self._before.get(source.key)
        if known is None or known.stamp != stamp or self.previous is None:
            return None
        began = int(self.previous.started_at.timestamp() * 1e9)
        return known if max(stamp[1], stamp[2]) + SETTLED_NS < began else None

    def _is_stored(self, file: StoredFile) -> bool:
        if self.stored.get(file.sha256) != file.size:
            return False
        if self.verify and file.sha256 not in self._sound:
            if not self.store.is_sound(file):
                return False
            self._sound.add(file.sha256)
        return True


def _digest(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    for chunk in chunks_of(file, size):
        digest.update(chunk)
    return digest.hexdigest()

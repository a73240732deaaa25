"""`production_latest.joblib`: one file that operators copy onto, known by its digest."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from churn_serving.atomic import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

SETTLED_SECONDS = 2.0
"""A file written less long ago is read again: its time stamp is too coarse to tell two writes apart."""


@dataclass(frozen=True)
class Production:
    """The version that serves, and since when, by whom and why."""

    version: str
    artifact_sha256: str
    promoted_at: datetime
    promoted_because: str
    actor: str


class Alias:
    """The alias file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[tuple[int, int, int], str] | None = None

    def digest(self) -> str:
        """Return the SHA-256 of the alias's bytes, empty if there is no alias; unread while it is unchanged.

        It is opened each time: only that makes a network file system ask its server for the file as it is now.

        Raises:
            OSError: It cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                before = _stamp(file.fileno())
                if self._known and self._known[0] == before:
                    return self._known[1]
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                is_settled = _stamp(file.fileno()) == before and time.time() - before[1] / 1e9 > SETTLED_SECONDS
        except FileNotFoundError:
            return ""
        self._known = (before, digest) if is_settled else None
        return digest

    def replace(self, content: bytes) -> None:
        """Put `content` there by one rename.

        Raises:
            OSError: It cannot be written; then the alias is as before.
        """
        write_bytes(self.path, content)


def _stamp(descriptor: int) -> tuple[int, int, int]:
    stat = os.fstat(descriptor)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino

"""What may hold a person: kinds of files, each of which can say how much of a person it has, and let go of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Found = dict[Path, int]
"""Files that hold a person, and how many rows of each are about them."""


class ForgetError(RuntimeError):
    """A person cannot be forgotten, or not yet; the message says why, and what to do."""


class UnreadableFileError(ForgetError):
    """A file cannot be searched, so that nobody can say whom it holds."""


class Place(Protocol):
    """Files of one kind."""

    @property
    def kind(self) -> str:
        """What they are, as the receipt has it."""

    def find(self) -> Found:
        """Look for the person.

        Raises:
            UnreadableFileError: A file is damaged.
        """

    def erase(self, files: Sequence[Path]) -> None:
        """Take the person out of files that `find` has named. Whoever reads them may go on for some seconds.

        Raises:
            OSError: One cannot be written; it is as before.
        """

    def finish(self) -> None:
        """Remove what could not go as long as somebody might still read or write it.

        Raises:
            OSError: A file cannot be written or removed.
        """


@dataclass(frozen=True)
class Files:
    """Files that are replaced as a whole, so that nobody is in the way.

    Attributes:
        kind: What they are.
        all: Gives those that are there.
        count: Rows of one that are about the person.
        strip: Takes these rows out.
    """

    kind: str
    all: Callable[[], Iterable[Path]]
    count: Callable[[Path], int]
    strip: Callable[[Path], None]

    def find(self) -> Found:
        """Look for the person."""
        rows = {path: self.count(path) for path in self.all() if path.exists()}
        return {path: count for path, count in rows.items() if count}

    def erase(self, files: Sequence[Path]) -> None:
        """Take the person out."""
        for path in files:
            self.strip(path)

    def finish(self) -> None:
        """Nothing is left to do."""

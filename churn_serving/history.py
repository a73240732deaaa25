"""The registry's history: who made which version the production model, when and why; append-only and chained."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from churn_serving.atomic import write_bytes
from churn_serving.manifest import sha256

if TYPE_CHECKING:
    from pathlib import Path

Action = Literal[
    "registered",
    "intended",
    "abandoned",
    "promoted",
    "rolled back",
    "changed outside",
    "alias unknown",
    "refused",
    "removed",
]

SERVING = frozenset({"promoted", "rolled back", "changed outside"})
"""Actions that made their version the production model."""

SEEN = SERVING | {"alias unknown"}
"""Actions that say what the alias held."""

BEGINNING = "0" * 64
"""What stands for the line before the first."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the history.

    Attributes:
        number: 1, 2, 3, ...
        time: When, UTC.
        actor: Who: a person, a run, or `registry` for what it found out by itself.
        action: What happened. `intended` stands before a change, so that a process that dies in the middle leaves a
            trace; `promoted`, `rolled back` or `removed` follows when it is done, `abandoned` if it never was.
        version: Which version; empty for an alias that no version has.
        reason: Why, in a sentence or more.
        evidence: Gates, figures, run ids.
        alias: SHA-256 of the alias from then on; empty if it does not change or is gone.
        answers: For what follows an intent: that entry's number.
        intends: For an intent: the action that it is to become.
        previous: SHA-256 of the line before.
        seal: SHA-256 of the entry without this field, so that a change of the last line shows as well.
    """

    number: int
    time: datetime
    actor: str
    action: Action
    version: str
    reason: str = ""
    evidence: dict[str, Any] = {}
    alias: str = ""
    answers: int = 0
    intends: Literal["", "promoted", "rolled back", "removed"] = ""
    previous: str = BEGINNING
    seal: str = ""


class _Head(msgspec.Struct, frozen=True):
    """How far the history went when it was last written."""

    number: int = 0
    sha256: str = BEGINNING


class History:
    """The lines of one file, and beside it how many there are. Whoever appends holds the registry's lock.

    The chain shows a line that was changed, taken out or put in. That the newest lines were cut off shows in the head,
    a file of its own: it is written after each line, so it is never ahead of an honest history.

    Args:
        path: The file, `history.jsonl`; the head is `history.head.json`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head_path = path.with_name("history.head.json")
        self._known: tuple[tuple[int, int, int], list[Entry]] | None = None

    def entries(self) -> list[Entry]:
        """Return all entries that can be read, oldest first. The file is read again only when it has changed.

        It is opened each time, as the alias is: only that makes a network file system ask its server.
        """
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                stamp = stat.st_size, stat.st_mtime_ns, stat.st_ino
                if self._known is None or self._known[0] != stamp:
                    decoded = (_decode(line) for line in file.read().splitlines())
                    self._known = stamp, [entry for entry in decoded if entry is not None]
        except FileNotFoundError:
            return []
        return list(self._known[1])

    def append(self, draft: Entry) -> Entry:
        """Add a line, numbered and chained to the one before; the file is replaced as a whole, so no line is torn.

        Where lines were cut off, the new line goes on from the last that was written: the gap stays visible.

        Raises:
            OSError: The file cannot be written; then it is as before.
        """
        lines = self._lines()
        last = _Head(len(lines), sha256(lines[-1])) if lines else _Head()
        last = max(last, self._head() or last, key=lambda head: head.number)
        entry = msgspec.structs.replace(draft, number=last.number + 1, previous=last.sha256)
        entry = msgspec.structs.replace(entry, seal=_seal(entry))
        lines.append(_encode(entry))
        write_bytes(self._path, b"\n".join(lines) + b"\n")
        write_bytes(self._head_path, msgspec.json.encode(_Head(entry.number, sha256(lines[-1]))))
        return entry

    def first_bad_line(self) -> int | None:
        """Return the number of the first line that was changed, removed or put in later; None if all are sound.

        If the newest lines are gone, that is the first of them.
        """
        previous, lines = BEGINNING, self._lines()
        for number, line in enumerate(lines, start=1):
            entry = _decode(line)
            if entry is None or (entry.number, entry.previous, entry.seal) != (number, previous, _seal(entry)):
                return number
            if _encode(entry) != line:  # the same said with other bytes, which only the next line would notice
                return number
            previous = sha256(line)
        return None if self._ends_well(lines) else len(lines) + 1

    def _ends_well(self, lines: list[bytes]) -> bool:
        """Whether nothing is missing at the end, and nothing stands there that is no line."""
        whole = b"".join(line + b"\n" for line in lines)
        if lines and self._path.read_bytes() != whole:
            return False
        head = self._head()
        if head is None:  # the process that wrote the first line died before it could say so
            return len(lines) <= 1
        return head.number <= len(lines) and (not head.number or sha256(lines[head.number - 1]) == head.sha256)

    def _head(self) -> _Head | None:
        try:
            return msgspec.json.decode(self._head_path.read_bytes(), type=_Head)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _lines(self) -> list[bytes]:
        return self._path.read_bytes().splitlines() if self._path.exists() else []


def serving_order(entries: list[Entry]) -> list[Entry]:
    """Return the entries of the production models in the order in which a rollback goes back through them.

    Going back to a version takes those after it out: after A, B, C and a rollback to B, A comes before B.
    """
    stack: list[Entry] = []
    for entry in entries:
        if entry.action in SERVING:
            before = [earlier.version for earlier in stack]
            if entry.version in before:
                del stack[before.index(entry.version) :]
            stack.append(entry)
    return stack


def _seal(entry: Entry) -> str:
    return sha256(_encode(msgspec.structs.replace(entry, seal="")))


def _encode(entry: Entry) -> bytes:
    return msgspec.json.encode(entry, enc_hook=_plain)


def _decode(line: bytes) -> Entry | None:
    try:
        return msgspec.json.decode(line, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)

"""The registry's history: who made which version the production model, when and why; append-only and chained."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from churn_serving.atomic import write_bytes
from churn_serving.manifest import sha256

if TYPE_CHECKING:
    from pathlib import Path

Action = Literal[
    "registered", "intended", "abandoned", "promoted", "rolled back", "changed outside", "alias unknown", "refused"
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
        action: What happened. `intended` stands before a change of the alias, so that a process that dies in the
            middle leaves a trace; `promoted` or `rolled back` follows when it is done, `abandoned` if it never was.
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
    intends: Literal["", "promoted", "rolled back"] = ""
    previous: str = BEGINNING
    seal: str = ""


class History:
    """The lines of one file. Whoever appends holds the registry's lock.

    Args:
        path: The file, `history.jsonl`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[Entry]:
        """Return all entries that can be read, oldest first."""
        entries = (_decode(line) for line in self._lines())
        return [entry for entry in entries if entry is not None]

    def append(self, draft: Entry) -> Entry:
        """Add a line, numbered and chained to the one before; the file is replaced as a whole, so no line is torn.

        Raises:
            OSError: The file cannot be written; then it is as before.
        """
        lines = self._lines()
        previous = sha256(lines[-1]) if lines else BEGINNING
        entry = msgspec.structs.replace(draft, number=len(lines) + 1, previous=previous)
        entry = msgspec.structs.replace(entry, seal=_seal(entry))
        lines.append(msgspec.json.encode(entry, enc_hook=_plain))
        write_bytes(self._path, b"\n".join(lines) + b"\n")
        return entry

    def first_bad_line(self) -> int | None:
        """Return the number of the first line that was changed, removed or put in later; None if all are sound."""
        previous = BEGINNING
        for number, line in enumerate(self._lines(), start=1):
            entry = _decode(line)
            if entry is None or (entry.number, entry.previous, entry.seal) != (number, previous, _seal(entry)):
                return number
            previous = sha256(line)
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
    return sha256(msgspec.json.encode(msgspec.structs.replace(entry, seal=""), enc_hook=_plain))


def _decode(line: bytes) -> Entry | None:
    try:
        return msgspec.json.decode(line, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def answer(intent: Entry, *, is_done: bool) -> Entry:
    """Return what became of an intent whose process died."""
    return msgspec.structs.replace(
        intent,
        action=(intent.intends or "promoted") if is_done else "abandoned",
        alias=intent.alias if is_done else "",
        answers=intent.number,
        intends="",
        seal="",
    )

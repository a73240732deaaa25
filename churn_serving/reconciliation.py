"""What the registry's files tell and its history does not: what a dead process had begun, or a hand has done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from churn_serving.history import SEEN, SERVING, Entry

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from churn_serving.versions import Versions

ITSELF = "registry"
"""The actor of what the registry finds out by itself."""

OUTSIDE = "outside"
"""The actor of what was done by hand."""


@dataclass(frozen=True)
class Found:
    """The files as they are.

    Attributes:
        root: The registry's folder.
        versions: The versions in it.
        digest: SHA-256 of the alias; empty if there is none.
        now: The time, UTC.
    """

    root: Path
    versions: Versions
    digest: str
    now: datetime

    def entry(self, action: Any, version: str, reason: str, *, actor: str = ITSELF, alias: str = "") -> Entry:
        """Return a line about them, not yet numbered."""
        named = {"actor": actor, "action": action, "version": version, "reason": reason, "alias": alias}
        return Entry(number=0, time=self.now, **named)

    def is_done(self, intent: Entry) -> bool:
        """Whether what was intended came about."""
        if intent.intends == "removed":
            return not (self.root / intent.version).exists()
        return intent.alias == self.digest


def unwritten(entries: list[Entry], found: Found) -> list[Entry]:
    """Return the lines that the history lacks, in the order in which they are to be written.

    Args:
        entries: The history.
        found: The files as they are.
    """
    answered = {entry.answers for entry in entries}
    open_intents = [entry for entry in entries if entry.action == "intended" and entry.number not in answered]
    new = [_answer(intent, is_done=found.is_done(intent)) for intent in open_intents]
    new += _versions([*entries, *new], found)
    seen = next((entry.alias for entry in reversed([*entries, *new]) if entry.action in SEEN), "")
    return new if seen == found.digest else [*new, _outside_change([*entries, *new], found)]


def _versions(entries: list[Entry], found: Found) -> list[Entry]:
    """Versions that are there and not in the history, and the other way round."""
    last = {entry.version: entry.action for entry in entries if entry.action in {"registered", "removed"}}
    listed = {version for version, action in last.items() if action == "registered"}
    there = set(found.versions.names())
    there_only = [
        found.entry("registered", version, "found in the registry, not in the history")
        for version in sorted(there - listed)
    ]
    gone = [found.entry("removed", version, "its folder is gone", actor=OUTSIDE) for version in sorted(listed - there)]
    return there_only + gone


def _outside_change(entries: list[Entry], found: Found) -> Entry:
    """The alias as a hand has left it; of twins, byte for byte, it names the one that served before."""
    served = (entry.version for entry in reversed(entries) if entry.action in SERVING and entry.alias == found.digest)
    if version := found.versions.of_digest(found.digest, likely=next(served, "")):
        reason = "the alias was changed by hand"
        return found.entry("changed outside", version, reason, actor=OUTSIDE, alias=found.digest)
    reason = "the alias is not a registered model" if found.digest else "the alias is gone"
    return found.entry("alias unknown", "", reason, actor=OUTSIDE, alias=found.digest)


def _answer(intent: Entry, *, is_done: bool) -> Entry:
    """Return what became of an intent whose process died."""
    return msgspec.structs.replace(
        intent,
        action=(intent.intends or "promoted") if is_done else "abandoned",
        alias=intent.alias if is_done else "",
        answers=intent.number,
        intends="",
        seal="",
    )

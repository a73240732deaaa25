"""The receipt of an erasure: what was touched and what was not, without a word on who it was."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from churn_assets.model_registry import open_registry
from churn_assets.upkeep.backup_store import without_secrets
from churn_serving import atomic
from churn_serving.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.workspace import Workspace

HASH_DIGITS = 12
"""Of the tombstone's hash, in a receipt's name."""


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """Files of one kind that held the person.

    Attributes:
        kind: What they are.
        files: How many.
        rows: Rows about the person, over all of them.
    """

    kind: str
    files: int
    rows: int


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """A model that may have learned from the person: a split of its history reaches over days when they were at risk.

    Attributes:
        version: Which.
        splits: Which of its splits; rows of `test` were not learned from, but judged with.
    """

    version: str
    splits: tuple[str, ...]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, and what was done.

    Attributes:
        state: `begun`, or `done` once nothing more of the person was found.
        hash: The tombstone's.
        asked_by: Who asked.
        begun_at: When, UTC.
        finished_at: Likewise; None before.
        seconds: How long the erasure took; with an interruption, the last attempt.
        touched: Files that held the person.
        may_have_learned: Models that may have learned from them.
        not_covered: Where the person may still be.
        notes: What else there is to know.
    """

    state: str
    hash: str
    asked_by: str
    begun_at: datetime
    finished_at: datetime | None = None
    seconds: float | None = None
    touched: tuple[Touched, ...] = ()
    may_have_learned: tuple[Learned, ...] = ()
    not_covered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def receipt_path(layout: Layout, receipt: Receipt) -> Path:
    """Where a receipt lies."""
    return layout.receipts / f"{receipt.begun_at:%Y%m%dT%H%M%SZ}_{receipt.hash[:HASH_DIGITS]}.json"


def write_receipt(layout: Layout, receipt: Receipt) -> Path:
    """Write a receipt, or write it again.

    Raises:
        OSError: It cannot be written.
    """
    path = receipt_path(layout, receipt)
    atomic.write_bytes(path, msgspec.json.format(msgspec.json.encode(receipt), indent=2) + b"\n")
    return path


def last_receipt(layout: Layout, tombstone: str) -> Receipt | None:
    """The newest receipt for a tombstone's hash; None if there is none that can be read."""
    for path in sorted(layout.receipts.glob(f"*_{tombstone[:HASH_DIGITS]}.json"), reverse=True):
        try:
            receipt = msgspec.json.decode(path.read_bytes(), type=Receipt)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if receipt.hash == tombstone:
            return receipt
    return None


def may_have_learned(workspace: Workspace, days: Collection[date]) -> tuple[Learned, ...]:
    """Models whose history reaches over days on which the person was at risk.

    Args:
        workspace: Where.
        days: Days on which the person did something. They were at risk from the first of them until some time after
            the last.
    """
    if not days:
        return ()
    registry = open_registry(workspace)
    first, last = min(days), max(days) + timedelta(days=workspace.settings.population.active_within_days)
    found = []
    for summary in registry.versions():
        try:
            periods = registry.show(summary.version).training
        except ArtifactError:
            found.append(Learned(version=summary.version, splits=("unknown",)))
            continue
        splits = tuple(name for name, period in periods.items() if period.first <= last and first <= period.last)
        if splits:
            found.append(Learned(version=summary.version, splits=splits))
    return tuple(found)


def not_covered(workspace: Workspace) -> tuple[str, ...]:
    """Where the person may still be, for people to see to."""
    backups = without_secrets(workspace.settings.backup.destination) or "wherever `churn backup` has written to"
    source = workspace.settings.source.kind
    return (
        f"backups ({backups}): those made before hold the person until they age out; after a restore, run this again",
        f"the source ({source}) itself: it goes on giving the person, and every ingest leaves them out",
        "the models named here: what they learned, and the rows without ids that travel with them",
        "Dagster's storage, but for rejected rows that checks show: messages of failed runs may name a user",
        "copies that somebody took, and mail or chat messages",
    )

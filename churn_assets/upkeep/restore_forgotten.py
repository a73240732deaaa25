"""Whoever was forgotten stays so: tombstones and receipts that are younger than a backup outlive its restore."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from churn_assets.upkeep.restore_swap import aside
from churn_serving import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.upkeep.backup_files import Places

AGAIN = "are back in what was restored: run `churn forget` for each of them again"


def carry_over(layout: Layout, places: Places, name: str) -> list[str]:
    """Add to what was gathered what is known here of people who were forgotten since.

    Args:
        layout: The deployment, as it is.
        places: Its folders.
        name: The backup that was gathered.

    Returns:
        What a person has to do about it.

    Raises:
        TombstonesError: Tombstones are damaged, here or in the backup.
        OSError: A file cannot be written.
    """
    _carry_receipts(layout.receipts, aside(places.artifacts, name) / layout.receipts.relative_to(layout.artifacts))
    return _carry_tombstones(layout.tombstones, aside(places.data, name) / layout.tombstones.relative_to(layout.data))


def _carry_receipts(here: Path, gathered: Path) -> None:
    for receipt in here.glob("*") if here.is_dir() else ():
        if receipt.is_file() and not (gathered / receipt.name).exists():
            with atomic.writing(gathered / receipt.name) as part:
                shutil.copy2(receipt, part)


def _carry_tombstones(here: Path, gathered: Path) -> list[str]:
    import msgspec

    from churn_assets.ingest.tombstones import read_tombstones

    if not here.exists():
        return []
    ours, theirs = read_tombstones(here), read_tombstones(gathered)
    known = {one.hash for one in theirs.forgotten}
    younger = tuple(one for one in ours.forgotten if one.hash not in known)
    if not younger:
        return []
    if not theirs.forgotten:
        merged = ours
    elif ours.salt == theirs.salt:
        merged = msgspec.structs.replace(theirs, forgotten=(*theirs.forgotten, *younger))
    else:
        return [f"{len(younger)} tombstones have another key than the backup's and could not be kept; they {AGAIN}"]
    atomic.write_bytes(gathered, msgspec.json.format(msgspec.json.encode(merged), indent=2) + b"\n")
    return [f"{len(younger)} people who were forgotten after this backup was made {AGAIN}"]

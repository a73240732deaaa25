"""What lies in a place with backups, and whether it is sound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn_assets.upkeep.backup_manifest import BackupError

if TYPE_CHECKING:
    from churn_assets.upkeep.backup_collect import Progress
    from churn_assets.upkeep.backup_manifest import BackupManifest, StoredFile
    from churn_assets.upkeep.backup_store import Store


@dataclass(frozen=True)
class Inspected:
    """A backup whose every byte was read.

    Attributes:
        manifest: The backup.
        damaged: Files whose stored bytes are gone or wrong.
    """

    manifest: BackupManifest
    damaged: tuple[StoredFile, ...]


def list_backups(store: Store, now: datetime | None = None) -> list[dict[str, Any]]:
    """Return a row for each backup, newest first: its name, age, files, size, and what is wrong with its manifest.

    Raises:
        BackupError: The place cannot be read.
    """
    return [_row(store, name, now or datetime.now(UTC)) for name in reversed(store.names())]


def inspect(store: Store, name: str = "", *, progress: Progress) -> Inspected:
    """Read every object of a backup, by default of the newest.

    Raises:
        BackupError: There is no such backup, its manifest cannot be trusted, or the place cannot be read.
    """
    manifest = store.manifest(name) if name else store.newest()
    bad, objects = set(), manifest.objects
    for number, (digest, file) in enumerate(objects.items()):
        progress("reading", number, len(objects))
        if not store.is_sound(file):
            bad.add(digest)
    progress("reading", len(objects), len(objects))
    return Inspected(manifest, tuple(file for file in manifest.files if file.sha256 in bad))


def _row(store: Store, name: str, now: datetime) -> dict[str, Any]:
    try:
        manifest = store.manifest(name)
    except BackupError as error:
        return {"backup": name, "age": "", "files": 0, "bytes": 0, "serves": "", "problem": str(error)}
    return {
        "backup": name,
        "age": _age((now - manifest.started_at).total_seconds()),
        "files": len(manifest.files),
        "bytes": manifest.size,
        "serves": manifest.serves,
        "problem": "" if manifest.steady else "files changed while it was made",
    }


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"

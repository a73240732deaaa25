"""`churn backup`: everything that cannot be made again, consistent while jobs run; only what is new is sent.

Every file of this project is replaced by a rename, so each one that is read is whole. That they also belong together is
seen to in three steps. Dagster's database goes first: what it does not know of yet is at most built a second time. Then
all files are read. At last, while the registry is kept still, they are looked at once more and what has changed is read
again, until a look finds nothing changed: then all of them are as they were at the one instant before that look.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from churn_assets.model_registry import open_registry
from churn_assets.upkeep import backup_database
from churn_assets.upkeep.backup_collect import Collector, Progress
from churn_assets.upkeep.backup_files import EXCLUDED, RECORD, Places, Source
from churn_assets.upkeep.backup_manifest import BackupError, BackupManifest, BackupRecord, StoredFile, new_name
from churn_assets.upkeep.backup_store import Store
from churn_assets.upkeep.exclusive import exclusive
from churn_assets.upkeep.restore_swap import refuse_if_interrupted
from churn_serving import atomic
from churn_serving.errors import ForeignAliasError

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace
    from churn_serving.registry import Registry

LOOKS = 6
"""How often files are looked at again; if they still change, what was read is kept and said to be unsteady."""


@dataclass(frozen=True)
class Saved:
    """A backup that was made, or would be.

    Attributes:
        manifest: What is in it.
        destination: Where, without secrets.
        sent: Files whose bytes were new there.
        seconds: How long it took.
    """

    manifest: BackupManifest
    destination: str
    sent: tuple[StoredFile, ...]
    seconds: float

    @property
    def sent_bytes(self) -> int:
        """Bytes that were new to the place."""
        return sum(file.size for file in self.sent)


def back_up(
    workspace: Workspace, destination: str, *, progress: Progress, dry_run: bool = False, verify: bool = False
) -> Saved:
    """Back a deployment up.

    Args:
        workspace: The deployment.
        destination: A folder or an fsspec URL.
        progress: Told of each file.
        dry_run: Send and write nothing.
        verify: Read every file and every stored object again, whatever is known of them; send what is damaged.

    Raises:
        BackupError: Nothing is there to save, a file cannot be read, or the place cannot be read or written. Then there
            is no new backup, and earlier ones are untouched.
        UpkeepBusyError: Another upkeep is going on.
        RegistryBusyError: Another process holds the registry's lock.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    store, places = Store(destination), Places.of(workspace)
    _refuse_inside(store, places)
    with exclusive(workspace.layout, "backing up"):
        refuse_if_interrupted(places)
        collector = _collector(workspace, store, progress, dry_run=dry_run, verify=verify)
        try:
            manifest = _collected(workspace, places, collector, began)
        finally:
            backup_database.remove_copies(collector.copies)
        saved = Saved(manifest, store.shown, tuple(collector.sent), time.monotonic() - clock)
        if not dry_run:
            store.add_manifest(manifest)
            _record(places, saved)
    return saved


def _collector(workspace: Workspace, store: Store, progress: Progress, *, dry_run: bool, verify: bool) -> Collector:
    return Collector(
        store,
        store.objects(),
        _previous(store),
        workspace.layout.temporary / "backup",
        progress,
        dry_run=dry_run,
        verify=verify,
    )


def _collected(workspace: Workspace, places: Places, collector: Collector, began: datetime) -> BackupManifest:
    database = backup_database.find_database(places)
    sources = places.sources()
    if not sources:
        raise BackupError(f"there is nothing to back up in {places.data} and {places.artifacts}: is this the place?")
    collector.take("Dagster's database", [*_configuration(places), *database.files])
    collector.take("files", sources)
    registry = open_registry(workspace)
    with _still(registry):
        steady = _settled(collector, places)
        serves = _serves(registry)
    return BackupManifest(
        name=new_name(collector.store.names(), began),
        started_at=began,
        finished_at=datetime.now(UTC),
        host=socket.gethostname(),
        tool=importlib.metadata.version("churn-mlops"),
        serves=serves,
        steady=steady,
        database=database.said,
        excluded=EXCLUDED,
        files=tuple(sorted(collector.taken.values(), key=lambda file: (file.root, file.path))),
    )


def _settled(collector: Collector, places: Places) -> bool:
    """Take again what has changed, until nothing has; whether that came about."""
    for _ in range(LOOKS):
        known = len(collector.taken)
        changed = collector.changed(places.sources())
        if not changed and len(collector.taken) == known:
            return True
        collector.take("what has changed since", changed)
    return False


def _configuration(places: Places) -> list[Source]:
    path = places.configuration
    return [Source("configuration", path.name, path)] if path and path not in places.secrets else []


def _still(registry: Registry) -> contextlib.AbstractContextManager[None]:
    return registry.still("backing up") if registry.root.is_dir() else contextlib.nullcontext()


def _serves(registry: Registry) -> str:
    try:
        production = registry.production()
    except ForeignAliasError:
        return ""
    return production.version if production else ""


def _previous(store: Store) -> BackupManifest | None:
    """The newest backup of this machine that can be read."""
    for name in reversed(store.names()):
        with contextlib.suppress(BackupError):
            manifest = store.manifest(name)
            if manifest.host == socket.gethostname():
                return manifest
    return None


def _refuse_inside(store: Store, places: Places) -> None:
    for folder in (places.data, places.artifacts):
        if store.folder and (store.folder == folder or folder in store.folder.parents):
            raise BackupError(f"{store.folder} lies in {folder}, and would be lost with it: choose another place")


def _record(places: Places, saved: Saved) -> None:
    """Write down that there is a backup, for whoever asks how old it is."""
    record = BackupRecord(
        at=saved.manifest.started_at,
        destination=saved.destination,
        name=saved.manifest.name,
        files=len(saved.manifest.files),
        bytes=saved.manifest.size,
    )
    atomic.write_json(places.artifacts / RECORD, msgspec.to_builtins(record))

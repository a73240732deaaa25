"""`churn restore`: a deployment as a backup has it, to the byte and to the nanosecond.

Every file is fetched and its digest checked before anything that is there is touched; then the old is moved aside and
the new in. A restore that was cut off is taken up again by the same command.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.model_registry import open_registry
from churn_assets.upkeep import restore_forgotten, restore_swap
from churn_assets.upkeep.backup_database import CONFIGURATION, find_database
from churn_assets.upkeep.backup_files import BEFORE_RESTORE, RESTORED_SETTINGS, Places
from churn_assets.upkeep.backup_manifest import STAMP, BackupError, BackupManifest, Root, StoredFile
from churn_assets.upkeep.backup_store import DamagedObjectError, Store, free_bytes
from churn_assets.upkeep.exclusive import exclusive
from churn_serving import atomic
from churn_serving.errors import ArtifactError

if TYPE_CHECKING:
    from churn_assets.upkeep.backup_collect import Progress
    from churn_assets.workspace import Workspace
    from churn_serving.registry import Registry

FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Restored:
    """A restore that was done.

    Attributes:
        manifest: The backup.
        files: How many of its files it brought.
        serves: The version that serves now; empty if none does.
        problems: What is wrong with the registry now.
        moved: Where what was there before lies.
        notes: What a person has to know or to do.
        seconds: How long it took.
    """

    manifest: BackupManifest
    files: int
    serves: str
    problems: tuple[str, ...]
    moved: tuple[Path, ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a restore does.

    Attributes:
        manifest: The backup.
        files: Where each of its files is gathered; others stay as they are.
        roots: Folders that are filled.
        notes: What a person has to know.
    """

    manifest: BackupManifest
    files: dict[Path, StoredFile]
    roots: list[Root]
    notes: list[str]


def restore(workspace: Workspace, source: str, *, progress: Progress, name: str = "", force: bool = False) -> Restored:
    """Bring a backup back.

    Args:
        workspace: The deployment to fill.
        source: Where backups lie, a folder or an fsspec URL.
        progress: Told of each file.
        name: Which backup; by default one whose restore was cut off, else the newest.
        force: Move aside what is there.

    Raises:
        BackupError: There is no such backup, something of it is damaged, the folders are not empty, or the disk is too
            small. What was there is untouched.
        UpkeepBusyError: Another upkeep is going on.
        RegistryBusyError: Another process holds the registry's lock.
        TombstonesError: Nobody can say who must not come back.
        OSError: A file cannot be moved; run it again when the cause is gone.
    """
    clock, store, places = time.monotonic(), Store(source), Places.of(workspace)
    registry = open_registry(workspace)
    with exclusive(workspace.layout, "restoring"):
        journal = restore_swap.interrupted(places)
        plan = plan_restore(workspace, source, name=name, force=force)
        if journal is None:
            _fetch(store, places, plan, progress)
            plan.notes.extend(restore_forgotten.carry_over(workspace.layout, places, plan.manifest.name))
            journal = restore_swap.begin(places, plan.manifest.name, plan.roots, datetime.now(UTC).strftime(STAMP))
        moved = restore_swap.finish(places, journal, registry)
    serves, problems = _checked(registry)
    took = time.monotonic() - clock
    return Restored(plan.manifest, len(plan.files), serves, problems, tuple(moved), tuple(plan.notes), took)


def plan_restore(workspace: Workspace, source: str, *, name: str = "", force: bool = False) -> Plan:
    """Return what a restore would do; nothing is changed.

    Args:
        workspace: The deployment to fill.
        source: Where backups lie.
        name: As in `restore`.
        force: As in `restore`.

    Raises:
        BackupError: There is no such backup, or the folders are not empty.
    """
    places = Places.of(workspace)
    journal, manifest = restore_swap.interrupted(places), _chosen(Store(source), places, name)
    force = force or journal is not None
    _refuse_occupied(places, force=force)
    plan = Plan(manifest, {}, ["data", "artifacts"], [])
    database = {source.path for source in find_database(places).files}
    for file in manifest.files:
        if file.root == "dagster" and not force and _is_there(file, database):
            continue
        folder, path = _place(places, file)
        plan.files[restore_swap.aside(folder, manifest.name).joinpath(*path.split("/"))] = file
    if any(file.root == "dagster" for file in plan.files.values()):
        plan.roots.append("dagster")
    plan.notes.extend(_notes(places, manifest, database, force=force))
    return plan


def _chosen(store: Store, places: Places, name: str) -> BackupManifest:
    journal = restore_swap.interrupted(places)
    if journal and name and name != journal.name:
        raise BackupError(
            f"the restore of {journal.name} was cut off while it replaced files: finish it first, with "
            f"`churn restore {store.shown} --backup {journal.name}`"
        )
    name = journal.name if journal else name
    return store.manifest(name) if name else store.newest()


def _is_there(file: StoredFile, database: set[str]) -> bool:
    """Whether Dagster has this file already: its settings, or any part of its database."""
    return CONFIGURATION in database if file.path == CONFIGURATION else bool(database - {CONFIGURATION})


def _place(places: Places, file: StoredFile) -> tuple[Path, str]:
    if file.root == "configuration":
        return places.artifacts, f"{RESTORED_SETTINGS}/{file.path}"
    return places.folders[file.root], file.path


def _refuse_occupied(places: Places, *, force: bool) -> None:
    occupied = [places.folders[root] for root in ("data", "artifacts") if next(places.files(root), None) is not None]
    if occupied and not force:
        raise BackupError(
            f"{' and '.join(map(str, occupied))} hold files, and nothing was restored; with --force what is there is "
            f"moved aside first, to a folder beside it that ends in `{BEFORE_RESTORE}<time>`"
        )


def _notes(places: Places, manifest: BackupManifest, database: set[str], *, force: bool) -> list[str]:
    notes = [f"not in the backup: {what}" for what in manifest.excluded]
    saved = {file.path for file in manifest.files if file.root == "dagster"} - {CONFIGURATION}
    if not saved:
        notes.append(f"Dagster's database: {manifest.database}")
    elif database - {CONFIGURATION} and not force:
        notes.append(f"{places.dagster} has a database, which stays as it is; --force replaces it")
    else:
        notes.append("start Dagster again: a process that was running still has the old database open")
    settings = [
        places.artifacts / RESTORED_SETTINGS / file.path for file in manifest.files if file.root == "configuration"
    ]
    return [*notes, *(f"the settings of then are in {path}" for path in settings)]


def _fetch(store: Store, places: Places, plan: Plan, progress: Progress) -> None:
    """Gather all files of a plan beside what is there.

    Raises:
        BackupError: One is damaged or cannot be read, or the disk is too small.
    """
    restore_swap.discard(places, plan.manifest.name)
    missing = {path: file for path, file in plan.files.items() if not _is_complete(path, file)}
    _refuse_if_too_large(places, missing)
    try:
        for number, (path, file) in enumerate(missing.items()):
            progress("fetching", number, len(missing))
            _fetch_file(store, path, file)
        progress("fetching", len(missing), len(missing))
        if any(path.stat().st_mtime_ns != file.mtime_ns for path, file in missing.items()):
            plan.notes.append("this disk keeps times less exactly than the old one: every day will be built again")
    except DamagedObjectError as error:
        restore_swap.discard(places)
        raise BackupError(f"{error}; nothing was replaced") from None
    except OSError as error:
        if error.errno in FULL:
            restore_swap.discard(places)
        what = "the disk is full" if error.errno in FULL else f"{error.filename} cannot be written: {error.strerror}"
        raise BackupError(f"{what}; nothing was replaced: make room or change the cause, then run it again") from None


def _fetch_file(store: Store, path: Path, file: StoredFile) -> None:
    with atomic.writing(path) as part:
        with part.open("wb") as target:
            for chunk in store.read(file):
                target.write(chunk)
        part.chmod((file.mode | 0o400) & 0o777)
        os.utime(part, ns=(file.mtime_ns, file.mtime_ns))


def _is_complete(path: Path, file: StoredFile) -> bool:
    """Whether an earlier restore that was cut off has left the file whole."""
    try:
        if path.stat().st_mtime_ns != file.mtime_ns:
            return False
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    except OSError:
        return False


def _refuse_if_too_large(places: Places, missing: dict[Path, StoredFile]) -> None:
    needed: dict[Path, int] = {}
    for path, file in missing.items():
        folder = next(folder for folder in places.folders.values() if folder in path.parents)
        needed[folder] = needed.get(folder, 0) + file.size
    disks: dict[int, tuple[Path, int]] = {}
    for folder, size in needed.items():
        disk = _existing(folder).stat().st_dev
        disks[disk] = folder, disks.get(disk, (folder, 0))[1] + size
    for folder, size in disks.values():
        if size > (free := free_bytes(folder)):
            raise BackupError(
                f"the disk of {folder} is too small: {size:,} bytes are needed, {free:,} are free; nothing was replaced"
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _checked(registry: Registry) -> tuple[str, tuple[str, ...]]:
    """The version that serves, and what is wrong with it or with the history."""
    problems = []
    if (line := registry.verify_history()) is not None:
        problems.append(f"the history was changed at line {line}")
    try:
        production = registry.production()
    except ArtifactError as error:
        return "", (*problems, str(error))
    if production is None:
        return "", tuple(problems)
    problems += [str(problem) for problem in registry.verify(production.version)]
    return production.version, tuple(problems)

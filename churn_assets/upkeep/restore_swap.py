"""Puts what was fetched in the place of what is there; by renames alone, so that it can be taken up where it ended.

What was fetched lies in a hidden folder of the folder that it is for, on the same disk. First everything old is moved
out, then everything new in; a journal says how far that went, and whoever comes next goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from churn_assets.upkeep.backup_files import BEFORE_RESTORE, RESTORING, Places, is_passing
from churn_assets.upkeep.backup_manifest import BackupError, Root
from churn_serving import atomic
from churn_serving.errors import ArtifactError, RegistryBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_serving.registry import Registry

JOURNAL = f"{RESTORING}journal.json"
LAST = ("metrics", "models", "registry")
"""Moved in last, in this order, and out first, the other way round: whoever takes the lock of a registry that lacks its
models writes down that they are gone."""


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """How far a swap has come.

    Attributes:
        name: Of the backup.
        phase: Old files are being moved out, or new ones in.
        old: Where the old files of each folder go.
    """

    name: str
    phase: Literal["out", "in"]
    old: dict[Root, str]


def aside(folder: Path, name: str) -> Path:
    """Where a backup's files for a folder are gathered, on the same disk."""
    return folder / f"{RESTORING}{name}"


def discard(places: Places, name: str = "") -> None:
    """Remove what was gathered, of every backup but `name`."""
    for folder in places.folders.values():
        for found in folder.glob(f"{RESTORING}*"):
            if found.is_dir() and found.name != f"{RESTORING}{name}":
                shutil.rmtree(found, ignore_errors=True)


def interrupted(places: Places) -> Journal | None:
    """The swap that was cut off, if one was.

    Raises:
        BackupError: Its journal cannot be read.
    """
    path = places.artifacts / JOURNAL
    try:
        return msgspec.json.decode(path.read_bytes(), type=Journal)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{path} says that a restore was cut off, and cannot be read: {error}") from None


def refuse_if_interrupted(places: Places) -> None:
    """Make sure that no half of a restore is taken for the whole.

    Raises:
        BackupError: A restore was cut off while it replaced files.
    """
    if journal := interrupted(places):
        raise BackupError(
            f"the restore of {journal.name} was cut off while it replaced files: run `churn restore` again first"
        )


def begin(places: Places, name: str, roots: list[Root], stamp: str) -> Journal:
    """Decide where old files go, and write down that the swap begins.

    Raises:
        OSError: It cannot be written; nothing was moved.
    """
    old = {root: str(_place_for_old(places.folders[root], stamp)) for root in roots}
    journal = Journal(name=name, phase="out", old=old)
    _write(places, journal)
    return journal


def finish(places: Places, journal: Journal, registry: Registry) -> list[Path]:
    """Move the old files out and the new ones in, from wherever that was cut off.

    Args:
        places: The deployment.
        journal: How far it has come.
        registry: Of this deployment; kept still meanwhile.

    Returns:
        Where old files are now.

    Raises:
        RegistryBusyError: Another process holds the registry's lock.
        OSError: A file cannot be moved; run it again when the cause is gone.
    """
    # Once the old registry is out there is nothing left to keep still.
    with _still(registry) if journal.phase == "out" else contextlib.nullcontext():
        if journal.phase == "out":
            for root, old in journal.old.items():
                _move_out(places, root, journal.name, Path(old))
            journal = msgspec.structs.replace(journal, phase="in")
            _write(places, journal)
        for root, old in journal.old.items():
            folder = places.folders[root]
            _move(aside(folder, journal.name), folder, _spared(places, root), Path(old))
            atomic.flush_folder(folder)
    (places.artifacts / JOURNAL).unlink()
    discard(places)
    return [path for path in map(Path, journal.old.values()) if _holds_files(path)]


def _move_out(places: Places, root: Root, name: str, old: Path) -> None:
    """Move everything out; of Dagster's folder, which has much else in it, only what something new comes for."""
    folder = places.folders[root]
    only = {path.name for path in aside(folder, name).glob("*")} if root == "dagster" else None
    _move(folder, old, _spared(places, root), old, only=only)
    atomic.flush_folder(folder)


def _move(source: Path, target: Path, spared: set[Path], old: Path, *, only: set[str] | None = None) -> None:
    """Move what is in `source` to `target`, and what is in its way there to `old`; what is spared stays where it is."""
    if not source.is_dir():
        return
    target.mkdir(parents=True, exist_ok=True)
    for child in sorted(source.iterdir(), key=_order, reverse=target == old):
        goal = target / child.name
        if child in spared or is_passing(child.name) or (only is not None and child.name not in only):
            continue
        if any({child, goal} & set(path.parents) for path in spared):
            _move(child, goal, spared, old / child.name)
            continue
        if os.path.lexists(goal):
            goal.rename(_free(old / child.name))
        child.rename(goal)


def _order(path: Path) -> tuple[int, str]:
    return (LAST.index(path.name) if path.name in LAST else -1), path.name


def _spared(places: Places, root: Root) -> set[Path]:
    """What is not a folder's own though it lies in it: other folders of the deployment, and files with secrets."""
    return {folder for other, folder in places.folders.items() if other != root} | places.secrets


def _place_for_old(folder: Path, stamp: str) -> Path:
    """A folder beside `folder`, or in it if it is a disk of its own, which no file leaves by a rename."""
    beside = folder.with_name(f"{folder.name}{BEFORE_RESTORE}{stamp}")
    probe = folder / f"{RESTORING}probe"
    try:
        probe.mkdir(parents=True, exist_ok=True)
        beside.mkdir(exist_ok=True)
        probe.rename(beside / probe.name)
        (beside / probe.name).rmdir()
    except OSError:
        with contextlib.suppress(OSError):
            probe.rmdir()
        with contextlib.suppress(OSError):
            beside.rmdir()
        return folder / f"{BEFORE_RESTORE}{stamp}"
    return beside


def _free(path: Path) -> Path:
    """A name that is not taken, this one if possible; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = (path if number == 1 else path.with_name(f"{path.name}.{number}") for number in range(1, 10_000))
    return next(name for name in names if not os.path.lexists(name))


def _holds_files(folder: Path) -> bool:
    """Whether anything is in it; an empty one is removed."""
    if any(not path.is_dir() or path.is_symlink() for path in folder.rglob("*")):
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


@contextlib.contextmanager
def _still(registry: Registry) -> Iterator[None]:
    """Keep the old registry still, unless it is so damaged that even its lock cannot be used."""
    with contextlib.ExitStack() as stack:
        if registry.root.is_dir():
            try:
                stack.enter_context(registry.still("restoring"))
            except RegistryBusyError:
                raise
            except (ArtifactError, OSError, ValueError):  # which may be why there is a restore
                pass
        yield


def _write(places: Places, journal: Journal) -> None:
    atomic.write_bytes(places.artifacts / JOURNAL, msgspec.json.encode(journal))

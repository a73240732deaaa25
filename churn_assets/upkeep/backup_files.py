"""What a backup takes: every file of `paths.data` and `paths.artifacts` but those that are worth nothing tomorrow."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.upkeep.backup_manifest import BackupError, Root
from churn_serving.atomic import PART_SUFFIX
from churn_serving.published import Published
from churn_serving.settings import CONFIG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_assets.workspace import Workspace

DEFAULT_HOME = ".dagster"
RESTORING, BEFORE_RESTORE = ".restoring-", ".before-restore-"
"""What the names of a restore's own folders begin with, and what those hold in which it has put what was there."""

EXCLUDED = (
    "paths.data/tmp, files that were being written, locks",
    "API keys: the file that `serving.api_keys_file` names",
    "environment variables, CHURN_SIGNING_KEY among them",
    "what Dagster's runs have printed (DAGSTER_HOME/storage)",
)
"""What no backup holds, in words."""


RECORD = "upkeep/last_backup.json"
"""In `paths.artifacts`: the newest backup. It changes with each, so none holds it."""

RESTORED_SETTINGS = "upkeep/restored_settings"
"""In `paths.artifacts`: where a restore puts the settings' file, since another may be in use."""

NOT_KEPT = (RECORD, f"{RESTORED_SETTINGS}/")


@dataclass(frozen=True)
class Source:
    """A file to be backed up.

    Attributes:
        root: Its place in the backup, with `path`.
        path: From there, with slashes.
        file: Where it lies.
        is_log: Whether it only ever grows at its end; every other file is replaced as a whole.
    """

    root: Root
    path: str
    file: Path
    is_log: bool = False

    @property
    def key(self) -> tuple[Root, str]:
        """Its place in the backup."""
        return self.root, self.path


@dataclass(frozen=True)
class Places:
    """The folders of a deployment.

    Attributes:
        data: `paths.data`, without links.
        artifacts: `paths.artifacts`, the same.
        dagster: `DAGSTER_HOME`, the same.
        logs: Where the service writes down its answers.
        configuration: The settings' file, if there is one.
        secrets: Files with secrets.
    """

    data: Path
    artifacts: Path
    dagster: Path
    logs: Path
    configuration: Path | None
    secrets: frozenset[Path]

    @classmethod
    def of(cls, workspace: Workspace) -> Places:
        """The folders of a deployment, as settings and environment have them."""
        configuration = os.environ.get(CONFIG_VARIABLE)
        keys = workspace.settings.serving.api_keys_file
        return cls(
            data=workspace.layout.data.resolve(),
            artifacts=workspace.layout.artifacts.resolve(),
            dagster=Path(os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).resolve(),
            logs=Published(workspace.settings.paths).prediction_log.resolve(),
            configuration=Path(configuration).resolve() if configuration else None,
            secrets=frozenset({keys.resolve()} if keys else ()),
        )

    @property
    def folders(self) -> dict[Root, Path]:
        """Those that a restore fills."""
        return {"data": self.data, "artifacts": self.artifacts, "dagster": self.dagster}

    def sources(self) -> list[Source]:
        """Every file of data and artifacts, in the order in which it is safe to take them.

        What says from which file a day was built (`built_from.json`) comes first: should the day be built again while
        files are read, then it is known as stale after a restore. In the other order an old day could pass for a new
        one.

        Raises:
            BackupError: A folder cannot be listed, or a file's name is not UTF-8.
        """
        found = [*self.files("data"), *self.files("artifacts")]
        return sorted(found, key=lambda source: (source.file.name != "built_from.json", source.root, source.path))

    def files(self, root: Root) -> Iterator[Source]:
        """Yield the files of one folder that are worth keeping.

        Raises:
            BackupError: As `sources`.
        """
        top = self.folders[root]
        others = {folder for folder in self.folders.values() if folder != top}
        for path in self._walk(top, others, frozenset()):
            name = path.relative_to(top).as_posix()
            if path.resolve() in self.secrets or (root == "artifacts" and name.startswith(NOT_KEPT)):
                continue
            try:
                name.encode()
            except UnicodeEncodeError:
                raise BackupError(f"{os.fsencode(path)!r} has a name that is not UTF-8: rename it") from None
            yield Source(root, name, path, is_log=self.logs in path.parents)

    def _walk(self, folder: Path, others: set[Path], above: frozenset[tuple[int, int]]) -> Iterator[Path]:
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BackupError(f"{folder} cannot be listed: {error.strerror}") from None
        here = (status.st_dev, status.st_ino)
        if here in above or folder == self.data / "tmp":  # the first: a link that leads back up
            return
        for entry in entries:
            path = folder / entry.name
            if is_passing(entry.name) or path in others:
                continue
            if entry.is_dir():
                yield from self._walk(path, others, above | {here})
            elif entry.is_file():
                yield path


def is_passing(name: str) -> bool:
    """Whether a file or folder is about what is under way only: a lock, its owner, a part, a restore's own folder."""
    return (
        name.endswith((".lock", ".lock.owner.json"))
        or (name.startswith(".") and name.endswith(PART_SUFFIX))
        or name.startswith(RESTORING)
        or BEFORE_RESTORE in name
    )


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What tells one state of a file from another: size, modification and change time (ns), and which file it is."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def has_grown(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether it is the same file with more at its end.

    Only of a file that is open, or is known as a log: the number of a file that was replaced is soon another's.
    """
    return before[3:] == after[3:] and after[0] > before[0]


def mode_of(status: os.stat_result) -> int:
    """A file's permissions."""
    return stat.S_IMODE(status.st_mode)

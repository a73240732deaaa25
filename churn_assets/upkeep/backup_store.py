"""Where backups lie: a folder, or any file system that fsspec knows.

`objects/<first two digits>/<SHA-256>` holds the bytes of a file, as they are: `sha256sum` tells whether one is sound.
`backups/<name>.json` is a backup's manifest; it is written last, so a backup that died is none, and what it had stored
is not sent again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from churn_assets.upkeep.backup_manifest import BackupError, BackupManifest, StoredFile, decode, encode
from churn_serving import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"\d{8}T\d{6}Z")


class DamagedObjectError(BackupError):
    """Stored bytes are not those that were saved, or are gone."""


class ChangedWhileReadError(Exception):
    """A file has other bytes than a moment before."""


def without_secrets(destination: str) -> str:
    """A destination as it may be shown and recorded: without user, password and query."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", destination)[0] if "://" in destination else destination)


class Store:
    """A place with backups.

    Args:
        destination: A folder, or a URL such as `s3://bucket/churn`.

    Attributes:
        shown: The destination without secrets.

    Raises:
        BackupError: There is no such file system, or what it needs is not installed.
    """

    def __init__(self, destination: str) -> None:
        self.shown = without_secrets(destination)
        self._secrets = _secrets(destination)
        try:
            url = str(Path(destination).expanduser().resolve()) if _is_path(destination) else destination
            self._fs, root = fsspec.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise BackupError(f"{self.shown} is no place for backups: {self._safe(error)}") from None
        self._root = root.rstrip("/")
        self._made: set[str] = set()
        self._is_local = isinstance(self._fs, LocalFileSystem)

    @property
    def folder(self) -> Path | None:
        """The folder, if it is on this machine."""
        return Path(self._root) if self._is_local else None

    def objects(self) -> dict[str, int]:
        """Digest → size of all that is stored.

        Raises:
            BackupError: The place cannot be read.
        """
        found = self._find("objects")
        return {name: size for path, size in found.items() if DIGEST.fullmatch(name := path.rpartition("/")[2])}

    def names(self) -> list[str]:
        """Names of the backups, oldest first.

        Raises:
            BackupError: The place cannot be read.
        """
        stems = [path.rpartition("/")[2].removesuffix(".json") for path in self._find("backups")]
        return sorted(stem for stem in stems if NAME.fullmatch(stem))

    def manifest(self, name: str) -> BackupManifest:
        """Read a backup's manifest.

        Raises:
            BackupError: There is no such backup, or its manifest cannot be trusted.
        """
        path = self._manifest_path(name)
        try:
            content = self._fs.cat_file(path)
        except FileNotFoundError:
            known = ", ".join(self.names()[-5:]) or "none"
            raise BackupError(f"there is no backup {name!r} in {self.shown}; the newest are: {known}") from None
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise BackupError(f"{self.shown}: {name} cannot be read: {self._safe(error)}") from None
        manifest = decode(content, f"{self.shown}/backups/{name}.json")
        if manifest.name != name:
            raise BackupError(f"{self.shown}/backups/{name}.json is the manifest of {manifest.name}: it was renamed")
        return manifest

    def newest(self) -> BackupManifest:
        """Read the manifest of the newest backup.

        Raises:
            BackupError: There is none, or it cannot be trusted.
        """
        names = self.names()
        if not names:
            raise BackupError(f"there is no backup in {self.shown}: `churn backup {self.shown}` makes one")
        return self.manifest(names[-1])

    def add_manifest(self, manifest: BackupManifest) -> None:
        """Write a manifest: from then on there is this backup.

        Raises:
            BackupError: It cannot be written.
        """
        path, content = self._manifest_path(manifest.name), encode(manifest)
        with self._writing(f"backups/{manifest.name}.json"):
            if self._is_local:
                atomic.write_bytes(Path(path), content)
                return
            aside = f"{path}{atomic.PART_SUFFIX}"
            self._make_folder(path.rpartition("/")[0])
            self._fs.pipe_file(aside, content)
            self._fs.mv(aside, path)

    def add(self, digest: str, size: int, file: BinaryIO) -> None:
        """Store the first `size` bytes of a file.

        Args:
            digest: Their SHA-256.
            size: How many.
            file: Open, at any place.

        Raises:
            ChangedWhileReadError: They have another digest; nothing is stored.
            BackupError: The place cannot be written: full, for example.
        """
        path = self._object_path(digest)
        with self._writing(f"objects/{digest[:2]}/{digest}"):
            if self._is_local:
                with atomic.writing(Path(path)) as part, part.open("wb") as target:
                    _copy(file, size, target, digest)
                return
            self._make_folder(path.rpartition("/")[0])
            try:
                with self._fs.open(path, "wb") as target:
                    _copy(file, size, target, digest)
            except ChangedWhileReadError:
                self._fs.rm_file(path)
                raise

    def read(self, file: StoredFile) -> Iterator[bytes]:
        """Yield a file's bytes.

        Raises:
            DamagedObjectError: They are gone, or are not those that were saved; raised after the last of them.
            BackupError: The place cannot be read.
        """
        digest = hashlib.sha256()
        try:
            with self._fs.open(self._object_path(file.sha256), "rb") as source:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise DamagedObjectError(self._damage(file, "is gone")) from None
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise BackupError(f"{self.shown}: {file.sha256} cannot be read: {self._safe(error)}") from None
        if digest.hexdigest() != file.sha256:
            raise DamagedObjectError(self._damage(file, "is damaged"))

    def is_sound(self, file: StoredFile) -> bool:
        """Whether a file's bytes are there, and are those that were saved.

        Raises:
            BackupError: The place cannot be read.
        """
        try:
            for _ in self.read(file):
                pass
        except DamagedObjectError:
            return False
        return True

    def _damage(self, file: StoredFile, what: str) -> str:
        return (
            f"{self.shown}/objects/{file.sha256[:2]}/{file.sha256} {what}, which holds {file.root}/{file.path}; take "
            "another backup (`churn backup --list`), or save what is still here again (`churn backup --verify`)"
        )

    def _find(self, folder: str) -> dict[str, int]:
        try:
            self._fs.invalidate_cache()
            found: dict[str, dict[str, Any]] = self._fs.find(f"{self._root}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise BackupError(f"{self.shown} cannot be read: {self._safe(error)}") from None
        return {path: int(entry["size"]) for path, entry in found.items()}

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except ChangedWhileReadError:
            raise
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise BackupError(
                f"{self.shown}/{what} cannot be written: {self._safe(error)}; earlier backups are untouched"
            ) from None

    def _make_folder(self, folder: str) -> None:
        if folder not in self._made:
            self._fs.makedirs(folder, exist_ok=True)
            self._made.add(folder)

    def _object_path(self, digest: str) -> str:
        return f"{self._root}/objects/{digest[:2]}/{digest}"

    def _manifest_path(self, name: str) -> str:
        return f"{self._root}/backups/{name}.json"

    def _safe(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def free_bytes(folder: Path) -> int:
    """Free bytes of the file system of a folder, or of the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _copy(file: BinaryIO, size: int, target: BinaryIO, expected: str) -> None:
    digest = hashlib.sha256()
    for chunk in chunks_of(file, size):
        digest.update(chunk)
        target.write(chunk)
    if digest.hexdigest() != expected:
        raise ChangedWhileReadError


def chunks_of(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of an open file."""
    file.seek(0)
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


def _is_path(destination: str) -> bool:
    return "://" not in destination and "::" not in destination


def _secrets(destination: str) -> list[str]:
    """What must not be repeated of a URL, longest first."""
    if _is_path(destination):
        return []
    parts = urlsplit(destination)
    user = parts.netloc.rpartition("@")[0]
    found = {destination, user, user.partition(":")[2], parts.query}
    return sorted((text for text in found if text), key=len, reverse=True)

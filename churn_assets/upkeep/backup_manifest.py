"""A backup's manifest: every file with its digest, and what is and is not in it, in one sealed JSON file."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Literal

import msgspec

Root = Literal["data", "artifacts", "dagster", "configuration"]
"""Folders that paths in a backup count from: the settings' two, `DAGSTER_HOME`, and the settings' own file."""

STAMP = "%Y%m%dT%H%M%SZ"
FORMAT = 1


class BackupError(RuntimeError):
    """A backup cannot be made, read or trusted; the message says what, where and what to do."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file.

    Attributes:
        root: Where its path counts from.
        path: With slashes, on every system.
        size: Bytes.
        mtime_ns: Modification time, in ns since 1970; restored exactly, since days are known to be stale by it.
        mode: Permissions.
        sha256: Of its bytes, and the name under which they are stored.
        stamp: What the system said of it when it was read, so that it need not be read again; means something on the
            same machine only.
    """

    root: Root
    path: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str
    stamp: tuple[int, ...]


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup.

    Attributes:
        name: The second in which it was begun, as `20261123T030000Z`; a later one if that was taken.
        started_at: When it was begun, UTC.
        finished_at: When the last file was stored.
        host: Machine.
        tool: Version of this code.
        serves: The production model's version; empty if none serves.
        steady: Whether nothing changed while the last round of files was read: then they are as they were at one
            instant. If not, a day may be newer than what it was built from; it is known as stale and built again.
        database: Of Dagster: included, or how to save it.
        excluded: What is left out, in words.
        files: Every file.
        format: Of this file.
        seal: SHA-256 of the manifest without this field.
    """

    name: str
    started_at: datetime
    finished_at: datetime
    host: str
    tool: str
    serves: str
    steady: bool
    database: str
    excluded: tuple[str, ...]
    files: tuple[StoredFile, ...]
    format: int = FORMAT
    seal: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def objects(self) -> dict[str, StoredFile]:
        """Digest → a file that has it."""
        return {file.sha256: file for file in self.files}


class BackupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup leaves behind where it was made, for whoever asks how old the newest is.

    Attributes:
        at: When it was begun, UTC.
        destination: Where, without secrets.
        name: Its name there.
        files: How many.
        bytes: How much.
    """

    at: datetime
    destination: str
    name: str
    files: int
    bytes: int


def new_name(taken: list[str], moment: datetime) -> str:
    """Return the name of a backup of this second, or of the first after it that is free."""
    while (name := moment.strftime(STAMP)) in taken:
        moment += timedelta(seconds=1)
    return name


def encode(manifest: BackupManifest) -> bytes:
    """Return the manifest's bytes, sealed."""
    unsealed = msgspec.json.encode(msgspec.structs.replace(manifest, seal=""))
    return msgspec.json.encode(msgspec.structs.replace(manifest, seal=hashlib.sha256(unsealed).hexdigest()))


def decode(content: bytes, where: str) -> BackupManifest:
    """Return the manifest that `content` holds.

    Args:
        content: The file's bytes.
        where: The file, for errors.

    Raises:
        BackupError: It cannot be read, was changed after it was written, or names a file outside of its folders.
    """
    try:
        manifest = msgspec.json.decode(content, type=BackupManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{where} is not a manifest of a backup ({error}): take another one") from None
    if encode(manifest) != content:
        raise BackupError(f"{where} was changed or damaged after it was written: take another backup")
    for file in manifest.files:
        if not _is_inside(file.path) or len(file.sha256) != 64 or not set(file.sha256) <= set("0123456789abcdef"):
            raise BackupError(f"{where} names {file.path!r}, which leads out of its folder: nothing of it is restored")
    return manifest


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    foreign = {"\0", os.sep} - {"/"}
    return bool(pure.parts) and pure.as_posix() == path and not ({"..", "/"} & set(pure.parts) or foreign & set(path))

"""The pointer: the small file that says which tables are published. It is written last, by one rename.

A table's file is named after its content and never changes, so whoever has it mapped keeps what he has. A file that is
no longer published stays for a while: one that vanished from network storage would kill whoever still reads it.
"""

from __future__ import annotations

import os
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from churn_serving.atomic import write_bytes
from churn_serving.online.keyed_format import OnlineStoreError

if TYPE_CHECKING:
    from pathlib import Path

POINTER = "current.json"
SUFFIX = ".keyed"
MAX_POINTER = 1 << 20
"""Bytes of the largest pointer that is read."""

FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.keyed$")]
"""Of a file beside the pointer, never of one elsewhere."""


class NothingPublishedError(OnlineStoreError):
    """There is no pointer: nothing has been published yet."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published table.

    Attributes:
        as_of_date: The day that it describes.
        file: Name of its file, beside the pointer.
        rows: How many users it has.
        size: Bytes of the file.
        sha256: Its digest.
        published_at: When, UTC.
    """

    as_of_date: date
    file: FileName
    rows: int
    size: int
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    published_at: Annotated[datetime, msgspec.Meta(tz=True)]


class Retired(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is no longer published, and since when."""

    file: FileName
    since: Annotated[datetime, msgspec.Meta(tz=True)]


class Pointer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is published, the newest day first, and what was, the last first."""

    published: tuple[Entry, ...] = ()
    retired: tuple[Retired, ...] = ()


def read_bytes(folder: Path) -> bytes:
    """Return the bytes of a folder's pointer; cheap enough to be done every second.

    The file is opened each time: network file systems look for a newer one then, and only then.

    Raises:
        NothingPublishedError: There is none.
        OnlineStoreError: It cannot be read.
    """
    path = folder / POINTER
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.read(descriptor, MAX_POINTER)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise NothingPublishedError(f"{path} is not there: the daily run publishes it (`churn score`)") from None
    except OSError as error:
        raise OnlineStoreError(f"{path} cannot be read: {error.strerror}") from error


def decode(content: bytes, folder: Path) -> Pointer:
    """Return the pointer that a folder's bytes stand for.

    Raises:
        OnlineStoreError: They stand for none.
    """
    try:
        return msgspec.json.decode(content, type=Pointer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OnlineStoreError(f"{folder / POINTER} is damaged ({error}): remove it and publish again") from error


def write(folder: Path, pointer: Pointer) -> None:
    """Replace a folder's pointer, atomically.

    Raises:
        OSError: It cannot be written; the old one is still there.
    """
    write_bytes(folder / POINTER, msgspec.json.format(msgspec.json.encode(pointer), indent=2) + b"\n")

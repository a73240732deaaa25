"""Files that are either whole or not there: write aside, flush to disk, rename."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PART_SUFFIX = ".part"
"""What is being written ends so; readers never look at such a file, and the next writer may remove it."""


@contextlib.contextmanager
def writing(path: Path, *, keep_if_equal: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it onto `path` when the block ends well.

    On an exception (a full disk among them) the part is removed and `path` stays as it was.

    Args:
        path: The file to make or replace. Its folder is made if need be.
        keep_if_equal: Leave `path` untouched, its modification time with it, if the bytes are the same.

    Yields:
        The path to write to, in the same folder, ending in `.part`.

    Raises:
        OSError: The folder cannot be made, or the file cannot be flushed or renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART_SUFFIX}")
    try:
        yield part
        _flush_file(part)
        if keep_if_equal and path.exists() and filecmp.cmp(part, path, shallow=False):
            return
        part.replace(path)
        flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def move(source: Path, path: Path) -> None:
    """Rename a finished file of the same file system onto `path`, which stays untouched if the bytes are the same.

    Raises:
        OSError: As `writing` does.
    """
    with writing(path, keep_if_equal=True) as part:
        source.replace(part)


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`, atomically.

    Raises:
        OSError: As `writing` does.
    """
    with writing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` as UTF-8, atomically.

    Raises:
        OSError: As `writing` does.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Put `content` at `path` as indented JSON, atomically; leave the file untouched if it says the same already.

    NaN is refused: it is not JSON.

    Raises:
        OSError: As `writing` does.
        ValueError: A number is not finite.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    with writing(path, keep_if_equal=True) as part:
        part.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path, *, older_than_seconds: float = 3600.0) -> int:
    """Remove parts that a killed process has left below `folder`; younger ones may still be written to.

    Returns:
        How many were removed.
    """
    limit = time.time() - older_than_seconds
    old = [part for part in folder.rglob(f".*{PART_SUFFIX}") if part.is_file() and part.stat().st_mtime < limit]
    for part in old:
        part.unlink(missing_ok=True)
    return len(old)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Bring a folder's entries, such as a rename, to the disk."""
    with contextlib.suppress(PermissionError):  # some network file systems let nobody open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

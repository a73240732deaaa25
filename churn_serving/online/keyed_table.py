"""A table keyed by user id, mapped into memory: all processes of a machine share its pages.

A look-up computes one CRC-32 and compares about one id; nothing of the file is copied or parsed. Opening checks every
number that later look-ups rely on, against the file's real size: a damaged file is refused, or at worst gives a wrong
value, and never leads outside the mapping. The digest, if given, is checked as well, once, by reading the whole file.

No file is ever written to in place: one that shrank while it was mapped would kill whoever reads it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from churn_serving.online.keyed_format import (
    PREFIX,
    Header,
    OnlineStoreError,
    Places,
    decode_header,
    header_length,
)

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path
    from typing import Any, Self

    from numpy.typing import NDArray

AGAIN = "publish it again"
"""What to do about a file that is refused."""


class KeyedTable:
    """Rows of float64 by user id. Nothing of it ever changes, so threads may share it.

    The mapping is closed when neither the table nor a row of it is in use any more. Open tables with `KeyedTable.open`.

    Attributes:
        path: The file.
        header: What the file says of itself.
        columns: Names of the columns.
        levels: For columns that hold categories, the text of each code.
        matrix: (rows, columns), read-only.
    """

    def __init__(self, path: Path, header: Header, places: Places, mapped: mmap.mmap) -> None:
        self.path = path
        self.header = header
        self.columns = header.columns
        self.levels = header.levels
        shape = (header.rows, len(header.columns))
        self.matrix: NDArray[np.float64] = np.ndarray(shape, np.float64, mapped, places.matrix)
        self._mapped = mapped
        self._ids = places.ids
        self._mask = header.buckets - 1
        self._starts = _integers(mapped, places.starts, header.buckets + 1)
        self._slots = _integers(mapped, places.slots, header.rows)
        self._offsets = _integers(mapped, places.offsets, header.rows + 1)

    @classmethod
    def open(cls, path: Path, sha256: str | None = None) -> Self:
        """Map a file into memory.

        Args:
            path: The file.
            sha256: Its digest. The file is then read as a whole: 400 MB take about 0.3 s, off the interpreter's lock.

        Raises:
            OnlineStoreError: The file is missing, damaged or not the one that has this digest.
        """
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                header, places = _read_header(file, size)
                if sha256 is not None:
                    _check_digest(file, sha256)
                mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            table = cls(path, header, places, mapped)
            table._check_index()
        except OSError as error:
            raise OnlineStoreError(f"{path} cannot be read ({error.strerror}): {AGAIN}") from error
        except ValueError as error:
            raise OnlineStoreError(f"{path} is refused, {error}: {AGAIN}") from error
        return table

    def __len__(self) -> int:
        return self.header.rows

    def find(self, user_id: str) -> int:
        """Return the row of a user, or -1."""
        try:
            key = user_id.encode()
        except UnicodeEncodeError:  # half a surrogate pair is nobody's id
            return -1
        return self.find_key(key, crc32(key))

    def find_key(self, key: bytes, checksum: int) -> int:
        """Return the row of an id given as UTF-8 with its CRC-32, or -1: for those who look it up in many tables."""
        bucket = checksum & self._mask
        offsets, base = self._offsets, self._ids
        for place in range(self._starts[bucket], self._starts[bucket + 1]):
            row = self._slots[place]
            if self._mapped[base + offsets[row] : base + offsets[row + 1]] == key:
                return row
        return -1

    def row(self, row: int) -> NDArray[np.float64]:
        """Return a row (columns,), a read-only view.

        Raises:
            IndexError: There is no such row; -1, which `find` gives for strangers, is none.
        """
        if row < 0:
            raise IndexError(f"{self.path} has no row {row}")
        found: NDArray[np.float64] = self.matrix[row]
        return found

    def user_id(self, row: int) -> str:
        """Return the id of a row.

        Raises:
            IndexError: There is no such row.
        """
        if row < 0:
            raise IndexError(f"{self.path} has no row {row}")
        return self._mapped[self._ids + self._offsets[row] : self._ids + self._offsets[row + 1]].decode(
            errors="replace"
        )

    def _check_index(self) -> None:
        starts, slots, offsets = (np.asarray(part) for part in (self._starts, self._slots, self._offsets))
        rows = self.header.rows
        if not _rises(starts, rows) or not _rises(offsets, self.header.id_bytes):
            raise ValueError("its index is damaged")
        if rows and int(slots.max()) >= rows:
            raise ValueError("its index names rows that are not there")


def _integers(mapped: mmap.mmap, position: int, count: int) -> memoryview:
    """Unsigned integers of the mapping as Python sees them fastest."""
    return memoryview(mapped)[position : position + 4 * count].cast("I")


def _rises(values: NDArray[Any], last: int) -> bool:
    """Whether `values` go from 0 to `last` and never down."""
    return bool(values[0] == 0 and values[-1] == last and (values[1:] >= values[:-1]).all())


def _read_header(file: BufferedReader, size: int) -> tuple[Header, Places]:
    length = header_length(file.read(PREFIX.size))
    content = file.read(length)
    if len(content) < length:
        raise ValueError("it ends within its header")
    return decode_header(content, size)


def _check_digest(file: BufferedReader, sha256: str) -> None:
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"its SHA-256 is {found[:16]}…, and {sha256[:16]}… was published")

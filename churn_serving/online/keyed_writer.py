"""Writes keyed tables: from ids and blocks of rows to one file, with bounded memory and the same bytes every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO
from zlib import crc32

import numpy as np

from churn_serving.atomic import writing
from churn_serving.online.keyed_format import (
    MAX_UINT32,
    Header,
    OnlineStoreError,
    Places,
    Scalar,
    encode_header,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Ids:
    """User ids in the order of the rows: UTF-8, one after the other.

    Attributes:
        offsets: (rows + 1,) integers, where each id begins; the first is 0.
        content: The bytes of all ids.
    """

    offsets: NDArray[np.integer[Any]]
    content: memoryview

    @classmethod
    def of(cls, ids: Sequence[str]) -> Ids:
        """From text."""
        encoded = [user_id.encode() for user_id in ids]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(key) for key in encoded], out=offsets[1:])
        return cls(offsets, memoryview(b"".join(encoded)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def key(self, row: int) -> bytes:
        """The bytes of one id."""
        return bytes(self.content[self.offsets[row] : self.offsets[row + 1]])

    def checksums(self) -> NDArray[np.uint32]:
        """(rows,) the CRC-32 of each id."""
        edges, content = self.offsets.tolist(), self.content
        found = (crc32(content[begin:end]) for begin, end in pairwise(edges))
        return np.fromiter(found, np.uint32, len(self))


@dataclass(frozen=True)
class Draft:
    """What a table is to hold.

    Attributes:
        as_of_date: The day that it describes.
        ids: Whom; each once.
        columns: Names of the columns.
        blocks: (any number, columns) float64 each, together a row an id, in the same order.
        levels: For columns that hold categories, the text of each code.
        metadata: What else is to be known.
    """

    as_of_date: date
    ids: Ids
    columns: tuple[str, ...]
    blocks: Iterable[NDArray[np.float64]]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """A finished file: its rows, its size in bytes, its SHA-256."""

    rows: int
    size: int
    sha256: str


def write_keyed_table(path: Path, draft: Draft) -> Written:
    """Write a keyed table, atomically. Equal drafts give equal bytes.

    Raises:
        OnlineStoreError: An id stands twice, there are more rows than ids or fewer, or the ids are too many.
        OSError: The file cannot be written; what was there before still is.
    """
    header = _header(draft)
    index = _index(draft.ids, header)
    with writing(path) as part, part.open("wb") as file:
        digest = _Digest(file)
        begin = digest.write(encode_header(header))
        places = Places.of(header, begin)
        for position, content in zip((places.starts, places.slots, places.offsets), index, strict=True):
            digest.write_at(position, content.data.cast("B") if len(content) else b"")
        digest.write_at(places.ids, draft.ids.content)
        digest.write_at(places.matrix, b"")
        for block in _checked(draft):
            digest.write(block.data.cast("B") if block.size else b"")
    return Written(header.rows, digest.position, digest.hexdigest())


class _Digest:
    """A file and the digest of what has been written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        """Append; returns where that ends."""
        self._file.write(content)
        self._sha256.update(content)
        self.position += len(content)
        return self.position

    def write_at(self, position: int, content: bytes | memoryview) -> None:
        """Append after zeros up to `position`."""
        self.write(bytes(position - self.position))
        self.write(content)

    def hexdigest(self) -> str:
        """The SHA-256 so far."""
        return self._sha256.hexdigest()


def _header(draft: Draft) -> Header:
    rows, id_bytes = len(draft.ids), len(draft.ids.content)
    if max(rows + 1, id_bytes) > MAX_UINT32:
        raise OnlineStoreError(
            f"the table of {draft.as_of_date} cannot be written: {rows} ids of {id_bytes} bytes together are more than "
            f"one file holds ({MAX_UINT32} of either)"
        )
    return Header(
        as_of_date=draft.as_of_date,
        rows=rows,
        columns=draft.columns,
        levels=dict(draft.levels),
        metadata=dict(draft.metadata),
        id_bytes=id_bytes,
        buckets=1 << max(rows - 1, 0).bit_length(),
    )


def _index(ids: Ids, header: Header) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Bucket starts, slots and id offsets."""
    checksums = ids.checksums()
    _refuse_duplicates(ids, checksums)
    bucket = checksums & np.uint32(header.buckets - 1)
    starts = np.zeros(header.buckets + 1, dtype=np.uint32)
    np.cumsum(np.bincount(bucket, minlength=header.buckets), out=starts[1:])
    return starts, np.argsort(bucket, kind="stable").astype(np.uint32), ids.offsets.astype(np.uint32)


def _refuse_duplicates(ids: Ids, checksums: NDArray[np.uint32]) -> None:
    ordered = np.argsort(checksums, kind="stable")
    same = checksums[ordered[1:]] == checksums[ordered[:-1]]
    suspects = np.union1d(ordered[1:][same], ordered[:-1][same])
    seen: set[bytes] = set()
    for key in map(ids.key, suspects.tolist()):
        if key in seen:
            raise OnlineStoreError(f"the user id {key.decode()!r} stands twice in the table: a user has one row")
        seen.add(key)


def _checked(draft: Draft) -> Iterable[NDArray[np.float64]]:
    """The blocks as they lie in the file, once it is sure that they are as many rows as ids."""
    rows = 0
    for block in draft.blocks:
        if block.ndim != 2 or block.shape[1] != len(draft.columns):
            raise OnlineStoreError(f"a block of shape {block.shape} does not have {len(draft.columns)} columns")
        rows += len(block)
        yield np.ascontiguousarray(block, dtype=np.float64)
    if rows != len(draft.ids):
        raise OnlineStoreError(f"the table of {draft.as_of_date} has {rows} rows and {len(draft.ids)} ids")

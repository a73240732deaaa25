"""The form of a keyed table's file: a header in JSON, then five plain arrays whose places follow from it.

```text
magic and format version    8 bytes
length of the header        uint64
header                      JSON, padded with spaces
bucket starts               uint32 (buckets + 1): where each bucket begins among the slots
slots                       uint32 (rows): row numbers, bucket by bucket
id offsets                  uint32 (rows + 1): where each id begins among the ids
ids                         UTF-8, one after the other
matrix                      float64 (rows, columns), a row is contiguous
```

A user's bucket is the CRC-32 of the id's bytes, cut to as many bits as there are buckets. Each part begins at a
multiple of 64 bytes. Numbers have the machine's byte order: on a machine of the other order the header's length is
impossible, and the file is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import msgspec

MAGIC = b"CHURNKT\x01"
"""What the file begins with; the last byte is the version of the form."""

PREFIX = struct.Struct("=8sQ")
"""Magic and length of the header."""

ALIGNMENT = 64
MAX_HEADER = 1 << 24
"""Bytes of the largest header: 16 MB, room for categories with 100,000s of levels."""

MAX_UINT32 = (1 << 32) - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_UINT32)]
Scalar = str | int | float


class OnlineStoreError(Exception):
    """A file of the online store cannot be used, or cannot be made: what, where, and what to do about it."""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a keyed table says of itself.

    Attributes:
        as_of_date: The day that it describes.
        rows: How many users.
        columns: Names of the matrix's columns.
        levels: For columns that hold categories: the text of each code, by column.
        metadata: What else the writer had to say.
        id_bytes: Length of all ids together.
        buckets: Of the index; a power of two.
    """

    as_of_date: date
    rows: Count
    columns: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    metadata: dict[str, Scalar]
    id_bytes: Count
    buckets: Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]


@dataclass(frozen=True)
class Places:
    """Where each part of the file begins, in bytes, and where the file ends."""

    starts: int
    slots: int
    offsets: int
    ids: int
    matrix: int
    end: int

    @classmethod
    def of(cls, header: Header, begin: int) -> Places:
        """The places that follow from a header whose padding ends at `begin`."""
        slots = aligned(begin + 4 * (header.buckets + 1))
        offsets = aligned(slots + 4 * header.rows)
        ids = aligned(offsets + 4 * (header.rows + 1))
        matrix = aligned(ids + header.id_bytes)
        return cls(begin, slots, offsets, ids, matrix, matrix + 8 * header.rows * len(header.columns))


def aligned(position: int) -> int:
    """The next position at which a part may begin."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def encode_header(header: Header) -> bytes:
    """Return all that stands before the first array; equal headers give equal bytes.

    Raises:
        OnlineStoreError: The header is longer than a reader accepts, or names columns that are not there.
    """
    problem = _contradiction(header)
    content = msgspec.json.encode(header, order="deterministic")
    begin = aligned(PREFIX.size + len(content))
    if begin - PREFIX.size > MAX_HEADER:
        problem = f"its header would be {len(content)} bytes long, the limit is {MAX_HEADER}: drop categories"
    if problem:
        raise OnlineStoreError(f"the table of {header.as_of_date} cannot be written: {problem}")
    return PREFIX.pack(MAGIC, begin - PREFIX.size) + content.ljust(begin - PREFIX.size)


def header_length(prefix: bytes) -> int:
    """Return the length of the header that follows these first bytes of a file.

    Raises:
        ValueError: They do not begin a keyed table; the message says why.
    """
    if len(prefix) < PREFIX.size:
        raise ValueError("it is shorter than any table")
    magic, length = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise ValueError(f"it begins with {magic!r}, not with {MAGIC!r}: another kind of file, or another version")
    if not 0 < length <= MAX_HEADER or (PREFIX.size + length) % ALIGNMENT:
        raise ValueError(f"the length of its header is given as {length} bytes, which is impossible")
    return int(length)


def decode_header(content: bytes, size: int) -> tuple[Header, Places]:
    """Return the header, and the places of the arrays, of a file of `size` bytes.

    Raises:
        ValueError: The header is no header, contradicts itself, or describes a file of another size.
    """
    try:
        header = msgspec.json.decode(content, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"its header is damaged ({error})") from error
    if problem := _contradiction(header):
        raise ValueError(problem)
    places = Places.of(header, PREFIX.size + len(content))
    if places.end != size:
        raise ValueError(f"it has {size} bytes and its header describes {places.end}")
    return header, places


def _contradiction(header: Header) -> str:
    if len(set(header.columns)) < len(header.columns):
        return "a column's name stands twice in its header"
    if not header.levels.keys() <= set(header.columns):
        return "its header has levels of a column that it has not"
    if any(len(set(levels)) < len(levels) for levels in header.levels.values()):
        return "a category's level stands twice in its header"
    return "the number of buckets is no power of two" if header.buckets & (header.buckets - 1) else ""

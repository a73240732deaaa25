"""Publishes the newest snapshot to the service: from Parquet to a table that it finds users in by id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.keyed_writer import Draft, Ids
from churn_serving.online.publisher import Publisher
from churn_serving.online.snapshot import AT_RISK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from numpy.typing import NDArray

    from churn_assets.layout import Layout
    from churn_serving.online.pointer import Entry

BLOCK = 16_384
"""Users at a time: what is worked on stays far below any memory limit, whatever their number."""

NOT_SERVED = {"user_id", "as_of_date"}
"""Columns of a snapshot that have a place of their own in a published table."""


def publish_newest(layout: Layout) -> Entry | None:
    """Publish the newest day of `user_features`. What is published already stays untouched.

    Returns:
        What is published; None if there is no day yet, or a later one has been published.

    Raises:
        OnlineStoreError: The day cannot be published, or another run is publishing for too long.
        OSError: A file cannot be written; what was published before still is.
    """
    publisher = Publisher(layout.online_features, "features", keep=1)
    with publisher.locked():  # else a run that has read a day before it was rebuilt could publish after it
        days = layout.user_features.days()
        if not days:
            return None
        with pq.ParquetFile(layout.user_features.path(days[-1])) as snapshot:
            return publisher.publish(draft_of(days[-1], snapshot))


def draft_of(day: date, snapshot: pq.ParquetFile) -> Draft:
    """What a day's snapshot is published as: `at_risk`, then every feature, categories as codes.

    Args:
        day: The as-of date.
        snapshot: `user_id`, `as_of_date`, `at_risk`, and features. It is read while the draft is written.

    Raises:
        OnlineStoreError: A user has no id.
    """
    schema = snapshot.schema_arrow
    names = [AT_RISK, *(name for name in schema.names if name not in {*NOT_SERVED, AT_RISK})]
    texts = {name: _coded(snapshot.read([name])[name]) for name in names if _is_text(schema.field(name).type)}
    return Draft(
        as_of_date=day,
        ids=ids_of(snapshot.read(["user_id"])["user_id"]),
        columns=tuple(names),
        blocks=_blocks(snapshot, names, {name: codes for name, (codes, _) in texts.items()}),
        levels={name: levels for name, (_, levels) in texts.items()},
    )


def ids_of(column: pa.ChunkedArray) -> Ids:
    """The ids in a column of text.

    Raises:
        OnlineStoreError: One is null.
    """
    if column.null_count:
        raise OnlineStoreError(f"{column.null_count} of {len(column)} users have no id: materialize the table again")
    ids = pa.concat_arrays(
        [chunk.cast(pa.large_string()) for chunk in column.chunks] or [pa.array([], pa.large_string())]
    )
    _, offsets, content = ids.buffers()
    edges = np.frombuffer(offsets, np.int64, len(ids) + 1, 8 * ids.offset) if len(ids) else np.zeros(1, np.int64)
    whole = memoryview(content)[edges[0] : edges[-1]] if content is not None else memoryview(b"")
    return Ids(edges - edges[0], whole.cast("B"))


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_dictionary, pa.types.is_string, pa.types.is_large_string))


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Codes (n,), NaN when missing, and the text of each code, in the order in which they first occur."""
    kind = column.type
    text = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    whole = text.combine_chunks().dictionary_encode()
    whole = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
    codes = whole.indices.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return codes, tuple(whole.dictionary.to_pylist())


def _blocks(
    snapshot: pq.ParquetFile, names: list[str], codes: dict[str, NDArray[np.float64]]
) -> Iterator[NDArray[np.float64]]:
    start = 0
    numbers = [name for name in names if name not in codes]
    for batch in snapshot.iter_batches(BLOCK, columns=numbers):
        stop = start + batch.num_rows
        block = np.empty((batch.num_rows, len(names)))
        for place, name in enumerate(names):
            block[:, place] = codes[name][start:stop] if name in codes else _numbers(batch.column(name))
        block[:, 0] = np.nan_to_num(block[:, 0])  # not known to be at risk is not at risk, as in the daily list
        yield block
        start = stop


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    """(n,) float64, NaN where a value is missing."""
    return np.asarray(column.cast(pa.float64()) if column.null_count else column, dtype=np.float64)

"""A person's rows in Parquet files with a column `user_id`, and a table without them as its builder would write it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from churn_assets.layout import DayTable, write_table
from churn_assets.upkeep.forget_places import Files, UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from churn_assets.layout import Layout, Table

USER_ID = "user_id"


def derived_tables(layout: Layout, user_id: str) -> list[Files]:
    """Everything that is computed from raw data, upstream first."""
    tables: dict[str, Table | DayTable] = {
        "validated_users": layout.users,
        "validated_engagements": layout.engagements,
        "validated_events": layout.events,
        "user_daily": layout.user_daily,
        "churn_labels": layout.labels,
        "user_features": layout.user_features,
        "training_set": layout.training_set,
    }
    return [parquet_files(kind, table, user_id) for kind, table in tables.items()]


def parquet_files(kind: str, table: Table | DayTable, user_id: str) -> Files:
    """The files of one table."""
    return Files(kind, partial(files_of, table), partial(rows_of, user_id=user_id), partial(strip, user_id=user_id))


def files_of(table: Table | DayTable) -> Iterable[Path]:
    """The files of a table that are there, oldest first."""
    if isinstance(table, DayTable):
        return sorted(table.folder.glob("[0-9]*.parquet"))
    return [table.path] if table.path.exists() else []


def rows_of(path: Path, user_id: str) -> int:
    """Count a person's rows; a file whose statistics exclude the id is not read.

    Raises:
        UnreadableFileError: It is no Parquet file with a column `user_id`.
    """
    try:
        with pq.ParquetFile(path) as file:
            if not _may_hold(file, user_id):
                return 0
            return pc.sum(_is_theirs(file.read([USER_ID])[USER_ID], user_id)).as_py() or 0
    except (pa.ArrowInvalid, KeyError) as error:
        raise unreadable(path, error) from error


def strip(path: Path, user_id: str) -> None:
    """Take a person's rows out of a file.

    Raises:
        OSError: It cannot be written; it is as before.
    """
    with pq.ParquetFile(path) as file:
        table = file.read()
    kept = table.filter(pc.invert(pc.fill_null(_is_theirs(table[USER_ID], user_id), False)))  # noqa: FBT003 - pyarrow's
    write_table(path, in_one_piece(kept))


def in_one_piece(table: pa.Table) -> pa.Table:
    """The table as if it had been made without the rows that are gone: categories that nobody has are not listed."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            texts = table.column(place).cast(field.type.value_type).combine_chunks()
            table = table.set_column(place, field, texts.dictionary_encode().cast(field.type))
    return table.combine_chunks()


def unreadable(path: Path, error: Exception) -> UnreadableFileError:
    """What to say of a damaged file."""
    return UnreadableFileError(
        f"{path} cannot be read ({error}), so nobody knows whom it holds: build it again, restore it or remove it, "
        "then run this again"
    )


def _may_hold(file: pq.ParquetFile, user_id: str) -> bool:
    column = file.schema_arrow.get_field_index(USER_ID)
    if column < 0:
        raise KeyError(f"there is no column {USER_ID}")
    groups = (file.metadata.row_group(group).column(column).statistics for group in range(file.num_row_groups))
    return any(_spans(statistics, user_id) for statistics in groups)


def _spans(statistics: pq.Statistics | None, user_id: str) -> bool:
    """Whether an id may be among values; of anything but text in full, nothing can be said."""
    if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, str):
        return True
    return bool(statistics.min.encode() <= user_id.encode() <= statistics.max.encode())


def _is_theirs(column: pa.ChunkedArray, user_id: str) -> pa.ChunkedArray:
    return pc.equal(column.cast(pa.string()), user_id)

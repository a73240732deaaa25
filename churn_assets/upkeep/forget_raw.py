"""A person's rows in raw tables and in the quarantine: under their id, and in rows that are nobody's."""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from churn_assets.engine import connect
from churn_assets.ingest.tombstones import rows_about, values_of, without_rows
from churn_assets.layout import write_table
from churn_assets.upkeep.forget_csv import rows_in_csv, strip_csv
from churn_assets.upkeep.forget_parquet import USER_ID, files_of, unreadable
from churn_assets.upkeep.forget_places import Files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import duckdb
    import numpy as np
    from numpy.typing import NDArray

    from churn_assets.ingest.tombstones import Kind
    from churn_assets.upkeep.forget_places import Place
    from churn_assets.workspace import Workspace

EVENT_ID = "event_id"


@dataclass
class RawTables:
    """Raw data of one person.

    Attributes:
        workspace: Where.
        user_id: Whose.
        reopened: Days on which another person's event had the same event id, and was rejected as a repetition of the
            person's: validation has to look at them again.
    """

    workspace: Workspace
    user_id: str
    reopened: set[date] = field(default_factory=set)
    _connection: duckdb.DuckDBPyConnection | None = None

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """Keep one engine for all files, as long as the block runs: one a file takes longer than to read the file."""
        with connect(self.workspace.layout.temporary) as self._connection:
            yield
        self._connection = None

    def places(self) -> list[Place]:
        """Users, engagements, events, and then what was rejected of them."""
        layout = self.workspace.layout
        return [
            Files("raw_users", partial(files_of, layout.raw_users), self._count("users"), self._strip("users")),
            Files(
                "raw_engagements",
                partial(files_of, layout.raw_engagements),
                self._count("engagements"),
                self._strip("engagements"),
            ),
            Files("raw_events", partial(files_of, layout.raw_events), self._events, self._strip("events")),
            Files("quarantine", self._quarantine_files, self._rejected, self._strip_rejected),
        ]

    def _count(self, kind: Kind) -> partial[int]:
        return partial(self._rows, kind)

    def _strip(self, kind: Kind) -> partial[None]:
        return partial(self._take_out, kind)

    def _rows(self, kind: Kind, path: Path) -> int:
        return self._about(kind, path)[1]

    def _take_out(self, kind: Kind, path: Path) -> None:
        kept, _, shared = self._about(kind, path)
        if shared:
            self.reopened.add(date.fromisoformat(path.stem))
        write_table(path, kept)

    def _about(self, kind: Kind, path: Path) -> tuple[pa.Table, int, bool]:
        """A file without the person, how many rows of it are about them, and whether an event id is also another's."""
        try:
            raw = pq.ParquetFile(path).read()
        except pa.ArrowInvalid as error:
            raise unreadable(path, error) from error
        rows = self._with_id(raw) if self._is_settled(kind, path) else self._judged(kind, raw)
        kept = without_rows(raw, rows)
        return kept, int(rows.sum()), _share_an_event(kept, raw.filter(pa.array(rows)))

    def _judged(self, kind: Kind, raw: pa.Table) -> NDArray[np.bool_]:
        """Which rows are about the person: each is held against the contract, since some may be nobody's."""
        if self._connection is None:
            raise AssertionError  # nobody searches outside of `searching`
        return rows_about(self._connection, raw, kind, {self.user_id}, self.workspace.settings).rows

    def _with_id(self, raw: pa.Table) -> NDArray[np.bool_]:
        ids = pc.utf8_trim(raw[USER_ID].cast(pa.string()), " ")
        found: NDArray[np.bool_] = pc.fill_null(pc.equal(ids, self.user_id), fill_value=False).to_numpy()
        return found

    def _is_settled(self, kind: Kind, path: Path) -> bool:
        """Whether only the person's own rows are about them: no row of the day was rejected, or none with the id."""
        if kind != "events":
            return False
        layout, day = self.workspace.layout, date.fromisoformat(path.stem)
        rejected, validated = layout.quarantine_file("events", day), layout.events.path(day)
        if not validated.exists():
            return False
        if rejected.exists():
            return not self._rejected(rejected)
        return _row_count(path) == _row_count(validated)  # else the quarantine was cleaned up

    def _events(self, path: Path) -> int:
        """Rows of a day about the person; of a settled day, only the ids are read."""
        if not self._is_settled("events", path):
            return self._rows("events", path)
        try:
            with pq.ParquetFile(path) as file:
                return int(self._with_id(file.read([USER_ID])).sum())
        except (pa.ArrowInvalid, KeyError) as error:
            raise unreadable(path, error) from error

    def _quarantine_files(self) -> Iterable[Path]:
        return sorted(self.workspace.layout.quarantine.glob("*.csv"))

    def _rejected(self, path: Path) -> int:
        return rows_in_csv(path, self.user_id, self._is_about)

    def _strip_rejected(self, path: Path) -> None:
        strip_csv(path, self.user_id, self._is_about)
        with path.open(newline="", encoding="utf-8") as lines:
            rest = csv.reader(lines)
            next(rest, None)
            is_empty = next(rest, None) is None
        if is_empty:
            path.unlink()

    def _is_about(self, row: dict[str, str]) -> bool:
        return row.get(USER_ID, "").strip(" ") == self.user_id or self.user_id in values_of(row)


def _row_count(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid as error:
        raise unreadable(path, error) from error


def _share_an_event(kept: pa.Table, gone: pa.Table) -> bool:
    if EVENT_ID not in kept.column_names or not gone.num_rows:
        return False
    return bool(pc.any(pc.is_in(kept[EVENT_ID], value_set=gone[EVENT_ID].drop_null().combine_chunks())).as_py())

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
        if self._connection is None:
            raise AssertionError  # nobody searches outside of `searching`
        about = rows_about(self._connection, raw, kind, {self.user_id}, self.workspace.settings)
        kept = without_rows(raw, about.rows)
        return kept, int(about.rows.sum()), _share_an_event(kept, raw.filter(pa.array(about.rows)))

    def _events(self, path: Path) -> int:
        """Rows of a day; each is judged only if a rejected row has the id, or if the day was never validated."""
        layout, day = self.workspace.layout, date.fromisoformat(path.stem)
        rejected = layout.quarantine_file("events", day)
        is_known = layout.events.path(day).exists() and not (rejected.exists() and self._rejected(rejected))
        return _with_id(path, self.user_id) if is_known else self._rows("events", path)

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


def _with_id(path: Path, user_id: str) -> int:
    try:
        with pq.ParquetFile(path) as file:
            ids = file.read([USER_ID])[USER_ID].cast(pa.string())
    except (pa.ArrowInvalid, KeyError) as error:
        raise unreadable(path, error) from error
    return pc.sum(pc.equal(pc.utf8_trim(ids, " "), user_id)).as_py() or 0


def _share_an_event(kept: pa.Table, gone: pa.Table) -> bool:
    if EVENT_ID not in kept.column_names or not gone.num_rows:
        return False
    return bool(pc.any(pc.is_in(kept[EVENT_ID], value_set=gone[EVENT_ID].drop_null().combine_chunks())).as_py())

"""Dagster's one-file SQLite event log with its connections kept open.

Dagster opens a new engine and connection for every event, and closing the last connection of a database in WAL mode
writes the whole log back. A run over 150 daily partitions of four assets records 1,200 events; kept open, they cost a
third. `synchronous = NORMAL` is SQLite's own advice for WAL: a killed process loses nothing, a power cut may cost the
last events, never the database (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as db
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagster._serdes import ConfigurableClassData

BUSY_SECONDS = 15


class LocalEventLogStorage(ConsolidatedSqliteEventLogStorage):
    """The event log of an instance on one machine, in `DAGSTER_HOME/history`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[int, db.Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing can be configured."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Open the log of the instance at `DAGSTER_HOME`."""
        del config_value
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history"), inst_data)

    def dispose(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()  # type: ignore[no-untyped-call]

    def has_table(self, table_name: str) -> bool:
        """Whether the log has a table; asked for each event, so what has been seen is not looked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextlib.contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        with self._engine().begin() as connection:
            yield connection

    def _engine(self) -> db.Engine:
        """This process's engine: a connection that a fork has inherited must not be used in the child."""
        process = os.getpid()
        with _LOCK:
            if process not in self._engines:
                engine = db.create_engine(self._conn_string, connect_args={"timeout": BUSY_SECONDS})
                db.event.listen(engine, "connect", _relax)
                self._engines[process] = engine
        return self._engines[process]


_LOCK = threading.Lock()


def _relax(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")

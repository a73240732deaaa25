"""The embedded query engine: DuckDB over Parquet and CSV files."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from typing import TYPE_CHECKING

import duckdb
import fsspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MEMORY_LIMIT = "2GB"
"""What DuckDB may hold before it spills to `paths.data`/tmp."""


@contextlib.contextmanager
def connect(temporary: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory engine that spills to `temporary`, speaks UTC, keeps the order of rows, and fetches no code.

    Each has temporary tables of its own; what is started for it, 20 ms of work, is kept for the next.
    """
    connection = _started(str(temporary)).cursor()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


@functools.lru_cache(maxsize=1)
def _started(temporary: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": temporary,
            "autoinstall_known_extensions": False,
        }
    )


os.register_at_fork(before=_started.cache_clear)  # its threads would be missing in the child
atexit.register(_started.cache_clear)  # it complains of what is still open when Python is gone


def register_remote(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    """Let the engine read URLs (s3://, gs://, memory://, …) through fsspec."""
    for protocol in sorted({name.split("://")[0] for name in names if "://" in name}):
        if protocol not in connection.list_filesystems():
            connection.register_filesystem(fsspec.filesystem(protocol))


def identifier(name: str) -> str:
    """`name` quoted as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` quoted as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def list_literal(texts: list[str]) -> str:
    """`texts` as an SQL list of strings."""
    return "[" + ", ".join(literal(text) for text in texts) + "]"

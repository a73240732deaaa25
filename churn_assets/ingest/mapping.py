"""A customer's columns under our names: the SQL that reads files as a mapping describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from churn_assets.engine import identifier, list_literal, literal, register_remote
from churn_assets.ingest.source import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.source_settings import FileSettings

OFFSET = r"([A-Za-z]|[+-]\d{2}(:?\d{2})?)$"
"""A time that says its zone ends so: Z, +02, +02:00, UTC, Europe/Berlin."""


@dataclass(frozen=True)
class MappedFiles:
    """Files of one kind, and how they are read."""

    settings: FileSettings
    files: tuple[str, ...]
    key: str

    def relation(self, connection: duckdb.DuckDBPyConnection, files: Sequence[str] | None = None) -> str:
        """Make a view over the files and return its name; columns are checked against the mapping.

        Raises:
            SourceError: A file is empty or cannot be read, or a mapped column is not there.
        """
        name = f"source_{self.key}"
        register_remote(connection, self.files)
        try:
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM {self._reader(files)}")
            columns = [row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()]
        except duckdb.Error as error:
            raise self.unreadable(error) from None
        self._check_columns(columns)
        return name

    def types(self, connection: duckdb.DuckDBPyConnection, view: str) -> dict[str, str]:
        """The type of each source column."""
        return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {view}").fetchall()}

    def unreadable(self, error: duckdb.Error) -> SourceError:
        """The engine's complaint in our words, with what to do."""
        text = str(error)
        first = text.splitlines()[0]
        if "sniffing" in first:
            return SourceError(
                f"{self.settings.path} cannot be split into columns: look for a quote that is never closed and for "
                "different line ends in one file, and see whether `delimiter:` and `encoding:` under `source.files` "
                f"are right ({first})"
            )
        if "encoding" in text:
            return SourceError(
                f"{self.settings.path} cannot be read in the encoding {self.settings.encoding}: set `encoding:` for "
                f"it (utf-8, latin-1 or utf-16) under `source.files` ({first})"
            )
        return SourceError(f"{self.settings.path} cannot be read: {text.strip()[:500]}")

    @property
    def is_csv(self) -> bool:
        """Whether these files are text."""
        if self.settings.format != "auto":
            return self.settings.format == "csv"
        return not self.files[0].split("?")[0].endswith((".parquet", ".pq"))

    def _reader(self, files: Sequence[str] | None) -> str:
        names = list(files or self.files)
        if not self.is_csv:
            return f"read_parquet({list_literal(names)}, filename = 'source_file', union_by_name = true)"
        options = (
            "header = true, all_varchar = true, filename = 'source_file', store_rejects = true, quote = '\"', "
            f"encoding = {literal(self.settings.encoding)}, delim = {literal(self.settings.delimiter or ',')}"
        )
        # One reader a file: DuckDB keeps rejected lines only where it need not match the columns of several files.
        readers = (f"SELECT * FROM read_csv({literal(name)}, {options})" for name in names)
        return "(" + " UNION ALL BY NAME ".join(readers) + ")"

    def _check_columns(self, columns: Sequence[str]) -> None:
        missing = sorted(set(self.settings.columns.values()) - set(columns))
        if not missing:
            return
        there = ", ".join(column for column in columns if column != "source_file")
        hint = ""
        if len(columns) <= 2 and self.is_csv:
            hint = "; only one column was found: is `delimiter:` right?"
        if "\0" in there:
            hint = "; that is no text: is `encoding:` right?"
            there = there.replace("\0", "")
        raise SourceError(
            f"{self.settings.path} has no column {', '.join(missing)} (it has: {there}){hint}. Mend the mapping under "
            f"`source.files.{self.key.split('_')[0]}`"
        )


def instant(column: str, kind: str, zone: str) -> str:
    """SQL: a column of any type as a UTC timestamp; null where it is no time.

    A date alone is midnight UTC. A time without an offset is in `zone`.
    """
    if kind.startswith("TIMESTAMP WITH"):
        return column
    if kind.startswith("TIMESTAMP"):
        return f"timezone({literal(zone)}, CAST({column} AS TIMESTAMP))"
    if kind == "DATE":
        return f"timezone('UTC', CAST({column} AS TIMESTAMP))"
    if kind == "VARCHAR":
        return (
            f"CASE WHEN regexp_matches(trim({column}), {literal(OFFSET)}) AND length(trim({column})) > 10 "
            f"THEN TRY_CAST(trim({column}) AS TIMESTAMPTZ) WHEN length(trim({column})) <= 10 "
            f"THEN timezone('UTC', CAST(TRY_CAST(trim({column}) AS DATE) AS TIMESTAMP)) "
            f"ELSE timezone({literal(zone)}, TRY_CAST(trim({column}) AS TIMESTAMP)) END"
        )
    raise SourceError(f"column {column} has type {kind}; a date, a timestamp or text is needed")


def renamed(mapping: dict[str, str], wanted: Sequence[str]) -> str:
    """SQL: the wanted columns that the mapping has, under our names."""
    return ", ".join(f"{identifier(mapping[name])} AS {identifier(name)}" for name in wanted if name in mapping)


def event_type(settings: FileSettings) -> str:
    """SQL: our name of a row's event type; null for rows to be left out.

    A name that the mapping does not list is no event type, even if it happens to be one of ours: nothing would be
    computed of it.
    """
    if settings.event_type is not None:
        return literal(settings.event_type)
    column = f"coalesce(CAST({identifier(settings.columns['event_type'])} AS VARCHAR), '')"
    if not settings.event_types:
        return column
    cases = " ".join(
        f"WHEN {literal(theirs)} THEN {literal(ours) if ours else 'NULL'}"
        for theirs, ours in settings.event_types.items()
    )
    return f"CASE {column} {cases} ELSE 'not mapped: ' || {column} END"


def unreadable_lines(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Lines that the CSV reader could not split, each with its file, in the scans of this connection so far.

    Raises:
        SourceError: A quote is never closed, so that what follows it cannot be told apart.
    """
    try:
        rows = connection.execute(
            "SELECT DISTINCT ON (s.file_path, e.line) e.line, e.error_type, e.error_message, "
            "coalesce(e.csv_line, ''), s.file_path FROM reject_errors e JOIN reject_scans s USING (scan_id, file_id) "
            "ORDER BY s.file_path, e.line, e.error_type, e.error_message"
        ).fetchall()
    except duckdb.CatalogException:  # nothing was rejected, so there are no such tables
        return []
    return [(_unreadable(number, kind, f"{message}: {text}", name), name) for number, kind, message, text, name in rows]


def _unreadable(number: int, kind: str, text: str, name: str) -> str:
    if kind == "UNQUOTED VALUE" and "\n" in text:
        raise SourceError(f"{name}, line {number}: a quote is never closed, and hides the lines after it: close it")
    hint = " (set `encoding:` under `source.files`)" if kind == "INVALID ENCODING" else ""
    return f"line {number}: {text}{hint}"

"""CSV and Parquet files as a source: local or at any fsspec URL, mapped to our names by configuration."""

from __future__ import annotations

import posixpath
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import duckdb
import fsspec
import pyarrow as pa

from churn_assets.engine import connect, identifier, literal
from churn_assets.ingest import arrivals
from churn_assets.ingest.mapping import MappedFiles, event_type, instant, renamed, unreadable_lines
from churn_assets.ingest.source import (
    ENGAGEMENT_COLUMNS,
    EVENT_VALUES,
    USER_COLUMNS,
    Provided,
    SourceError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from churn_assets.layout import Layout
    from churn_assets.settings import Settings
    from churn_assets.source_settings import FileSettings

HISTORY_SHARE = 0.001
"""Rows before the first day that holds more than this share of all rows are taken for wrong dates, not for history."""


class FilesSource:
    """Users, events and engagements in files."""

    def __init__(self, settings: Settings, layout: Layout, pinned: date | None = None) -> None:
        if settings.source.files is None:
            raise SourceError("`source.kind` is `files`, but there is no `source.files` section")
        self._files = settings.source.files
        self._settings = settings
        self._layout = layout
        self._pinned = pinned

    @cached_property
    def provided(self) -> Provided:
        """What the mapping names."""
        types: set[str] = set()
        values: set[str] = set()
        for spec in self._files.events:
            types |= _event_types(spec, self._settings)
            values |= set(EVENT_VALUES) & spec.columns.keys()
        optional = {*USER_COLUMNS[2:], *self._settings.users.attributes}
        return Provided(
            event_types=frozenset(types),
            values=frozenset(values),
            user_columns=frozenset(optional & self._files.users.columns.keys()),
            engagements=self._files.engagements is not None,
        )

    def first_day(self) -> date:
        """As pinned at the first ingest; else `source.start_date`, or the first day from which on nearly all are."""
        decided = self._pinned or self._settings.source.start_date
        if decided:
            return decided
        with connect(self._layout.temporary) as connection:
            query = self._dated_events(connection, columns="CAST(event_time AS DATE) AS day")
            found = connection.execute(
                f"SELECT quantile_disc(day, {HISTORY_SHARE}) FROM ({query}) WHERE day <= ?", [self._settings.today]
            ).fetchone()
        if found is None or found[0] is None:
            raise SourceError("the event files hold no event with a usable time up to today: nothing can be built")
        day: date = found[0]
        return day

    def users(self, last_day: date) -> pa.Table:  # noqa: ARG002 - files hold whoever they hold
        """Everybody in the users file."""
        wanted = [*USER_COLUMNS, *self._settings.users.attributes]
        return self._dimension(self._files.users, "users", wanted, dates=("signup_date",))

    def engagements(self) -> pa.Table | None:
        """Everything in the engagements file, if one is configured."""
        if self._files.engagements is None:
            return None
        dates = ENGAGEMENT_COLUMNS[1:]
        return self._dimension(self._files.engagements, "engagements", ENGAGEMENT_COLUMNS, dates=dates)

    def events(self, days: Sequence[date]) -> Iterator[tuple[date, pa.Table]]:
        """The events of each day, read in one pass over the files that hold any of them."""
        first, last = min(days), max(days)
        with connect(self._layout.temporary) as connection:
            query = self._dated_events(connection, files=self._files_of(days))
            day = f"CASE WHEN {self._undated()} THEN {self._day_of_undated(last)} ELSE CAST(event_time AS DATE) END"
            try:
                connection.execute(
                    f"CREATE TEMP TABLE wanted AS SELECT * FROM (SELECT *, {day} AS day FROM ({query})) "
                    f"WHERE day BETWEEN DATE '{first}' AND DATE '{last}' ORDER BY day"
                )
            except duckdb.Error as error:
                raise self._events[0].unreadable(error) from None
            lines = self._lines_by_day(connection, last)
            for wanted in days:
                rows = connection.sql(
                    f"SELECT * EXCLUDE (day, source_file) FROM wanted WHERE day = DATE '{wanted}' "
                    "ORDER BY user_id, event_time, event_type, row_hash"
                ).to_arrow_table()
                yield wanted, pa.concat_tables([rows, _as_rows(lines.get(wanted, []))], promote_options="default")

    def late_days(self, built: Sequence[date]) -> list[date]:
        """Days already built whose rows differ from what was read."""
        before = arrivals.read_arrivals(self._layout.arrivals)
        differing = arrivals.touched(before, self._arrivals)
        return [day for day in built if day.isoformat() in differing]

    def has_news(self) -> bool:
        """Whether an event file came, went or changed since it was read."""
        before = arrivals.read_arrivals(self._layout.arrivals)
        return {name: content.stamp for name, content in before.items()} != self._stamps

    def acknowledge(self) -> None:
        """Remember every file's state, as it was when this source was opened."""
        arrivals.write_arrivals(self._layout.arrivals, self._arrivals)

    @cached_property
    def _events(self) -> list[MappedFiles]:
        return [
            MappedFiles(spec, tuple(self._find(spec)), f"events_{number}")
            for number, spec in enumerate(self._files.events)
        ]

    @cached_property
    def _stamps(self) -> dict[str, str]:
        return {name: _stamp(name) for mapped in self._events for name in mapped.files}

    @cached_property
    def _arrivals(self) -> arrivals.Arrivals:
        """Every event file's stamp and days; files that have not changed are not read again."""
        before = arrivals.read_arrivals(self._layout.arrivals)
        stamps = self._stamps
        now = {name: before[name] for name in stamps if name in before and before[name].stamp == stamps[name]}
        unread = stamps.keys() - now.keys()
        days = self._fingerprints(sorted(unread)) if unread else {}
        return now | {name: arrivals.FileContent(stamps[name], days.get(name, {})) for name in unread}

    def _fingerprints(self, files: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        with connect(self._layout.temporary) as connection:
            query = self._dated_events(connection, files=frozenset(files))
            day = f"CASE WHEN {self._undated()} THEN 'undated' ELSE CAST(CAST(event_time AS DATE) AS VARCHAR) END"
            rows = connection.execute(
                f"SELECT source_file, {day} AS day, count(*) || ':' || sum(CAST(row_hash AS HUGEINT)) "
                f"FROM ({query}) GROUP BY ALL"
            ).fetchall()
            lines = unreadable_lines(connection)
        for name, key, fingerprint in rows:
            found.setdefault(name, {})[key] = fingerprint
        return arrivals.with_loose_rows(found, lines)

    def _files_of(self, days: Sequence[date]) -> frozenset[str]:
        wanted = {day.isoformat() for day in days} | {arrivals.UNDATED}
        return frozenset(name for name, content in self._arrivals.items() if wanted & content.days.keys())

    def _newest_day(self, name: str) -> date | None:
        """The newest day that a file holds: rows of it that belong to no day are counted with that one."""
        dated = [day for day in self._arrivals[name].days if day != arrivals.UNDATED]
        return min(date.fromisoformat(max(dated)), self._settings.yesterday) if dated else None

    def _day_of_undated(self, otherwise: date) -> str:
        homes = [
            (name, self._newest_day(name)) for name, found in self._arrivals.items() if arrivals.UNDATED in found.days
        ]
        cases = " ".join(f"WHEN {literal(name)} THEN DATE '{day}'" for name, day in homes if day)
        return f"CASE source_file {cases} ELSE DATE '{otherwise}' END" if cases else f"DATE '{otherwise}'"

    def _lines_by_day(self, connection: duckdb.DuckDBPyConnection, otherwise: date) -> dict[date, list[str]]:
        """Lines that could not be split into columns, with the newest day of their file."""
        found: dict[date, list[str]] = {}
        for line, name in unreadable_lines(connection):
            found.setdefault(self._newest_day(name) or otherwise, []).append(line)
        return found

    def _undated(self) -> str:
        tomorrow = self._settings.today + timedelta(days=1)
        return f"(event_time IS NULL OR event_time < DATE '{self._first_day}' OR event_time >= DATE '{tomorrow}')"

    @cached_property
    def _first_day(self) -> date:
        return self.first_day()

    def _dated_events(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        files: frozenset[str] | None = None,
        columns: str = "*",
    ) -> str:
        """SQL over all event files (or some): our columns, `event_time` in UTC, what made it unreadable, a row hash."""
        parts: list[str] = []
        for mapped in self._events:
            chosen = [name for name in mapped.files if files is None or name in files]
            if chosen or files is None or not parts:
                parts.append(self._mapped_events(connection, mapped, chosen or list(mapped.files), empty=not chosen))
        return f"SELECT {columns} FROM (" + " UNION ALL BY NAME ".join(parts) + ")"

    def _mapped_events(
        self, connection: duckdb.DuckDBPyConnection, mapped: MappedFiles, files: list[str], *, empty: bool
    ) -> str:
        spec = mapped.settings
        view = mapped.relation(connection, files)
        time = identifier(spec.columns["event_time"])
        types = mapped.types(connection, view)
        parsed = instant(time, types[spec.columns["event_time"]], self._settings.source.time_zone)
        whole = ", ".join(identifier(name) for name in sorted(types) if name != "source_file")
        kind = event_type(spec)
        values = renamed(spec.columns, ("event_id", *EVENT_VALUES))
        return (
            f"SELECT CAST({identifier(spec.columns['user_id'])} AS VARCHAR) AS user_id, {kind} AS event_type, "
            f"{parsed} AS event_time, CASE WHEN {parsed} IS NULL THEN CAST({time} AS VARCHAR) END AS source_note, "
            f"{values + ',' if values else ''} source_file, hash({whole}) AS row_hash "
            f"FROM {view} WHERE ({kind}) IS NOT NULL{' AND false' if empty else ''}"
        )

    def _dimension(self, spec: FileSettings, key: str, wanted: Sequence[str], dates: Sequence[str]) -> pa.Table:
        mapped = MappedFiles(spec, tuple(self._find(spec)), key)
        with connect(self._layout.temporary) as connection:
            view = mapped.relation(connection)
            types = mapped.types(connection, view)
            notes = []
            parts = [renamed({"user_id": spec.columns["user_id"]}, ["user_id"])]
            for name in wanted[1:]:
                if name not in spec.columns:
                    continue
                column = identifier(spec.columns[name])
                if name in dates:
                    parsed = f"CAST({instant(column, types[spec.columns[name]], 'UTC')} AS DATE)"
                    parts.append(f"{parsed} AS {name}")
                    notes.append(f"CASE WHEN {parsed} IS NULL THEN CAST({column} AS VARCHAR) END")
                else:
                    parts.append(f"{column} AS {identifier(name)}")
            note = f"concat_ws(' ', {', '.join(notes)})" if notes else "''"
            query = f"SELECT {', '.join(parts)}, {note} AS source_note FROM {view}"
            try:
                table = connection.sql(query).to_arrow_table()
            except duckdb.Error as error:
                raise mapped.unreadable(error) from None
            lines = [line for line, _ in unreadable_lines(connection)]
            return pa.concat_tables([table, _as_rows(lines)], promote_options="default")

    def _find(self, spec: FileSettings) -> list[str]:
        """The files that a path, glob or URL names.

        Raises:
            SourceError: There is none, or one is empty.
        """
        path = spec.path if "://" in spec.path else posixpath.join(self._files.root, spec.path)
        system, inner = fsspec.core.url_to_fs(path)
        names = sorted(system.glob(inner)) if any(mark in inner for mark in "*?[") else [inner]
        if not names or not all(system.exists(name) for name in names):
            raise SourceError(f"{path}: no such file. Paths count from `source.files.root` ({self._files.root})")
        empty = [name for name in names if not system.size(name)]
        if empty:
            raise SourceError(f"{empty[0]} is empty: not even a header line")
        return [system.unstrip_protocol(name) if "://" in path else name for name in names]


def _event_types(spec: FileSettings, settings: Settings) -> set[str]:
    if spec.event_type:
        return {spec.event_type}
    if spec.event_types:
        return {ours for ours in spec.event_types.values() if ours}
    return set(settings.events.vocabulary)


def _stamp(name: str) -> str:
    system, inner = fsspec.core.url_to_fs(name)
    info = system.info(inner)
    changed = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(key)), None)
    return f"{info['size']}:{changed}"


def _as_rows(lines: Sequence[str]) -> pa.Table:
    """Lines that could not be split into columns, as raw rows: validation rejects and keeps them."""
    return pa.table(
        {"source_note": pa.array(lines, pa.string()), "unreadable": pa.array([True] * len(lines), pa.bool_())}
    )

"""Dagster's own database: runs, events, schedules.

SQLite's files are copied through its online backup, so each copy is consistent while others write. PostgreSQL has tools
of its own, which do that better; here it is only said how to call them.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import yaml

from churn_assets.upkeep.backup_files import Places, Source
from churn_assets.upkeep.backup_manifest import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = "dagster.yaml"
MAGIC = b"SQLite format 3\0"
BUSY_SECONDS = 30.0
ORDER = ("schedules/schedules.db", "history/runs.db")
"""Copied first. A tick that the copy does not know of is judged again, and finds the run that it asked for; a run of
which only the tick is known would never come about."""


@dataclass(frozen=True)
class Database:
    """How Dagster keeps its runs.

    Attributes:
        files: Its files, if it is SQLite; and Dagster's settings in any case.
        said: In words: what is saved, or how to save it.
    """

    files: tuple[Source, ...]
    said: str


def find_database(places: Places) -> Database:
    """Return Dagster's database.

    Raises:
        BackupError: `dagster.yaml` cannot be read.
    """
    home = places.dagster
    settings = _settings(home / CONFIGURATION)
    kept = [Source("dagster", CONFIGURATION, home / CONFIGURATION)] if settings else []
    if (postgres := _postgres(settings)) is not None:
        return Database(tuple(kept), f"PostgreSQL, not included; save it with: {_pg_dump(postgres)}")
    inside = [folder for folder in (places.data, places.artifacts) if folder != home]
    databases = [path for path in sorted(home.rglob("*.db")) if path.is_file() and not set(inside) & set(path.parents)]
    named = [Source("dagster", path.relative_to(home).as_posix(), path) for path in databases]
    kept += sorted(named, key=lambda source: (*(source.path != first for first in ORDER), source.path))
    said = f"SQLite, {len(databases)} files" if databases else f"none in {home}"
    return Database(tuple(kept), said)


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def copied(path: Path, folder: Path) -> Iterator[Path]:
    """A consistent copy of an SQLite database while the block runs.

    Args:
        path: The database; others may be writing to it.
        folder: Where the copy is put.

    Yields:
        The copy, one file.

    Raises:
        BackupError: It is damaged, is kept locked, or the copy cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "database.db"
    copy.unlink(missing_ok=True)
    try:
        # "rw" and not "ro": a database with a write-ahead log cannot always be read without its index being made.
        address = f"file:{quote(str(path))}?mode=rw"
        with (
            contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        copy.unlink(missing_ok=True)
        raise BackupError(
            f"{path} cannot be copied: {error}; no backup was made: move it away to save the rest"
        ) from None
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def log_size(path: Path) -> tuple[int, ...]:
    """Size and modification time (ns) of a database's write-ahead log; nothing if there is none."""
    try:
        status = path.with_name(f"{path.name}-wal").stat()
    except FileNotFoundError:
        return ()
    return status.st_size, status.st_mtime_ns


def _settings(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BackupError(f"{path} cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}


def _postgres(settings: dict[str, Any]) -> dict[str, Any] | None:
    """What is configured of PostgreSQL, in either of the two forms that Dagster knows; None if it is not used."""
    storage = settings.get("storage")
    if isinstance(storage, dict) and isinstance(storage.get("postgres"), dict):
        return dict(storage["postgres"])
    for key in ("run_storage", "event_log_storage", "schedule_storage"):
        section = settings.get(key)
        if isinstance(section, dict) and str(section.get("module", "")).startswith("dagster_postgres"):
            return dict(section.get("config") or {})
    return None


def _pg_dump(postgres: dict[str, Any]) -> str:
    """The command that saves it; it asks for the password, or finds it in PGPASSWORD or ~/.pgpass."""
    named = postgres.get("postgres_db")
    if isinstance(named, dict):
        parts = {"host": "hostname", "port": "port", "username": "username", "dbname": "db_name"}
        given = {option: _word(named[key]) for option, key in parts.items() if key in named}
    elif isinstance(postgres.get("postgres_url"), dict):
        given = {"dbname": _word(postgres["postgres_url"])}
    else:
        url = urlsplit(str(postgres.get("postgres_url", "")))
        found = {"host": url.hostname, "port": url.port, "username": url.username, "dbname": url.path.strip("/")}
        given = {option: _word(value) for option, value in found.items() if value}
    options = "".join(f" --{option}={value}" for option, value in given.items())
    return f"pg_dump --format=custom --file=dagster.dump{options}"


def _word(value: Any) -> str:
    """A value for a shell; one that Dagster takes from the environment is taken from there as well."""
    if isinstance(value, dict):
        return f'"${value.get("env", "")}"'
    return shlex.quote(str(value))


def remove_copies(folder: Path) -> None:
    """Remove the folder of copies, and what a killed backup has left there."""
    shutil.rmtree(folder, ignore_errors=True)

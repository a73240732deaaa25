"""A small deployment with models and days of data, made by the project's own writers, to be saved and brought back."""

import contextlib
import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import fsspec
import pyarrow as pa
from artifact_factory import open_registry, register, rows_of, table
from builders import files_of

from churn_assets.settings import Settings
from churn_assets.upkeep.backup import back_up
from churn_assets.upkeep.backup_store import Store
from churn_assets.upkeep.restore import restore
from churn_assets.workspace import Workspace
from churn_serving import atomic

FIRST = date(2026, 11, 1)
PASSING = (".lock", ".lock.owner.json", ".part")


def still(*_):
    """Progress that nobody reads."""


@dataclass(frozen=True)
class World:
    """A deployment in `folder`, and a place for backups beside it."""

    folder: Path
    place: str

    @classmethod
    def at(cls, folder, place=None):
        """An empty one."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, str(place or folder.parent / "backups"))

    @property
    def workspace(self):
        """As settings describe it."""
        return Workspace(
            Settings.model_validate({"paths": {"data": self.folder / "data", "artifacts": self.folder / "artifacts"}})
        )

    @property
    def layout(self):
        """Where its files lie."""
        return self.workspace.layout

    @property
    def registry(self):
        """Its models."""
        return open_registry(self.layout.artifacts)

    @property
    def store(self):
        """Its backups."""
        return Store(self.place)

    def fill(self, days=3):
        """Two models, of which one serves, and some days of events, each summed up."""
        registry = self.registry
        first, second = register(registry, 1), register(registry, 2)
        registry.promote(first, actor="test", reason="the first")
        registry.promote(second, actor="test", reason="better")
        for number in range(days):
            self.build_day(FIRST + timedelta(days=number), number)
        return self

    def build_day(self, day, seed):
        """Events of a day, and what is built from them, recorded as such."""
        layout = self.layout
        layout.events.write(day, pa.table({"user_id": [f"u{seed}", "u"], "watch_minutes": [float(seed), 1.5]}))
        layout.user_daily.write(day, pa.table({"user_id": [f"u{seed}"], "events": [seed]}))
        layout.user_daily.record([day], layout.events.stamp)

    def write(self, name, content):
        """A file of any kind below the deployment's folder."""
        path = self.folder / name
        atomic.write_bytes(path, content)
        return path

    def save(self, **options):
        """Back it up."""
        return back_up(self.workspace, self.place, progress=still, **options)

    def bring_back(self, **options):
        """Restore it."""
        return restore(self.workspace, self.place, progress=still, **options)

    def elsewhere(self, folder):
        """An empty deployment that uses the same backups."""
        return World.at(folder, self.place)

    def lose(self):
        """All of its data and artifacts."""
        for name in ("data", "artifacts"):
            shutil.rmtree(self.folder / name)

    def files(self):
        """What it holds, but for what is about a moment only: bytes and modification times."""
        found = {name: files_of(self.folder / name) for name in ("data", "artifacts")}
        return {
            f"{root}/{name}": content
            for root, files in found.items()
            for name, content in files.items()
            if not name.endswith(PASSING) and name != "upkeep/last_backup.json"
        }

    def scores(self):
        """What the production model makes of some rows, to the bit."""
        registry = self.registry
        scorer = registry.load(registry.production().version).scorer
        return [scorer.score_row(scorer.encode_row(row)).hex() for row in rows_of(table(50, seed=3))]

    def spoil(self, digest, at=0):
        """Flip one bit of a stored object."""
        path = Path(self.place) / "objects" / digest[:2] / digest
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
        return path


def object_of(manifest, root, path):
    """The digest of a file in a backup."""
    return next(file.sha256 for file in manifest.files if (file.root, file.path) == (root, path))


def forget_memory_files():
    """Empty fsspec's file system in memory, which all tests share."""
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def make_database(path, rows=100):
    """An SQLite database with a write-ahead log, as Dagster has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE entries (number INTEGER, half INTEGER)")
        add_rows(connection, rows)


def add_rows(connection, rows):
    """Pairs of rows, each pair in one transaction."""
    for number in range(rows):
        with connection:
            connection.execute("INSERT INTO entries VALUES (?, 1)", (number,))
            connection.execute("INSERT INTO entries VALUES (?, 2)", (number,))


def halves(path):
    """How many first and second rows of pairs a database has, and what SQLite says of it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        counts = [
            connection.execute("SELECT count(*) FROM entries WHERE half = ?", (half,)).fetchone()[0] for half in (1, 2)
        ]
        return counts, connection.execute("PRAGMA integrity_check").fetchone()[0]


def set_age(path, seconds):
    """Make a file look as if it had been written that long ago."""
    past = path.stat().st_mtime - seconds
    os.utime(path, (past, past))


def names(saved):
    return {f"{file.root}/{file.path}" for file in saved.manifest.files}


def hidden(world):
    """What a restore has left behind under its own names."""
    return [path.name for root in ("data", "artifacts") for path in (world.folder / root).glob(".restoring-*")]

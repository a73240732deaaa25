"""Dagster's own database in a backup: whole while it is written to, or left to PostgreSQL's tool."""

import contextlib
import json
import sqlite3
import threading
from pathlib import Path

import pytest
from backup_world import add_rows, halves, make_database, names, object_of

from churn_assets.upkeep.backup_database import find_database
from churn_assets.upkeep.backup_files import Places
from churn_assets.upkeep.backup_manifest import BackupError


def test_a_database_that_is_written_to_is_saved_whole(world, home, tmp_path):
    path = home / "history" / "runs.db"
    make_database(path)
    done = threading.Event()

    def write():
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
            while not done.is_set():
                add_rows(connection, 20)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        saved = [world.save() for _ in range(3)]
    finally:
        done.set()
        writer.join(60)
    for one in saved:
        digest = object_of(one.manifest, "dagster", "history/runs.db")
        copy = tmp_path / "copy.db"
        copy.write_bytes((Path(world.place) / "objects" / digest[:2] / digest).read_bytes())
        (first, second), verdict = halves(copy)
        assert verdict == "ok"
        assert first == second >= 100
        copy.unlink()


def test_a_database_is_copied_only_if_it_has_changed(world, home, monkeypatch):
    path = home / "schedules" / "schedules.db"
    make_database(path)
    monkeypatch.setattr("churn_assets.upkeep.backup_collect.SETTLED_NS", -(10**15))
    world.save()
    with monkeypatch.context() as patch:
        patch.setattr("churn_assets.upkeep.backup_database.copied", lambda *_: pytest.fail("it was copied"))
        world.save()
    make_database(home / "schedules" / "more.db", 7)
    assert [file.path for file in world.save().sent] == ["schedules/more.db"]


def test_schedules_come_before_runs_and_runs_before_their_events(world, home):
    for name in ("history/event_log.db", "history/runs.db", "schedules/schedules.db"):
        make_database(home / name, 1)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    found = find_database(Places.of(world.workspace))
    assert [source.path for source in found.files] == [
        "dagster.yaml",
        "schedules/schedules.db",
        "history/runs.db",
        "history/event_log.db",
    ]
    assert found.said == "SQLite, 3 files"


def test_a_damaged_database_is_told_by_name(world, home):
    path = home / "history" / "runs.db"
    make_database(path)
    content = bytearray(path.read_bytes())
    content[16:18] = b"\x00\x03"  # no such size of a page
    path.write_bytes(content)
    with pytest.raises(BackupError, match=r"runs\.db cannot be copied"):
        world.save()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {
                "postgres_db": {
                    "hostname": "db",
                    "port": 5432,
                    "username": {"env": "PG_USER"},
                    "password": "s3cret",
                    "db_name": "d g",
                }
            },
            "--host=db --port=5432 --username=\"$PG_USER\" --dbname='d g'",
        ),
        (
            {"postgres_url": "postgresql://me:s3cret@db:5432/dagster"},
            "--host=db --port=5432 --username=me --dbname=dagster",
        ),
        ({"postgres_url": {"env": "PG_URL"}}, '--dbname="$PG_URL"'),
    ],
)
def test_postgresql_is_left_to_its_own_tool(world, home, settings, line):
    (home / "dagster.yaml").write_text(json.dumps({"storage": {"postgres": settings}}))
    make_database(home / "history" / "runs.db")  # of a time before
    saved = world.save()
    assert saved.manifest.database.endswith(f"pg_dump --format=custom --file=dagster.dump {line}")
    assert "not included" in saved.manifest.database
    assert "s3cret" not in saved.manifest.database
    assert "dagster/history/runs.db" not in names(saved)

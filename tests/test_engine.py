"""The query engine is started once and used by many."""

import multiprocessing
import subprocess
import sys

import duckdb
import pytest

from churn_assets.engine import connect


def count(folder):
    with connect(folder) as connection:
        return connection.execute("SELECT count(*) FROM range(1000)").fetchone()[0]


def test_temporary_tables_are_seen_by_who_made_them_alone(tmp_path):
    with connect(tmp_path) as one, connect(tmp_path) as other:
        one.execute("CREATE TEMP TABLE wanted AS SELECT 1 AS n")
        with pytest.raises(duckdb.CatalogException):
            other.execute("SELECT * FROM wanted")
    with connect(tmp_path) as later, pytest.raises(duckdb.CatalogException):
        later.execute("SELECT * FROM wanted")


def test_times_are_utc(tmp_path):
    with connect(tmp_path) as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)


def test_what_does_not_fit_goes_where_it_was_said(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        with connect(folder) as connection:
            assert connection.execute("SELECT current_setting('temp_directory')").fetchone() == (str(folder),)


def test_a_forked_child_can_use_it(tmp_path):
    assert count(tmp_path) == 1000
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(count(tmp_path)))
    child.start()
    assert queue.get(timeout=60) == 1000
    child.join(timeout=60)
    assert child.exitcode == 0
    assert count(tmp_path) == 1000


def test_a_process_that_used_it_ends_without_a_word(tmp_path):
    script = (
        f"from pathlib import Path\nfrom churn_assets.engine import connect\n"
        f"with connect(Path({str(tmp_path)!r})) as c:\n    print(c.execute('SELECT 7').fetchone()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("7\n", "")

"""Files that are whole or not there: full disks, killed writers, equal bytes."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pyarrow as pa
import pytest

from churn_assets import layout
from churn_serving import atomic

OLD = b"the old content, whole"


@pytest.fixture
def path(tmp_path):
    """A file with old content."""
    found = tmp_path / "folder" / "file.bin"
    atomic.write_bytes(found, OLD)
    return found


def assert_untouched(path):
    assert path.read_bytes() == OLD
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_folders_are_made_and_content_is_replaced(path):
    atomic.write_text(path, "nëw")
    assert path.read_bytes() == "nëw".encode()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_nothing_is_visible_before_the_end(path):
    with atomic.writing(path) as part:
        part.write_bytes(b"half")
        assert path.read_bytes() == OLD
        assert part.parent == path.parent
        assert part.name.startswith(".")
        assert part.name.endswith(atomic.PART_SUFFIX)
    assert path.read_bytes() == b"half"


def test_an_error_leaves_the_old_file_and_no_part(path):
    def fail():
        with atomic.writing(path) as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert_untouched(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_end_leaves_the_old_file(path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (type(path), "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_bytes(path, b"new")
    monkeypatch.undo()
    assert_untouched(path)


def test_a_table_that_does_not_fit_leaves_the_old_table(tmp_path, monkeypatch):
    days = layout.DayTable(tmp_path / "days", "user_daily")
    day = layout.date(2024, 1, 1)
    days.write(day, pa.table({"n": [1]}))

    def half_written(_table, where, **_):
        where.write_bytes(b"PAR1 half a table")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(layout.pq, "write_table", half_written)
    with pytest.raises(OSError, match="No space left"):
        days.write(day, pa.table({"n": [2]}))
    with pytest.raises(OSError, match="No space left"):
        days.write(layout.date(2024, 1, 2), pa.table({"n": [2]}))
    assert days.read(day).to_pydict() == {"n": [1]}
    assert days.days() == [day]
    assert [entry.name for entry in days.folder.iterdir()] == ["2024-01-01.parquet"]


def child(script, *arguments):
    """A Python process that runs `script`, with the modules under test."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], stdout=subprocess.PIPE
    )


def test_a_real_limit_on_the_size_of_files(path):
    script = """
        import resource, signal, sys
        from pathlib import Path
        from churn_serving import atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            atomic.write_bytes(Path(sys.argv[1]), b"x" * 100_000)
        except OSError as error:
            print(error.errno)
    """
    process = child(script, path)
    printed, _ = process.communicate()
    assert process.returncode == 0
    assert int(printed) == errno.EFBIG
    assert_untouched(path)


def test_a_writer_killed_half_way_leaves_the_old_file(path):
    script = """
        import sys, time
        from pathlib import Path
        from churn_serving import atomic
        with atomic.writing(Path(sys.argv[1])) as part, part.open("wb") as file:
            file.write(b"x" * 100_000)
            file.flush()
            print("half", flush=True)
            time.sleep(60)
    """
    process = child(script, path)
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.read_bytes() == OLD
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_table_of_days_does_not_see_what_a_killed_writer_left(tmp_path):
    days = layout.DayTable(tmp_path, "user_daily")
    day = layout.date(2024, 1, 1)
    days.write(day, pa.table({"n": [1]}))
    (tmp_path / f".2024-01-02.parquet.77-abcd{atomic.PART_SUFFIX}").write_bytes(b"half")
    assert days.days() == [day]


def test_equal_bytes_keep_the_file_and_its_time(path):
    os.utime(path, ns=(1, 1))
    with atomic.writing(path, keep_if_equal=True) as part:
        part.write_bytes(OLD)
    assert path.stat().st_mtime_ns == 1
    assert_untouched(path)
    with atomic.writing(path, keep_if_equal=True) as part:
        part.write_bytes(b"other content, of length")
    assert path.stat().st_mtime_ns > 1


def test_move_takes_a_finished_file_over(path):
    source = path.with_name("other.bin")
    source.write_bytes(b"new")
    atomic.move(source, path)
    assert path.read_bytes() == b"new"
    assert not source.exists()


def test_move_of_equal_bytes_keeps_the_target(path):
    os.utime(path, ns=(1, 1))
    source = path.with_name("other.bin")
    source.write_bytes(OLD)
    atomic.move(source, path)
    assert path.stat().st_mtime_ns == 1
    assert not source.exists()


def test_json_is_readable_and_never_holds_nan(path):
    atomic.write_json(path, {"grüße": [1, 2.5], "day": layout.date(2024, 1, 1)})
    assert path.read_text(encoding="utf-8") == '{\n  "grüße": [\n    1,\n    2.5\n  ],\n  "day": "2024-01-01"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(path, {"psi": float("nan")})
    assert "grüße" in path.read_text(encoding="utf-8")


def test_old_parts_of_killed_processes_are_removed_and_young_ones_left(tmp_path):
    old, young, whole = (
        tmp_path / "day" / name for name in (".a.parquet.1-0.part", ".b.parquet.2-0.part", "a.parquet")
    )
    old.parent.mkdir()
    for path in (old, young, whole):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert atomic.remove_leftovers(tmp_path) == 1
    assert sorted(path.name for path in old.parent.iterdir()) == [young.name, whole.name]


def test_the_same_report_again_is_not_a_newer_one(tmp_path):
    path = tmp_path / "report.json"
    atomic.write_json(path, {"status": "OK"})
    before = path.stat()
    atomic.write_json(path, {"status": "OK"})
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    atomic.write_json(path, {"status": "FAIL"})
    assert path.stat().st_ino != before.st_ino

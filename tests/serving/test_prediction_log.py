import datetime as dt
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_serving.logs.line_writer import Lines
from churn_serving.logs.prediction_log import PredictionLog, features_digest, read_log
from churn_serving.logs.rotated_file import RotatedFile
from churn_serving.logs.timestamps import utc_day, utc_text

DAY = dt.date(2026, 1, 5)
NOON = dt.datetime(2026, 1, 5, 12, 0, 0, 250_000, dt.UTC).timestamp()
NEVER = 3600.0
VECTOR = np.array([1.0, np.nan, -1.0, 0.1])


class Clock:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


def log_into(folder, clock=None, **options):
    return PredictionLog(folder, **{"interval": NEVER, "clock": clock or Clock(), "host": "pod-1"} | options)


def record(log, user_id="u1", *, row_id="r1", score=0.25, vector=VECTOR, by_id=True):
    log.record(row_id, user_id, "candidate_hgb_20260105T030012Z", score, vector.tobytes(), DAY, by_id=by_id)


def rows_of(folder, first=DAY, last=None):
    return [row for file in read_log(folder, first, last or first) for row in file.rows]


def lines_at(seconds, *texts):
    content = "".join(f"{text}\n" for text in texts).encode()
    return Lines(content, len(texts), seconds)


def test_a_line_says_who_was_scored_how_by_what_and_when(tmp_path):
    log = log_into(tmp_path / "log")
    record(log)
    assert log.close()
    (path,) = (tmp_path / "log").iterdir()
    assert path.name == f"served_20260105T120000Z_pod-1_{os.getpid()}.jsonl"
    assert json.loads(path.read_text()) == {
        "id": "r1",
        "time": "2026-01-05T12:00:00.250Z",
        "user_id": "u1",
        "model_version": "candidate_hgb_20260105T030012Z",
        "score": 0.25,
        "features": features_digest(VECTOR),
        "as_of_date": "2026-01-05",
        "source": "id",
    }


def test_a_day_of_the_features_may_be_unknown(tmp_path):
    log = log_into(tmp_path)
    log.record("r", "u", "v", 0.5, VECTOR.tobytes(), None, by_id=False)
    log.close()
    (row,) = rows_of(tmp_path)
    assert (row.as_of_date, row.source) == (None, "features")


user_ids = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["", "\n", "\r\n", '"', "\\", "\u2028", "\0", "a" * 10_000, "ü" * 10_000, "\U0001f600"]),
)


@given(st.lists(st.tuples(user_ids, st.floats(0, 1)), max_size=20))
def test_every_user_id_and_every_score_comes_back(pairs):
    with tempfile.TemporaryDirectory() as folder:
        log = log_into(Path(folder))
        for user_id, score in pairs:
            record(log, user_id, score=score)
        assert log.close()
        assert (log.written, log.dropped) == (len(pairs), 0)
        assert [(row.user_id, row.score) for row in rows_of(Path(folder))] == pairs


@given(st.floats(0, 4e9), st.integers(0, 10**9))
def test_time_and_day_agree_and_lose_no_more_than_a_millisecond(seconds, milliseconds):
    for moment in (seconds, milliseconds / 1000, (milliseconds // 1000) * 86_400 - 1e-6):
        read = dt.datetime.fromisoformat(utc_text(max(moment, 0.0)))
        assert read.timestamp() == pytest.approx(max(moment, 0.0), abs=0.00101)
        assert (read.date() - dt.date(1970, 1, 1)).days == utc_day(max(moment, 0.0))


def test_a_batch_is_written_as_if_row_by_row(tmp_path):
    matrix = np.random.default_rng(0).random((5000, 7))
    scores = np.random.default_rng(1).random(5000)
    users = [f"u{row}" for row in range(5000)]
    days = [DAY if row % 3 else None for row in range(5000)]
    by_id = [row % 2 == 0 for row in range(5000)]
    batch, single = log_into(tmp_path / "batch"), log_into(tmp_path / "single")
    batch.record_many("r", range(10, 5010), users, "v", scores, matrix, days, by_id)
    for row in range(5000):
        packed = matrix[row].tobytes()
        single.record(f"r/{row + 10}", users[row], "v", scores[row], packed, days[row], by_id=by_id[row])
    assert batch.close()
    assert single.close()
    assert batch.written == single.written == 5000
    assert rows_of(tmp_path / "batch") == rows_of(tmp_path / "single")


def test_a_column_major_batch_gets_the_same_digests(tmp_path):
    matrix = np.asfortranarray(np.random.default_rng(0).random((3, 4)))
    log = log_into(tmp_path)
    log.record_many("r", [0, 1, 2], ["a", "b", "c"], "v", np.zeros(3), matrix, [DAY] * 3, [True] * 3)
    log.close()
    assert [row.features for row in rows_of(tmp_path)] == [features_digest(matrix[row].copy()) for row in range(3)]


def test_a_batch_whose_columns_differ_in_length_is_dropped_and_nothing_else(tmp_path, caplog):
    log = log_into(tmp_path)
    record(log, "before")
    log.record_many("odd", [0, 1], ["a", "b"], "v", np.zeros(1), np.zeros((2, 4)), [DAY] * 2, [True] * 2)
    record(log, "after")
    log.close()
    assert [row.user_id for row in rows_of(tmp_path)] == ["before", "after"]
    assert (log.written, log.dropped) == (2, 2)
    assert "zip() argument" in caplog.text


def test_digests_tell_vectors_apart_and_are_those_of_the_bytes():
    assert len(features_digest(VECTOR)) == 16
    assert features_digest(VECTOR) == features_digest(VECTOR.copy())
    assert features_digest(VECTOR) == features_digest(VECTOR.astype(">f8"))
    assert features_digest(VECTOR) != features_digest(np.nextafter(VECTOR, 2.0))
    assert features_digest(np.arange(8.0)[::2]) == features_digest(np.array([0.0, 2.0, 4.0, 6.0]))
    assert features_digest(np.zeros(0)) != features_digest(np.zeros(1))


def test_a_new_day_is_a_new_file_even_within_one_slice(tmp_path):
    clock = Clock(NOON)
    log = log_into(tmp_path, clock)
    for hours in (0, 11.9, 12, 13, 36):
        clock.now = NOON + hours * 3600
        record(log, f"after {hours}")
    log.close()
    assert [path.name[:24] for path in sorted(tmp_path.iterdir())] == [
        "served_20260105T120000Z_",
        "served_20260106T000000Z_",
        "served_20260107T000000Z_",
    ]
    days = [DAY + dt.timedelta(days) for days in range(3)]
    assert [[row.user_id for row in rows_of(tmp_path, day)] for day in days] == [
        ["after 0", "after 11.9"],
        ["after 12", "after 13"],
        ["after 36"],
    ]
    assert len(rows_of(tmp_path, days[0], days[2])) == 5
    assert len(rows_of(tmp_path, days[1], days[2])) == 3
    assert rows_of(tmp_path, DAY - dt.timedelta(9), DAY - dt.timedelta(1)) == []


def test_a_clock_that_is_set_back_over_midnight_keeps_days_apart(tmp_path):
    clock = Clock(NOON + 12 * 3600)
    log = log_into(tmp_path, clock)
    record(log, "tomorrow")
    clock.now -= 60
    record(log, "today")
    log.close()
    assert [row.user_id for row in rows_of(tmp_path)] == ["today"]


def test_large_files_are_followed_by_new_ones(tmp_path):
    sink = RotatedFile(tmp_path, "served", max_bytes=100, host="pod/1_x.y")
    for number in range(50):
        sink.write(lines_at(NOON, f"{number:09d}"))
    sink.close()
    paths = sorted(tmp_path.iterdir(), key=lambda path: path.read_text())
    assert [path.stat().st_size for path in paths] == [100] * 5
    assert [path.name for path in paths[:2]] == [
        f"served_20260105T120000Z_pod-1-x.y_{os.getpid()}.jsonl",
        f"served_20260105T120000Z_pod-1-x.y_{os.getpid()}_2.jsonl",
    ]
    assert "".join(path.read_text() for path in paths).split() == [f"{number:09d}" for number in range(50)]


def test_two_writers_of_one_process_never_share_a_file(tmp_path):
    first, second = log_into(tmp_path), log_into(tmp_path)
    record(first, "a")
    record(second, "b")
    first.close()
    second.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(row.user_id for row in rows_of(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("lose", ["remove", "rename", "replace", "folder"])
def test_a_file_that_was_taken_away_is_left_alone_and_a_new_one_begun(tmp_path, lose):
    folder = tmp_path / "log"
    sink = RotatedFile(folder, "served", max_bytes=10**6, host="h")
    sink.write(lines_at(NOON, "first"))
    (path,) = folder.iterdir()
    if lose == "remove":
        path.unlink()
    elif lose == "folder":
        path.unlink()
        folder.rmdir()
    elif lose == "rename":
        path.rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "shorter").write_text("rest\n")
        (tmp_path / "shorter").replace(path)
    sink.write(lines_at(NOON + 2, "second"))
    sink.close()
    assert "second" in [file.read_text().strip() for file in folder.iterdir()]
    assert lose != "replace" or path.read_text() == "rest\n"


def test_a_folder_that_cannot_be_made_drops_lines_until_it_can(tmp_path, caplog):
    (tmp_path / "log").write_text("in the way")
    log = log_into(tmp_path / "log", interval=0.005)
    record(log, "lost")
    until(lambda: log.dropped == 1)
    (tmp_path / "log").unlink()
    record(log, "kept")
    until(lambda: log.written == 1)
    log.close()
    assert [row.user_id for row in rows_of(tmp_path / "log")] == ["kept"]
    assert caplog.text.count("cannot be written") == 1


class Filling:
    """Stands for a file on a disk that fills up after `room` bytes."""

    def __init__(self, file, room):
        self._file, self.room = file, room

    def write(self, content):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(content[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_leaves_whole_lines_only_and_no_litter(tmp_path):
    sink = RotatedFile(tmp_path, "served", max_bytes=10**6, host="h")
    sink.write(lines_at(NOON, "whole"))
    disk = sink._open.file = Filling(sink._open.file, room=3)
    for _ in range(5):
        with pytest.raises(OSError, match="No space"):
            sink.write(lines_at(NOON, "too long for it"))
    (path,) = tmp_path.iterdir()
    assert path.read_text() == "whole\n"
    disk.room = 10**6
    sink.write(lines_at(NOON, "again"))
    sink.close()
    assert path.read_text() == "whole\nagain\n"


def test_a_full_disk_of_the_system_is_survived(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    sink = RotatedFile(tmp_path, "served", max_bytes=10**6, host="h")
    sink.write(lines_at(NOON, "whole"))
    with Path("/dev/full").open("ab", buffering=0) as full:
        sink._open.file.close()
        sink._open.file = full
        with pytest.raises(OSError, match="No space"):
            sink.write(lines_at(NOON, "lost"))
    sink.write(lines_at(NOON, "again"))
    sink.close()
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["again\n", "whole\n"]


def log_file(folder, content):
    path = folder / "served_20260105T120000Z_h_1.jsonl"
    path.write_bytes(content)
    return path


@pytest.fixture
def sound(tmp_path):
    """The bytes of five sound lines."""
    log = log_into(tmp_path / "sound")
    for number in range(5):
        record(log, f"u{number}")
    log.close()
    (path,) = (tmp_path / "sound").iterdir()
    return path.read_bytes()


def test_a_file_cut_off_anywhere_gives_its_whole_lines(tmp_path, sound):
    for length in range(len(sound) + 1):
        log_file(tmp_path, sound[:length])
        (file,) = read_log(tmp_path, DAY, DAY)
        assert [row.user_id for row in file.rows] == [f"u{n}" for n in range(sound[:length].count(b"\n"))]
        assert file.broken == []
        assert file.is_cut_off == (length > 0 and sound[length - 1 : length] != b"\n")


@pytest.mark.parametrize(
    "damaged", [b"", b"\0" * 40, b"{}", b"[" * 100_000, b'{"id":1}', b'"\xff"', b"null", b'{"id":"r1","time":"2026']
)
def test_a_broken_line_in_the_middle_is_said_and_costs_no_other(tmp_path, sound, damaged):
    lines = sound.splitlines()
    lines[2] = damaged
    log_file(tmp_path, b"\n".join(lines) + b"\n")
    (file,) = read_log(tmp_path, DAY, DAY)
    assert [row.user_id for row in file.rows] == ["u0", "u1", "u3", "u4"]
    assert file.broken == [3]
    assert not file.is_cut_off


@given(st.binary(max_size=300))
def test_no_content_is_too_strange_to_read(content):
    with tempfile.TemporaryDirectory() as folder:
        log_file(Path(folder), content)
        (file,) = read_log(Path(folder), DAY, DAY)
        assert len(file.rows) + len(file.broken) == content.count(b"\n")


def test_other_files_and_no_folder_are_no_log(tmp_path):
    (tmp_path / "served_notes.jsonl").write_text("{}\n")
    (tmp_path / "served_20260105T120000Z_h_1.jsonl.part").write_text("{}\n")
    (tmp_path / "other_20260105T120000Z_h_1.jsonl").write_text("{}\n")
    assert list(read_log(tmp_path, DAY, DAY)) == []
    assert list(read_log(tmp_path / "absent", DAY, DAY)) == []


WORKER = """
import datetime as dt, sys, time
from pathlib import Path
import numpy as np
from churn_serving.logs.prediction_log import PredictionLog

log = PredictionLog(Path(sys.argv[1]), interval=0.01)
number = 0
while True:
    for _ in range(50):
        packed = np.array([float(number)]).tobytes()
        log.record(str(number), f"u{number}", "v", 0.5, packed, dt.date(2026, 1, 5), by_id=True)
        number += 1
    print(log.written, flush=True)
    time.sleep(0.001)
"""


def test_a_worker_killed_at_once_loses_only_what_it_had_not_written(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        written = next(count for line in worker.stdout if (count := int(line)) > 500)
        worker.send_signal(signal.SIGKILL)
        for line in worker.stdout:
            written = int(line) if line.endswith("\n") else written
    today = dt.datetime.now(dt.UTC).date()
    files = list(read_log(tmp_path, today - dt.timedelta(1), today))
    rows = [row for file in files for row in file.rows]
    assert len(rows) >= written
    assert [row.user_id for row in rows] == [f"u{number}" for number in range(len(rows))]
    assert all(not file.broken for file in files)


def test_a_row_is_logged_in_about_a_microsecond(tmp_path):
    log = log_into(tmp_path, queue=10**6)
    start = time.process_time()
    for _ in range(20_000):
        record(log)
    assert (time.process_time() - start) / 20_000 < 10e-6  # ten times what it takes, for a loaded machine


def until(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.002)

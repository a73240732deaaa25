"""Rows go out of tables, lists and logs by exact value, and every other byte stays."""

import csv
import io
import json
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.layout import write_table
from churn_assets.upkeep.forget_csv import records_with, rows_in_csv, strip_csv
from churn_assets.upkeep.forget_log import PredictionLogLines
from churn_assets.upkeep.forget_parquet import rows_of, strip
from churn_assets.upkeep.forget_places import UnreadableFileError
from churn_assets.upkeep.forget_published import PublishedTables
from churn_serving.logs.line_writer import Lines
from churn_serving.logs.prediction_log import PREFIX, PredictionLog, read_log
from churn_serving.logs.rotated_file import RotatedFile
from churn_serving.online.keyed_table import KeyedTable
from churn_serving.online.keyed_writer import Draft, Ids, write_keyed_table
from churn_serving.online.publisher import Publisher

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
SOME = st.sampled_from(
    ["1", "12", "123", "u1", "u", 'a"b', 'a""b', "a,b", "a\nb", "a\r\nb", "é", "'", '"', "\\", "a|b"]
)
USER = SOME | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4)
USERS = st.lists(USER, min_size=1, max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where every example writes over the one before."""
    return tmp_path_factory.mktemp("files")


def is_about(user_id):
    return lambda row: row.get("user_id") == user_id


@given(users=USERS, number=st.integers(0, 11))
def test_a_list_without_a_person_is_the_list_of_the_others(folder, users, number):
    gone = users[number % len(users)]
    path, others = folder / "list.csv", folder / "others.csv"
    table = pa.table({"user_id": users, "plan": users[::-1], "risk": [0.1 * n for n in range(len(users))]})
    pa.csv.write_csv(table, path)
    pa.csv.write_csv(table.filter(pa.array([user != gone for user in users])), others)
    assert rows_in_csv(path, gone, is_about(gone)) == users.count(gone)
    strip_csv(path, gone, is_about(gone))
    assert path.read_bytes() == others.read_bytes()
    assert rows_in_csv(path, gone, is_about(gone)) == 0


@given(rows=st.lists(st.lists(SOME, min_size=2, max_size=2), min_size=1), end=st.sampled_from(["\n", "\r\n"]))
def test_records_end_where_the_csv_module_has_them_end(rows, end):
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    content = text.getvalue().encode()
    everything = [content[start:stop] for start, stop in records_with(content, b"")]
    assert b"".join(everything) == content
    assert [next(csv.reader([record.decode()])) for record in everything] == rows
    for needle in ("1", "b", "\n", '"', "a\nb", "é"):
        found = [content[start:stop] for start, stop in records_with(content, needle.encode())]
        assert found == [record for record in everything if needle.encode() in record]


@given(users=USERS, number=st.integers(0, 11))
def test_a_table_without_a_person_is_the_table_of_the_others(folder, users, number):
    gone = users[number % len(users)]
    path, others = folder / "table.parquet", folder / "others.parquet"
    keep = pa.array([user != gone for user in users])
    write_table(path, coded(users))
    write_table(others, coded([user for user in users if user != gone]))
    assert rows_of(path, gone) == users.count(gone)
    strip(path, gone)
    assert path.read_bytes() == others.read_bytes()
    assert pq.read_table(path).num_rows == sum(keep.to_pylist())


def coded(users):
    """A table with a category of each person's own."""
    return pa.table({"user_id": pa.array(users, pa.string()), "plan": pa.array(users, pa.string()).dictionary_encode()})


def test_a_table_that_cannot_hold_the_person_is_not_rewritten(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, coded(["b", "c"]))
    assert [rows_of(path, user) for user in ("a", "d", "bb", "b")] == [0, 0, 0, 1]


@pytest.mark.parametrize("content", [b"", b"no Parquet", pytest.param(None, id="no such column")])
def test_a_table_that_cannot_be_searched_is_told(tmp_path, content):
    path = tmp_path / "table.parquet"
    if content is None:
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"table\.parquet"):
        rows_of(path, "a")


@given(users=USERS, number=st.integers(0, 11))
def test_a_keyed_table_without_a_person_is_the_table_of_the_others(folder, users, number):
    everybody = sorted(set(users))
    gone = everybody[number % len(everybody)]
    rest = [user for user in everybody if user != gone]
    publisher = Publisher(folder / f"keyed_{threading.get_ident()}", "t", keep=9, clock=lambda: NOW)
    for path in publisher.folder.glob("*"):
        path.unlink()
    publisher.publish(draft(everybody))
    place = PublishedTables("published", publisher, gone)
    assert list(place.find().values()) == [1]
    place.erase(sorted(place.find()))
    place.finish()
    (path,) = publisher.folder.glob("*.keyed")
    write_keyed_table(folder / "others", draft(rest, everybody))
    assert path.read_bytes() == (folder / "others").read_bytes()
    assert [KeyedTable.open(path).find(user) for user in rest] == list(range(len(rest)))


def draft(users, among=None):
    """Of each user, the place among all."""
    among = among or users
    matrix = pa.array([float(among.index(user)) for user in users], pa.float64()).to_numpy().reshape(len(users), 1)
    return Draft(NOW.date(), Ids.of(users), ("x",), [matrix], metadata={"model_version": "v"})


def line(user, number=0):
    content = {"id": f"r{number}", "time": NOW, "user_id": user, "model_version": "v", "score": 0.5, "features": "ab"}
    return msgspec.json.encode(content | {"as_of_date": NOW.date(), "source": "id"}) + b"\n"


def log_file(folder, day=NOW - timedelta(days=9), host="pod", number=7):
    return folder / f"{PREFIX}_{day:%Y%m%dT%H%M%SZ}_{host}_{number}.jsonl"


@given(users=USERS, number=st.integers(0, 11), torn=st.booleans())
def test_a_log_without_a_person_is_the_log_of_the_others(folder, users, number, torn):
    gone = users[number % len(users)].strip() or "u"
    path = log_file(folder)
    rest = b'{"id":"cut o' if torn else b""
    lines = [line(user, place) for place, user in enumerate(users)]
    path.write_bytes(b"".join(lines) + rest)
    others = [one for user, one in zip(users, lines, strict=True) if user.strip() != gone]
    place = PredictionLogLines(folder, gone, clock=lambda: NOW)
    if found := place.find():
        assert found == {path: len(lines) - len(others)}
        place.erase(sorted(found))
        place.finish()
    assert path.read_bytes() == b"".join(others) + rest


@pytest.mark.parametrize("user", ["u-1", 'o"neil', "zoë"])
def test_a_damaged_line_goes_if_it_names_the_person(tmp_path, user):
    path, other = log_file(tmp_path), b"\xff\xfe damaged as well\n"
    damaged = line(user).replace(b'"score"', b'"sco')
    path.write_bytes(other + damaged + line(f"{user}x") + damaged[:-40])
    place = PredictionLogLines(tmp_path, user, clock=lambda: NOW)
    place.erase(sorted(place.find()))
    place.finish()
    assert path.read_bytes() == other + line(f"{user}x")


def users_in(folder):
    """Who stands in the log, in the order of its files."""
    return [row.user_id for file in read_log(folder, NOW.date(), NOW.date()) for row in file.rows]


def test_a_file_that_a_service_is_writing_loses_the_person_and_no_other_line(tmp_path):
    sink = RotatedFile(tmp_path, PREFIX, max_bytes=10**6, host="pod")
    place = PredictionLogLines(tmp_path, "anna", clock=lambda: NOW)

    def answer(user, seconds):
        sink.write(Lines(line(user), 1, NOW.timestamp() + seconds))

    answer("anna", 0.0)
    answer("bob", 0.1)
    place.erase(sorted(place.find()))
    answer("carl", 0.5)  # it has not looked yet, and writes where it has written
    assert users_in(tmp_path) == ["anna", "bob", "carl"]
    answer("dora", 1.5)
    place.finish()
    answer("emil", 1.6)
    assert sorted(users_in(tmp_path)) == ["bob", "carl", "dora", "emil"]
    assert place.find() == {}
    assert len(list(tmp_path.iterdir())) == 2
    sink.close()


def test_killed_between_two_steps_the_log_is_whole(tmp_path):
    log_file(tmp_path, NOW).write_bytes(line("anna") + line("bob"))
    log_file(tmp_path, NOW).with_name(f"{log_file(tmp_path, NOW).stem}_2.jsonl").write_bytes(line("carl"))
    broken_off = PredictionLogLines(tmp_path, "anna", clock=lambda: NOW)
    broken_off.erase(sorted(broken_off.find()))
    assert sorted(users_in(tmp_path)) == ["anna", "bob", "carl"]
    place = PredictionLogLines(tmp_path, "anna", clock=lambda: NOW)
    place.erase(sorted(place.find()))
    place.finish()
    assert sorted(users_in(tmp_path)) == ["bob", "carl"]


def wait_until(condition):
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came about")


def test_the_service_s_own_log_goes_on(tmp_path):
    """The writer's thread and all: whatever it has taken is in the files at the end."""
    moment = [NOW.timestamp()]
    log = PredictionLog(tmp_path, interval=0.01, clock=lambda: moment[0], host="pod")

    def answer(user):
        log.record("r", user, "v", 0.5, b"\0" * 8, None, by_id=True)
        moment[0] += 2.0  # seconds, after which it looks where its file is

    answer("anna")
    answer("bob")
    wait_until(lambda: log.written == 2)
    place = PredictionLogLines(tmp_path, "anna", clock=lambda: NOW)
    place.erase(sorted(place.find()))
    answer("carl")
    wait_until(lambda: log.written == 3)
    place.finish()
    assert log.close()
    assert sorted(users_in(tmp_path)) == ["bob", "carl"]
    assert json.loads(next(tmp_path.glob("*_2.jsonl")).read_text())["user_id"] == "bob"

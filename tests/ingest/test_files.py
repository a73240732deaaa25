"""How files are read: times and zones, mappings, globs, compression, Parquet, URLs."""

import io
from datetime import UTC, datetime

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import DAYS, EVENTS, START, USERS, Export, changed, files_of, run, validate

from churn_assets.ingest.source import SourceError


def times(done):
    return [row["event_time"].astimezone(UTC).strftime("%d %H:%M:%S") for row in done.clean_events]


def parquet(table):
    """A Parquet file of a table, as bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


TIMES = [
    ("2024-01-03 10:00:00", "03 08:00:00"),
    ("2024-01-03T10:00:00", "03 08:00:00"),
    ("2024-01-03 10:00:00.5", "03 08:00:00"),
    ("2024-01-03T10:00:00Z", "03 10:00:00"),
    ("2024-01-03 10:00:00 UTC", "03 10:00:00"),
    ("2024-01-03T10:00:00+05:30", "03 04:30:00"),
    ("2024-01-03T10:00:00-0800", "03 18:00:00"),
    ("2024-01-03 10:00:00+05", "03 05:00:00"),
    ("2024-01-03", "03 00:00:00"),
    ("2024-01-03 23:30:00-02:00", "04 01:30:00"),
    ("2024-01-03 00:30:00", "02 22:30:00"),
]


@pytest.fixture(scope="module")
def in_helsinki(tmp_path_factory):
    """Times in every form, where times that do not say their zone are two hours ahead of UTC."""
    export = Export(tmp_path_factory.mktemp("zones")).source(time_zone="Europe/Helsinki")
    export.users(*USERS)
    export.events(*(f"a,{text},quiz_attempt,,{n}," for n, (text, _) in enumerate(TIMES)))
    return run(export)


@pytest.mark.parametrize("number", range(len(TIMES)), ids=[text for text, _ in TIMES])
def test_a_time_is_that_instant_in_utc(in_helsinki, number):
    found = {int(row["quiz_score"]): row["event_time"].astimezone(UTC) for row in in_helsinki.clean_events}
    assert found[number].strftime("%d %H:%M:%S") == TIMES[number][1]


def test_an_event_belongs_to_its_day_in_utc(in_helsinki):
    day = in_helsinki.workspace.layout.user_daily.read(START.replace(day=4)).to_pylist()
    assert [row["quiz_scores"] for row in day] == [1]


def test_event_names_become_ours_are_left_out_or_rejected(platform):
    platform.events(
        "a,2024-01-02 08:00:00,Signed In,,,",
        "a,2024-01-02 08:05:00,heartbeat,,,",
        "a,2024-01-02 08:10:00,Danced,,,",
        "b,2024-01-02 08:10:00,login,,,",
    )
    platform.events_from({"event_types": {"Signed In": "login", "heartbeat": None}})
    done = validate(platform)
    assert done.events.rows == 3
    assert [row["event_type"] for row in done.clean_events] == ["login"]
    assert sorted(row["event_type"] for row in done.rejected) == ["not mapped: Danced", "not mapped: login"]
    assert done.rules == {"event_type_unknown": 2}


def test_a_file_that_holds_one_kind_of_event(platform):
    platform.events("a,2024-01-02,55", "b,2024-01-03,", header="user,when,score", name="quizzes.csv")
    columns = {"user_id": "user", "event_time": "when", "quiz_score": "score"}
    platform.events_from({}, {"path": "quizzes.csv", "columns": columns, "event_type": "quiz_attempt"})
    done = validate(platform)
    assert done.rules == {}
    assert [row["quiz_score"] for row in done.clean_events if row["event_type"] == "quiz_attempt"] == [55.0, None, 80.0]


def test_configured_event_types_are_counted_and_null_takes_one_away(platform):
    platform.configure(events={"types": {"dance": {"counts": "dances"}, "login": None}})
    platform.events(*EVENTS, "a,2024-01-02 08:00:00,dance,,,", "a,2024-01-02 08:30:00,dance,,,")
    done = run(platform)
    assert done.rules == {"event_type_unknown": 3}
    daily = done.workspace.layout.user_daily.read(START.replace(day=2))
    assert daily.column("dances").to_pylist() == [2]
    assert "logins" not in daily.column_names


def test_event_counts_stand_for_so_many_events(platform):
    platform.events("a,2024-01-02,login,7", "b,2024-01-02,login,0", "c,2024-01-02,login,", header="user,when,what,n")
    columns = {"user_id": "user", "event_time": "when", "event_type": "what", "event_count": "n"}
    platform.source(files={"events": [{"path": "events.csv", "columns": columns}]})
    done = run(platform)
    assert done.rules == {"event_count_invalid": 1}
    assert done.workspace.layout.user_daily.read(START.replace(day=2)).column("logins").to_pylist() == [7, 1]


def test_globs_read_every_file_and_columns_may_stand_in_another_order(platform):
    platform.events(*EVENTS[:3], name="events_1.csv")
    rows = [",".join(reversed(row.split(","))) for row in EVENTS[3:]]
    platform.events(*rows, header="price,score,minutes,what,when,user", name="events_2.csv")
    platform.events_from({"path": "events_*.csv"})
    done = validate(platform)
    assert done.rules == {}
    assert len(done.clean_events) == 6
    assert done.clean_events[3]["amount"] == 29.99 or done.clean_events[3]["quiz_score"] == 80.0


def test_a_column_that_only_some_files_have_is_null_in_the_others(platform):
    platform.events(*EVENTS, name="events_1.csv")
    platform.events("a,2024-01-04,login", header="user,when,what", name="events_2.csv")
    platform.events_from({"path": "events_*.csv"})
    done = validate(platform)
    assert done.rules == {}
    assert [row["watch_minutes"] for row in done.clean_events] == [None, 12.5, None, None, None, None, None]


def test_rows_in_two_overlapping_exports_are_counted_once(platform):
    platform.events(*EVENTS[:4], name="events_1.csv")
    rows = [",".join(reversed(row.split(","))) for row in EVENTS[2:]]
    platform.events(*rows, header="price,score,minutes,what,when,user", name="events_2.csv")
    platform.events_from({"path": "events_*.csv"})
    done = validate(platform)
    assert done.rules == {"duplicate": 2}
    assert len(done.clean_events) == 6


def same_as_csv(platform, tmp_path_factory):
    """Whether a deployment's tables are those of the plain CSV export."""
    plain = Export(tmp_path_factory.mktemp("plain"))
    plain.users(*USERS)
    plain.events(*EVENTS)
    there, here = validate(plain), validate(platform)
    return there.clean_users == here.clean_users and there.clean_events == here.clean_events


def test_gzipped_csv(platform, tmp_path_factory):
    platform.events(*EVENTS, name="events.csv.gz")
    platform.events_from({"path": "events.csv.gz"})
    assert same_as_csv(platform, tmp_path_factory)


@pytest.mark.parametrize("name", ["events.parquet", "events.pq"])
def test_parquet_with_typed_columns(platform, tmp_path_factory, name):
    rows = [row.split(",") for row in EVENTS]
    numbers = [[float(value) if value else None for value in column] for column in list(zip(*rows, strict=True))[3:]]
    table = pa.table(
        {
            "user": [row[0] for row in rows],
            "when": [datetime.fromisoformat(row[1]).replace(tzinfo=UTC) for row in rows],
            "what": [row[2] for row in rows],
            **dict(zip(["minutes", "score", "price"], numbers, strict=True)),
        }
    )
    platform.file(name, parquet(table))
    platform.events_from({"path": name})
    assert same_as_csv(platform, tmp_path_factory)


def test_parquet_dates_naive_times_and_numbers_as_ids(platform):
    platform.users("1,2023-12-01,free,false,DE,organic")
    dates = pa.table({"user": [1], "when": [START.replace(day=3)], "what": ["login"]})
    naive = pa.table({"user": [1], "when": [datetime(2024, 1, 4, 1, 30)], "what": ["login"]})  # noqa: DTZ001
    platform.file("dates.parquet", parquet(dates))
    platform.file("naive.parquet", parquet(naive))
    columns = {"user_id": "user", "event_time": "when", "event_type": "what"}
    platform.events_from(*({"path": f"{name}.parquet", "columns": columns} for name in ("dates", "naive")))
    platform.source(time_zone="Europe/Helsinki")
    assert times(validate(platform)) == ["03 00:00:00", "03 23:30:00"]


def test_a_time_column_of_numbers_is_refused(platform):
    platform.file("events.parquet", parquet(pa.table({"user": ["a"], "when": [1704067200], "what": ["login"]})))
    columns = {"user_id": "user", "event_time": "when", "event_type": "what"}
    platform.source(files={"events": [{"path": "events.parquet", "columns": columns}]})
    with pytest.raises(SourceError, match=r"when.*has type BIGINT; a date, a timestamp or text is needed"):
        validate(platform)


def test_a_damaged_parquet_file_is_named(platform):
    platform.file("events.parquet", b"PAR1 and then nothing")
    platform.events_from({"path": "events.parquet"})
    with pytest.raises(SourceError, match=r"events\.parquet cannot be read"):
        validate(platform)


@pytest.fixture
def bucket():
    """An empty folder of fsspec's memory file system."""
    system = fsspec.filesystem("memory")
    system.makedirs("/shop", exist_ok=True)
    yield system
    system.rm("/shop", recursive=True)


def test_files_at_a_url(platform, bucket, tmp_path_factory):
    for name in ("users.csv", "events.csv"):
        bucket.pipe(f"/shop/{name}", (platform.folder / "in" / name).read_bytes())
        (platform.folder / "in" / name).unlink()
    platform.source(files={"root": "memory://shop"}).events_from({"path": "ev*.csv"})
    assert same_as_csv(platform, tmp_path_factory)


def test_files_at_a_url_that_change_or_break(platform, bucket):
    bucket.pipe("/shop/events.csv", (platform.folder / "in" / "events.csv").read_bytes())
    platform.events_from({"path": "memory://shop/events.csv"})
    first = validate(platform)
    before = files_of(first.workspace.layout.raw_events.folder)
    lines = bucket.cat("/shop/events.csv").replace(b"12.5", b"13.5") + b"a,2024-01-03,login,,,,x\n"
    bucket.pipe("/shop/events.csv", lines)
    second = validate(platform, [DAYS[-1]])
    assert second.rules == {"unreadable_line": 1}
    after = files_of(first.workspace.layout.raw_events.folder)
    assert changed(before, after) == {"2024-01-02.parquet", "2024-01-08.parquet"}


def test_what_the_mapping_does_not_name_is_absent_not_zero(platform):
    platform.users("a,2023-12-01", header="id,joined")
    platform.events("a,2024-01-02,login", header="user,when,what")
    platform.users_from(columns={"user_id": "id", "signup_date": "joined"})
    columns = {"user_id": "user", "event_time": "when", "event_type": "what"}
    platform.events_from({"columns": columns, "event_types": {"login": "login"}})
    features = validate(platform).workspace.features
    absent = {"plan", "is_paid", "country", "watch_minutes_7d", "quiz_avg_score_7d", "payment_fail_rate_30d"}
    assert absent | {"payment_success_7d", "enrolls_30d", "engagements_running"} <= set(features.absent)
    assert not set(features.absent) & set(features.names)
    assert {"logins_7d", "active_days_30d", "days_since_signup"} <= set(features.names)


def test_history_begins_where_nearly_all_events_are(platform):
    platform.source(start_date=None)
    stray = "a,1970-01-01,login,,,"
    rows = [f"a,2024-01-0{2 + n % 7} 10:{n // 60 % 60:02d}:{n % 60:02d},login,,{n % 90}," for n in range(2_000)]
    platform.events(stray, *rows)
    workspace = platform.workspace()
    assert workspace.history_start == START.replace(day=2)
    done = validate(platform)
    assert done.rules == {"out_of_history": 1}


def test_the_first_day_stays_what_it_was_at_the_first_ingest(platform):
    platform.source(start_date=None)
    validate(platform)
    rows = [
        f"b,2024-01-08 {n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},login,,{n / 1024:.6f}," for n in range(9_000)
    ]
    platform.events(*EVENTS, *rows)
    later = validate(platform)
    assert later.workspace.history_start == START
    assert later.rules == {}

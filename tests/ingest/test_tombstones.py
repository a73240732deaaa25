"""A tombstone names nobody and keeps one person out, whatever the source and however their rows look."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import DAYS, EVENTS, USERS, clean_events, files_of, quarantined, quiet, run
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.engine import connect
from churn_assets.ingest import build
from churn_assets.ingest.source import SourceError
from churn_assets.ingest.tombstones import (
    TombstonesError,
    add_tombstone,
    read_tombstones,
    rows_about,
    sieve,
    values_of,
    without_rows,
)
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

NOW = datetime(2024, 1, 9, tzinfo=UTC)
SETTINGS = Settings()


def forgotten(export, *people):
    """The export's deployment once these have been forgotten."""
    for person in people:
        add_tombstone(export.workspace().layout.tombstones, person, NOW)
    return export


def ids(table):
    return table["user_id"].to_pylist()


@pytest.fixture(scope="module")
def about():
    """Which rows of a table are about certain people."""
    with connect(Path("never used")) as connection:
        yield lambda table, kind, *people: rows_about(connection, table, kind, set(people), SETTINGS).rows.tolist()


def test_the_file_names_nobody_and_hashes_differ_between_deployments(tmp_path):
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    stones = [add_tombstone(path, "anna-4711", NOW) for path in paths]
    assert stones[0].hash != stones[1].hash
    assert b"anna" not in paths[0].read_bytes()
    assert {len(stone.hash) for stone in stones} == {64}
    assert len(read_tombstones(paths[0]).salt) == 64


def test_a_second_tombstone_of_somebody_is_the_first(tmp_path):
    path = tmp_path / "tombstones.json"
    first = add_tombstone(path, "anna", NOW)
    content = path.read_bytes()
    assert add_tombstone(path, "anna", datetime.now(UTC)) == first
    assert path.read_bytes() == content
    other = add_tombstone(path, "ann", NOW)
    assert read_tombstones(path).forgotten == (first, other)
    assert read_tombstones(path).of("anna") == first
    assert read_tombstones(path).of("Anna") is None


@pytest.mark.parametrize("content", ["", "{}", '{"salt": 1}', "[]", "\0"])
def test_damaged_tombstones_let_nobody_in(platform, content):
    run(platform)
    before = files_of(platform.folder / "data" / "raw")
    platform.workspace().layout.tombstones.write_text(content)
    workspace = platform.workspace()
    with pytest.raises(TombstonesError, match=r"tombstones\.json is damaged .* restore it"):
        build.ingest_users(workspace)
    with pytest.raises(SourceError):
        build.ingest_events(workspace, DAYS, quiet)
    assert files_of(platform.folder / "data" / "raw") == before


def test_a_source_of_files_no_longer_brings_somebody_in(platform):
    done = run(forgotten(platform, "a"))
    assert [row["user_id"] for row in done.clean_users] == ["b", "c"]
    assert {row["user_id"] for row in clean_events(done.workspace)} == {"b", "c"}
    assert done.events.rejects == done.users.rejects == 0  # left out, not rejected


def test_late_rows_of_somebody_are_left_out_as_well(platform):
    run(forgotten(platform, "a"))
    platform.events(*EVENTS, "a,2024-01-03 12:00:00,login,,,", "c,2024-01-03 12:00:00,login,,,")
    late = run(platform, [DAYS[-1]])
    assert late.raw.late == [DAYS[2]]
    assert {row["user_id"] for row in clean_events(late.workspace)} == {"b", "c"}


def test_a_generated_source_no_longer_brings_somebody_in(tmp_path):
    content = {
        "paths": {"data": tmp_path / "data", "artifacts": tmp_path / "artifacts"},
        "clock": {"today": DAYS[-1]},
        "source": {"start_date": DAYS[0], "synthetic": {"users": 30}},
    }
    workspace = Workspace(Settings.model_validate(content))
    build.ingest_users(workspace)
    build.ingest_events(workspace, DAYS[:4], quiet)
    layout = workspace.layout
    everybody = ids(layout.raw_users.read())
    active = ids(layout.raw_events.read(DAYS[0]))
    person = active[0]
    add_tombstone(layout.tombstones, person, NOW)
    told = []
    build.ingest_users(workspace, told.append)
    build.ingest_events(workspace, DAYS[:4], told.append)
    assert ids(layout.raw_users.read()) == [one for one in everybody if one != person]
    assert ids(layout.raw_events.read(DAYS[0])) == [one for one in active if one != person]
    assert told[0] == "1 forgotten user left out (1 rows)"
    assert told[1].startswith("1 forgotten user left out (")


def test_nobody_forgotten_costs_nothing_and_tells_nothing(platform):
    told = []
    workspace = platform.workspace()
    build.ingest_users(workspace, told.append)
    build.ingest_events(workspace, DAYS, told.append)
    assert told == []
    with sieve(workspace) as known:
        table = pa.table({"user_id": ["a"]})
        assert known.users(table) is table


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.string(), pa.large_string()])
def test_an_id_is_the_text_of_whatever_type_the_source_has(platform, tmp_path, kind):
    platform.file("users.parquet", b"")
    table = pa.table({"id": pa.array([1, 12, 123]).cast(kind), "joined": ["2023-12-01"] * 3})
    pq.write_table(table, tmp_path / "in" / "users.parquet")
    platform.users_from(path="users.parquet", columns={"user_id": "id", "signup_date": "joined"})
    assert [row["user_id"] for row in run(forgotten(platform, "12")).clean_users] == ["1", "123"]


def test_spaces_around_an_id_do_not_hide_anybody(export):
    export.users(*USERS, " a ,2023-12-01,free,false,DE,organic")
    export.events(*EVENTS, "  a,2024-01-02 09:00:00,login,,,")
    done = run(forgotten(export, "a"))
    assert {row["user_id"] for row in done.clean_users} == {"b", "c"}
    assert quarantined(done.workspace, "*.csv") == []


def test_a_line_that_could_not_be_split_goes_with_the_person_in_it(export):
    export.users(*USERS)
    export.events(*EVENTS, "anna,2024-01-04 10:00:00,login,,,,x", "bert,2024-01-04 11:00:00,login,,,,x")
    (line,) = quarantined(run(forgotten(export, "anna")).workspace, "events_*.csv")
    assert "bert" in line["source_note"]
    assert line["rule"] == "unreadable_line"


def test_a_broken_row_goes_whatever_column_the_id_has_slipped_into(export):
    export.users(*USERS)
    export.events(
        *EVENTS,
        "2024-01-04 10:00:00,anna,login,,,",
        ",2024-01-04 10:00:00,anna,,,",
        "b,2024-01-04 10:00:00,login,anna,,",
        "b,2024-01-04 11:00:00,login,annabel,,",
    )
    rejected = quarantined(run(forgotten(export, "anna")).workspace, "events_*.csv")
    assert [row["watch_minutes"] for row in rejected] == ["annabel"]


EVENT = {"event_type": "login", "event_time": NOW, "watch_minutes": None, "event_id": None}


def events(*rows):
    schema = {"user_id": pa.string(), "event_type": pa.string(), "event_time": pa.timestamp("us", "UTC")}
    schema |= {"watch_minutes": pa.string(), "event_id": pa.string(), "source_note": pa.string()}
    return pa.Table.from_pylist([EVENT | {"source_note": None} | row for row in rows], pa.schema(schema))


def test_somebody_else_s_sound_row_stays_whatever_it_says(about):
    table = events({"user_id": "b", "event_id": "anna"}, {"user_id": "anna"}, {"user_id": "b", "watch_minutes": "12"})
    assert about(table, "events", "anna", "12", "login") == [False, True, False]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"watch_minutes": "12"}, False),  # twelve minutes, and not who is called so
        ({"event_type": "12"}, True),
        ({"event_time": None, "source_note": "line 12: Expected Number of Columns: 12 Found: 12: b,12x,login"}, False),
        ({"event_time": None, "source_note": "line 3: Expected Number of Columns: 6 Found: 7: 12,2024-01-01,x"}, True),
        ({"event_time": None, "source_note": "line 3: Expected Number of Columns: 6 Found: 7: b,12"}, True),
        ({"event_type": "not mapped: 12"}, True),
        ({"event_type": "not mapped: 123"}, False),
    ],
)
def test_a_number_is_an_id_only_where_no_number_belongs(about, broken, expected):
    assert about(events({"user_id": None} | broken), "events", "12") == [expected]


@pytest.mark.parametrize("kind", ["users", "engagements", "events"])
@given(people=st.lists(st.sampled_from(["1", "12", " 12", "12 ", "é,", 'a"b', None, ""]), min_size=1, max_size=9))
def test_rows_are_found_by_the_exact_id_alone(about, kind, people):
    columns = {"users": "signup_date", "engagements": "started_on", "events": "event_type"}
    sound = "login" if kind == "events" else "2023-01-01"
    table = pa.table({"user_id": pa.array(people, pa.string()), columns[kind]: [sound] * len(people)})
    if kind == "events":
        table = table.append_column("event_time", pa.array([NOW] * len(people), pa.timestamp("us", "UTC")))
    found = about(table, kind, "12", "é,")
    assert found == [(one or "").strip() in {"12", "é,"} for one in people]
    rest = without_rows(table, pa.array(found).to_numpy(zero_copy_only=False))
    assert ids(rest) == [one for one, gone in zip(people, found, strict=True) if not gone]


@pytest.mark.parametrize(
    "person", ["anna", "o'neil", 'o"neil', "neil, the 3rd", "a b", "café|bar", "x;y", "anna@x.org"]
)
@pytest.mark.parametrize("form", ["{}", "line 3: too many: {},2024,login", "x,{},y", 'x,"{}",y', "see {} there"])
def test_an_id_is_found_in_a_text_of_any_form(person, form):
    quoted = person.replace('"', '""') if '"{}"' in form else person
    split = any(mark in person for mark in " ,|;\"'") and form.startswith("see")
    assert (person in values_of({"source_note": form.format(quoted)})) is not split


def test_what_is_kept_of_the_forgotten_is_json_that_people_can_read(tmp_path):
    add_tombstone(tmp_path / "t.json", "anna", NOW)
    content = json.loads((tmp_path / "t.json").read_text())
    assert content["forgotten"][0]["since"] == "2024-01-09T00:00:00Z"

"""From validated days to snapshots, training rows and labels in files, on the generated platform."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from builders import Export, clean_events, files_of, quiet, run
from naive import Definition, Event, History, User, assert_row, at_risk, churned, features

from churn_assets.features import build
from churn_assets.features.build import build_labels, build_snapshot, build_user_daily, snapshot, training_rows
from churn_assets.ingest import build as ingest
from churn_assets.layout import MissingTableError, days_between
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

START = date(2024, 1, 1)
SPAN = 75


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A generated platform of some 80 users, built up to `user_daily`."""
    folder = tmp_path_factory.mktemp("generated")
    content = {
        "paths": {"data": folder / "data", "artifacts": folder / "artifacts"},
        "clock": {"today": START + timedelta(days=SPAN)},
        "source": {"start_date": START, "synthetic": {"users": 80}},
    }
    workspace = Workspace(Settings.model_validate(content))
    days = days_between(START, workspace.settings.yesterday)
    ingest.ingest_users(workspace)
    ingest.ingest_events(workspace, days, quiet)
    ingest.validate_users(workspace)
    ingest.validate_events(workspace, days, quiet)
    build_user_daily(workspace, days, quiet)
    return workspace


@pytest.fixture(scope="module")
def plain(place):
    """The same platform as the plain definition sees it: its history, and what is computed."""
    users = [
        User(row["user_id"], row["signup_date"], row["plan"], row["is_paid"])
        for row in place.layout.users.read().to_pylist()
    ]
    events = [
        Event(row["user_id"], row["event_time"].date(), row["event_type"], row["event_count"],
              row["watch_minutes"], row["quiz_score"])
        for row in clean_events(place)
    ]  # fmt: skip
    vocabulary = place.settings.events.vocabulary
    activity = frozenset(name for name, kind in vocabulary.items() if kind.activity)
    counts = {name: kind.counts for name, kind in vocabulary.items() if kind.counts}
    trends = ("active_days", "events", *(counts[n] for n in counts if n in activity), "watch_minutes")
    return History(users, events), Definition((7, 14, 30), 30, 30, counts, activity, trends)


def after(days):
    return START + timedelta(days=days)


@pytest.mark.parametrize("number", [0, 3, 40, SPAN - 1])
def test_a_snapshot_is_everybody_as_defined(place, plain, number):
    history, definition = plain
    day = after(number)
    found = {row["user_id"]: row for row in snapshot(place, day).to_pylist()}
    assert set(found) == {user.id for user in history.users if user.signup <= day}
    for user in history.users:
        if user.signup <= day:
            expected = features(history, user, day, definition) | {"at_risk": at_risk(history, user, day, definition)}
            assert_row(found[user.id], expected)


def test_training_rows_are_those_at_risk_with_their_labels(place, plain):
    history, definition = plain
    dates = [after(n) for n in (10, 17, 44)]
    table = training_rows(place, dates)
    found = [(row["as_of_date"], row["user_id"], row["churned"]) for row in table.to_pylist()]
    assert found == [
        (day, user.id, int(churned(history, user, day, definition)))
        for day in dates
        for user in sorted(history.users, key=lambda user: user.id)
        if at_risk(history, user, day, definition)
    ]
    assert {0, 1} <= {label for _, _, label in found}
    assert table.column_names == ["user_id", "as_of_date", "churned", *place.features.names]


def test_training_rows_are_the_rows_of_the_snapshots(place):
    day = after(30)
    whole = decoded(snapshot(place, day))
    rows = decoded(training_rows(place, [after(2), day, after(44)])).drop_columns("churned")
    assert rows.filter(pc.equal(rows["as_of_date"], day)).combine_chunks().equals(
        whole.filter(whole["at_risk"]).drop_columns("at_risk").combine_chunks()
    )  # fmt: skip


def decoded(table):
    """Categories as text."""
    schema = [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(schema))


def test_labels_of_a_day_are_of_those_at_risk_a_window_before(place):
    days = [after(n) for n in (29, 30, 31, 60)]
    built = build_labels(place, days)
    assert built.days == days[1:]
    rows = training_rows(place, [after(0), after(1), after(30)])
    for day in days[1:]:
        expected = rows.filter(pc.equal(rows["as_of_date"], day - timedelta(days=30)))
        assert place.layout.labels.read(day).equals(
            expected.select(["user_id", "as_of_date", "churned"]).combine_chunks()
        )
    before = files_of(place.layout.labels.folder)
    build_labels(place, days)
    after_again = files_of(place.layout.labels.folder)
    assert {name: entry[0] for name, entry in before.items()} == {name: entry[0] for name, entry in after_again.items()}


def test_a_snapshot_built_twice_is_the_same_file(place):
    day = after(50)
    build_snapshot(place, day)
    before = files_of(place.layout.user_features.folder)
    table = build_snapshot(place, day)
    assert files_of(place.layout.user_features.folder) == before
    assert decoded(place.layout.user_features.read(day)).equals(decoded(table))


def test_a_snapshot_reads_no_more_than_its_windows(place, monkeypatch):
    read = []
    whole = type(place.layout.user_daily).read

    def watched(table, day, *rest):
        read.append(day)
        return whole(table, day, *rest)

    monkeypatch.setattr(type(place.layout.user_daily), "read", watched)
    snapshot(place, after(SPAN - 1))
    assert read == days_between(after(SPAN - 31), after(SPAN - 1))


def test_a_missing_day_is_named(place):
    with pytest.raises(MissingTableError, match=r"`user_daily` lacks 2024-03-16: materialize"):
        snapshot(place, after(SPAN))
    with pytest.raises(MissingTableError, match=r"lacks 2024-03-16 … 2024-03-20 \(5 days\)"):
        training_rows(place, [after(SPAN - 26)])


def test_many_days_are_summed_in_several_queries(place, monkeypatch):
    monkeypatch.setattr(build, "DAYS_PER_QUERY", 2)
    before = files_of(place.layout.user_daily.folder)
    build_user_daily(place, [after(n) for n in range(5)], quiet)
    assert {name: entry[0] for name, entry in files_of(place.layout.user_daily.folder).items()} == {
        name: entry[0] for name, entry in before.items()
    }


def test_values_keep_within_the_bounds_that_the_catalogue_gives(place):
    table = training_rows(place, [after(n) for n in range(0, 45, 4)])
    for spec in place.features.specs:
        column = table.column(spec.name)
        if spec.null_meaning == "never missing":
            assert column.null_count == 0, spec.name
        if spec.kind != "category":
            values = column.to_numpy()
            assert column.type == pa.float64()
            assert np.nanmin(values, initial=0.0) >= min(spec.lower, 0.0), spec.name
            assert np.nanmax(values, initial=0.0) <= spec.upper * (1 + 1e-12), spec.name


def test_one_user_with_two_days_of_history(tmp_path):
    export = Export(tmp_path).configure(clock={"today": date(2024, 1, 3)})
    export.users("only,2024-01-01,free,false,DE,organic")
    export.events("only,2024-01-01 08:00:00,login,,,", "only,2024-01-02 08:00:00,video_watch,30,,")
    workspace = run(export, [date(2024, 1, 1), date(2024, 1, 2)]).workspace
    row = snapshot(workspace, date(2024, 1, 2)).to_pylist()[0]
    assert (row["active_days_30d"], row["watch_minutes_7d"], row["at_risk"]) == (2, 30.0, True)
    assert row["active_days_trend_7d_30d"] == pytest.approx(30 / 7)
    assert build_labels(workspace, [date(2024, 1, 2)]).days == []


def test_engagements_limit_who_is_at_risk(tmp_path):
    export = Export(tmp_path)
    export.users(*(f"{name},2023-12-01,free,false,DE,organic" for name in "abcd"))
    export.events(*(f"{name},2024-01-05 08:00:00,login,,," for name in "abcd"))
    export.file(
        "courses.csv",
        "who,from,to,left\na,2024-01-01,,\nb,2024-01-01,2024-01-20,\nc,2023-01-01,2024-06-01,2024-01-07\n",
    )
    columns = {"user_id": "who", "started_on": "from", "ended_on": "to", "cancelled_on": "left"}
    export.source(files={"engagements": {"path": "courses.csv", "columns": columns}})
    workspace = run(export).workspace
    before, later = (snapshot(workspace, date(2024, 1, day)).to_pylist() for day in (6, 7))
    assert [row["at_risk"] for row in before] == [True, False, True, False]
    assert [row["at_risk"] for row in later] == [True, False, False, False]
    assert [row["days_to_engagement_end"] for row in later] == [None, 13, None, None]
    assert [row["days_since_engagement_start"] for row in before] == [5, 5, 365, None]


def test_settings_of_windows_reach_the_features(place):
    changes = {"features": {"windows_days": [3, 45]}, "population": {"active_within_days": 60}}
    settings = Settings.model_validate(place.settings.model_dump() | changes)
    wider = dataclasses.replace(place, settings=settings)
    found = snapshot(wider, after(70))
    assert {"logins_3d", "logins_45d", "longest_gap_60d", "events_trend_3d_45d"} <= set(found.column_names)
    assert "logins_7d" not in found.column_names
    assert pc.max(found["days_since_last_activity"]).as_py() <= 60

"""What is counted of a raw day, and when it is counted again."""

import datetime as dt
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from builders import DAYS, EVENTS, run
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.ingest.synthetic import World, events_of
from churn_assets.layout import MissingTableError
from churn_assets.monitoring import feed_profile
from churn_assets.monitoring.feed_profile import profile_of, profiles
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

DAY = dt.date(2025, 4, 2)
NEXT = dt.date(2025, 4, 3)
WORLD = World(epoch=dt.date(2025, 1, 1), users=300)
SCHEMA = pa.schema(
    [
        ("event_id", pa.int64()),
        ("user_id", pa.string()),
        ("event_type", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("watch_minutes", pa.float64()),
    ]
)


@pytest.fixture
def workspace(tmp_path):
    """A deployment without any data."""
    paths = {"data": tmp_path / "data", "artifacts": tmp_path / "artifacts"}
    return Workspace(Settings.model_validate({"paths": paths}))


def at(hour, minute=0, day=DAY):
    """A time of the day."""
    return dt.datetime(day.year, day.month, day.day, hour, minute, tzinfo=dt.UTC)


def row(user="a", kind="login", when=None, minutes=None, number=0):
    """One raw row."""
    return {"event_id": number, "user_id": user, "event_type": kind, "event_time": when, "watch_minutes": minutes}


def table(*rows):
    """Raw rows, with ids of their own."""
    return pa.Table.from_pylist([one | {"event_id": n} for n, one in enumerate(rows)], schema=SCHEMA)


def profiled(workspace, rows, day=DAY):
    """The profile of a day that holds these rows."""
    workspace.layout.raw_events.write(day, rows)
    return profile_of(workspace, day)


def test_rows_people_and_types_are_counted(workspace):
    found = profiled(
        workspace,
        table(
            row("a", "login", at(8)),
            row("a", "video_watch", at(9), 10.0),
            row("b", "video_watch", at(10), None),
            row(" b ", "video_watch", at(11), 30.0),
        ),
    )
    assert (found.day, found.rows, found.users, found.distinct) == (DAY, 4, 2, 4)
    assert list(found.types) == ["video_watch", "login"]
    assert (found.types["video_watch"].rows, found.types["video_watch"].users) == (3, 2)
    assert found.types["video_watch"].filled == {"watch_minutes": 2}
    assert found.null_share("watch_minutes", "video_watch") == pytest.approx(1 / 3)
    assert found.null_share("watch_minutes", "login") == 1.0
    assert found.null_share("watch_minutes", "enroll") is None
    assert list(found.columns) == ["watch_minutes"]
    assert (found.columns["watch_minutes"].median, found.columns["watch_minutes"].p90) == (10.0, 30.0)


def test_a_row_is_repeated_if_only_its_id_differs(workspace):
    same = row("a", "video_watch", at(9), 10.0)
    found = profiled(workspace, table(same, same, same, same | {"watch_minutes": 11.0}, same | {"user_id": "b"}))
    assert (found.repeated, found.distinct, found.repeated_share) == (2, 3, 0.4)
    assert found.types["video_watch"].distinct == 3


def test_rows_that_say_nothing_are_missing_and_repeat_nothing(workspace):
    found = profiled(workspace, table(row(None), row(None), row("  ", None, at(8)), row("a", "login", at(9))))
    assert found.missing == {"user_id": 3, "event_type": 1, "event_time": 2}
    assert (found.rows, found.repeated, found.users) == (4, 0, 1)
    assert found.null_share("user_id") == 0.75
    assert list(found.types) == ["login"]


def test_the_day_ends_with_its_last_event(workspace):
    rows = [row(f"u{n}", when=at(n % 12, n % 60)) for n in range(100)] + [row("late", when=at(23, 30))]
    found = profiled(workspace, table(*rows, row("elsewhere", when=at(9, day=NEXT))))
    assert (found.late_event, found.last_event) == (11 * 3600 + 59 * 60, 23 * 3600 + 30 * 60)


def test_dates_alone_are_midnight(workspace):
    found = profiled(workspace, table(row("a", when=at(0)), row("b", when=at(0))))
    assert (found.late_event, found.last_event) == (0.0, 0.0)


def test_text_is_read_as_the_contract_reads_it(workspace):
    raw = pa.table(
        {
            "user_id": ["a", "b", "c", "d"],
            "event_type": ["video_watch"] * 4,
            "event_time": ["2025-04-02 08:00:00+00", "2025-04-02 09:30:00+00", "yesterday", None],
            "watch_minutes": ["12.5", "twelve", "nan", "inf"],
        }
    )
    found = profiled(workspace, raw)
    assert (found.columns["watch_minutes"].filled, found.columns["watch_minutes"].median) == (1, 12.5)
    assert (found.missing["event_time"], found.last_event) == (2, 9.5 * 3600)


def test_an_empty_day_has_a_profile(workspace):
    found = profiled(workspace, table())
    assert (found.rows, found.users, found.repeated_share, found.last_event) == (0, 0, 0.0, None)
    assert (found.types, found.columns, found.null_share("user_id")) == ({}, {}, None)


def test_a_day_without_any_value_column_has_a_profile(workspace):
    assert profiled(workspace, table(row("a", when=at(8))).drop_columns(["watch_minutes", "event_id"])).rows == 1


def test_a_day_that_is_not_there_is_named(workspace):
    workspace.layout.raw_events.write(DAY, table())
    with pytest.raises(MissingTableError, match="2025-04-03"):
        profiles(workspace, [DAY, NEXT])


def test_many_days_at_once_are_each_day_alone(workspace, monkeypatch):
    days = [DAY + dt.timedelta(days=n) for n in range(10)]
    for day in days:
        workspace.layout.raw_events.write(day, events_of(WORLD, day))
    odd = pa.table({"user_id": ["a"], "event_type": ["login"], "event_time": [at(8)], "amount": ["x"], "new": [1]})
    workspace.layout.raw_events.write(days[4], odd)
    together = profiles(workspace, reversed(days))
    forget(workspace, days)
    assert [profile_of(workspace, day) for day in days] == together
    forget(workspace, days)
    monkeypatch.setattr(feed_profile, "ROWS_PER_QUERY", 1000)
    assert profiles(workspace, days) == together


def test_a_day_of_the_generated_platform_is_counted_right(workspace):
    events = events_of(WORLD, DAY)
    found = profiled(workspace, events)
    assert (found.rows, found.users) == (events.num_rows, pc.count_distinct(events["user_id"]).as_py())
    assert {name: kind.rows for name, kind in found.types.items()} == {
        one["values"]: one["counts"] for one in pc.value_counts(events["event_type"]).to_pylist()
    }
    assert found.null_share("quiz_score", "quiz_attempt") == 0.0
    last = pc.max(events["event_time"]).as_py()
    assert found.last_event == pytest.approx((last - at(0)).total_seconds())


def test_a_profile_is_taken_once_and_again_when_the_raw_day_is_replaced(workspace, monkeypatch):
    first = profiled(workspace, table(row("a", when=at(8))))
    path = workspace.layout.feed_profile(DAY)
    before = path.read_bytes(), path.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(feed_profile, "connect", None)  # nothing is queried
        assert profile_of(workspace, DAY) == first
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert profiled(workspace, table(row("a", when=at(8)), row("b", when=at(9)))).rows == 2


def test_the_same_raw_day_gives_the_same_bytes(workspace):
    profiled(workspace, events_of(WORLD, DAY))
    before = workspace.layout.feed_profile(DAY).read_bytes()
    forget(workspace, [DAY])
    profile_of(workspace, DAY)
    assert workspace.layout.feed_profile(DAY).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"stamp": [1, 2], "profile": {"day": "today"}}'])
def test_a_damaged_profile_is_taken_again(workspace, content):
    whole = profiled(workspace, table(row("a", when=at(8))))
    path = workspace.layout.feed_profile(DAY)
    good = path.read_bytes()
    path.write_bytes(content)
    assert profile_of(workspace, DAY) == whole
    assert path.read_bytes() == good


def test_more_types_than_can_be_told_apart_are_counted_all_the_same(workspace, monkeypatch):
    monkeypatch.setattr(feed_profile, "MOST_TYPES", 2)
    kinds = ["a", "a", "a", "b", "b", "c"]
    found = profiled(workspace, table(*(row(f"u{n}", kind, at(8)) for n, kind in enumerate(kinds))))
    assert (list(found.types), found.rows) == (["a", "b"], 6)


def test_a_customers_files_are_profiled_as_they_were_ingested(platform):
    platform.events(*EVENTS, "a,2024-01-08 10:00:00,video_watch,,,", "a,2024-01-08 10:00:00,video_watch,,,")
    workspace = run(platform, daily=False).workspace
    found = profiles(workspace, DAYS)
    assert [one.rows for one in found] == [1, 1, 2, 0, 1, 0, 0, 3]
    assert (found[2].columns["amount"].median, found[2].columns["quiz_score"].median) == (29.99, 80.0)
    assert (found[7].repeated, found[7].null_share("watch_minutes", "video_watch")) == (1, 1.0)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["login", "enroll"]), st.integers(0, 3))))
def test_counts_agree_with_counting_by_hand(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("day")
    workspace = Workspace(Settings.model_validate({"paths": {"data": folder, "artifacts": folder}}))
    found = profiled(workspace, table(*(row(user, kind, at(hour)) for user, kind, hour in rows)))
    assert (found.rows, found.distinct) == (len(rows), len(set(rows)))
    assert found.users == len({user for user, _, _ in rows})
    assert {name: kind.distinct for name, kind in found.types.items()} == {
        name: len({one for one in rows if one[1] == name}) for name in {one[1] for one in rows}
    }


def test_a_doubled_day_repeats_half_of_its_rows(workspace):
    events = events_of(replace(WORLD, users=150), DAY)
    found = profiled(workspace, pa.concat_tables([events, events]))
    assert found.distinct == profiled(workspace, events, NEXT).distinct
    assert found.repeated_share >= 0.5


def forget(workspace, days):
    """Remove the profiles on disk."""
    for day in days:
        workspace.layout.feed_profile(day).unlink()

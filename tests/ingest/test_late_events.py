"""Rows that come later rebuild the days that they touch, and no other."""

import shutil

import pytest
from builders import DAYS, EVENTS, USERS, Export, changed, files_of, quarantined, quiet, rule_counts, run

from churn_assets.ingest import build

NEWEST = DAYS[-1]
TABLES = ("raw/events", "validated/events", "features/user_daily")


def days_changed(before, after):
    """By table: which days have another file."""
    names = {name for name in changed(before, after) if name.endswith(".parquet")}
    found = {table: sorted(name[-10 - 8 : -8] for name in names if name.startswith(table)) for table in TABLES}
    assert sum(map(len, found.values())) == len(names)
    return found


def everywhere(*days):
    return {table: [f"2024-01-{day:02d}" for day in days] for table in TABLES}


def copied(export, folder):
    """An export and its deployment at another place, every file with its time."""
    shutil.copytree(export.folder, folder, dirs_exist_ok=True)
    arrivals = folder / "data" / "raw" / "arrivals.json"
    arrivals.write_text(arrivals.read_text().replace(str(export.folder), str(folder)))
    return Export(folder, export.changes)


@pytest.fixture(scope="module")
def one_file_ingested(tmp_path_factory):
    export = Export(tmp_path_factory.mktemp("one"))
    export.users(*USERS)
    export.events(*EVENTS)
    run(export)
    return export


@pytest.fixture
def built(one_file_ingested, tmp_path):
    """A deployment that has ingested its export; call it to run the newest day again and see what changed."""
    export = copied(one_file_ingested, tmp_path)
    before = files_of(tmp_path / "data")

    def again(days=(NEWEST,)):
        again.done = run(export, list(days))
        return days_changed(before, files_of(tmp_path / "data"))

    again.export, again.before = export, before
    return again


def test_a_second_run_changes_no_byte(built):
    assert built(DAYS) == everywhere()
    after = files_of(built.export.folder / "data")
    assert {name: content for name, (content, _) in built.before.items()} == {
        name: content for name, (content, _) in after.items()
    }
    assert built.done.validated.late == []


def test_a_run_over_one_day_changes_no_byte(built):
    assert built([DAYS[2]]) == everywhere()


def test_touching_a_file_without_changing_it_rebuilds_nothing(built):
    path = built.export.events(*EVENTS)
    path.touch()
    assert built() == everywhere()


def test_rows_added_to_a_file_rebuild_their_days(built):
    built.export.events(*EVENTS, "c,2024-01-03 01:00:00,login,,,", "a,2024-01-06 01:00:00,login,,,")
    assert built() == everywhere(3, 6)
    assert built.done.raw.late == built.done.validated.late == built.done.daily.late == [DAYS[2], DAYS[5]]


def test_a_changed_row_rebuilds_its_day(built):
    built.export.events(*(row.replace("12.5", "13.5") for row in EVENTS))
    assert built() == everywhere(2)


def test_a_row_that_moved_rebuilds_both_days(built):
    built.export.events(*(row.replace("01-05", "01-04") for row in EVENTS))
    assert built() == everywhere(4, 5)


def test_a_row_that_is_gone_rebuilds_its_day(built):
    built.export.events(*EVENTS[1:])
    assert built() == everywhere(1)
    assert len(built.done.clean_events) == 5


def test_rows_in_another_order_rebuild_nothing(built):
    built.export.events(*reversed(EVENTS))
    assert built(DAYS) == everywhere()


@pytest.fixture(scope="module")
def many_files_ingested(tmp_path_factory):
    export = Export(tmp_path_factory.mktemp("many")).events_from({"path": "events_*.csv"})
    export.users(*USERS)
    for day in (1, 2, 3):
        export.events(f"a,2024-01-0{day} 08:00:00,login,,,", name=f"events_{day}.csv")
    run(export)
    return export


@pytest.fixture
def many_files(many_files_ingested, tmp_path):
    """An export of a file a day, ingested."""
    return copied(many_files_ingested, tmp_path)


def test_a_new_file_rebuilds_the_days_in_it(many_files):
    data = many_files.folder / "data"
    before = files_of(data)
    many_files.events("b,2024-01-02 09:00:00,login,,,", "b,2024-01-07 09:00:00,login,,,", name="events_late.csv")
    run(many_files, [NEWEST])
    assert days_changed(before, files_of(data)) == everywhere(2, 7)


def test_there_is_news_when_a_file_has_come_changed_or_gone_and_a_process_may_ask_for_days(many_files):
    process = many_files.workspace()
    kept = process.source
    assert not kept.has_news()
    many_files.events("b,2024-01-02 09:00:00,login,,,", name="events_late.csv")
    assert not kept.has_news()  # what it found when it was opened
    assert process.opened_anew().source.has_news()
    run(many_files, [NEWEST])
    assert not process.opened_anew().source.has_news()
    many_files.events("a,2024-01-01 08:00:00,login,,,", "a,2024-01-01 09:00:00,login,,,", name="events_1.csv")
    assert process.opened_anew().source.has_news()
    run(many_files, [NEWEST])
    (many_files.folder / "in" / "events_late.csv").unlink()
    assert process.opened_anew().source.has_news()


def test_a_new_file_with_its_columns_in_another_order_rebuilds_only_its_days(many_files):
    data = many_files.folder / "data"
    header = "price,score,minutes,what,when,user"
    many_files.events(",,,login,2024-01-05 09:00:00,b", ",,,login,2024-01-06 09:00:00,b", header=header,
                      name="events_5.csv")  # fmt: skip
    run(many_files)
    before = files_of(data)
    many_files.events(",,,login,2024-01-05 09:00:00,c", ",,,login,2024-01-06 09:00:00,b", header=header,
                      name="events_5.csv")  # fmt: skip
    run(many_files, [NEWEST])
    assert days_changed(before, files_of(data)) == everywhere(5)


def test_a_file_that_vanished_takes_its_rows_along(many_files):
    data = many_files.folder / "data"
    before = files_of(data)
    (many_files.folder / "in" / "events_2.csv").unlink()
    done = run(many_files, [NEWEST])
    assert days_changed(before, files_of(data)) == everywhere(2)
    assert len(done.clean_events) == 2


def test_rows_of_no_day_come_with_the_newest_day_of_their_file(many_files):
    many_files.events("a,2024-01-02 08:00:00,login,,,", "a,soon,login,,,", name="events_2.csv")
    many_files.events("a,2024-01-03 08:00:00,login,,,", "a,2024-01-03,login", name="events_3.csv")
    done = run(many_files, [NEWEST])
    quarantine = {path.name for path in done.workspace.layout.quarantine.iterdir()}
    assert quarantine == {"events_2024-01-02.csv", "events_2024-01-03.csv"}
    assert rule_counts(done.rejected) == {"event_time_invalid": 1, "unreadable_line": 1}


def test_a_row_of_no_day_that_comes_alone_is_found_too(built):
    built.export.events(*EVENTS, "a,2024-02-30,login,,,")
    assert built([DAYS[0]])["raw/events"] == ["2024-01-08"]
    assert rule_counts(built.done.rejected) == {"event_time_invalid": 1}
    built.export.events(*EVENTS, "a,2024-02-30,login,,,", "a,b")
    run(built.export, [DAYS[0]])
    assert rule_counts(quarantined(built.done.workspace, "*.csv")) == {"event_time_invalid": 1, "unreadable_line": 1}


def test_a_row_of_no_day_moves_on_with_its_file(platform):
    platform.events(*EVENTS[:2], "a,soon,login,,,")
    first = run(platform, DAYS[:2])
    assert first.rules == {"event_time_invalid": 1}
    platform.events(*EVENTS[:2], "a,soon,login,,,", "b,2024-01-03,login,,,")
    second = run(platform, [DAYS[2]])
    assert rule_counts(second.rejected) == {"event_time_invalid": 1}
    assert [path.name for path in second.workspace.layout.quarantine.iterdir()] == ["events_2024-01-03.csv"]


def test_mended_rows_leave_the_quarantine(built):
    built.export.events(*EVENTS, "a,2024-01-04,dance,,,")
    built()
    assert len(built.done.rejected) == 1
    built.export.events(*EVENTS, "a,2024-01-04,login,,,")
    built()
    assert built.done.rejected == []
    assert len(built.done.clean_events) == 7


def test_what_changed_while_a_first_run_was_cut_short_is_read_again(platform, monkeypatch):
    from churn_assets.ingest.files import FilesSource

    def killed(_source):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FilesSource, "acknowledge", killed)
        with pytest.raises(KeyboardInterrupt):
            run(platform)
    platform.events(*EVENTS, "c,2024-01-03 01:00:00,login,,,")
    done = run(platform, [NEWEST])
    assert len(done.workspace.layout.raw_events.read(DAYS[2])) == 3


def test_validation_that_was_cut_short_is_done_by_the_next_run(built):
    built.export.events(*EVENTS, "c,2024-01-03 01:00:00,login,,,")
    build.ingest_events(built.export.workspace(), [NEWEST], quiet)
    assert built() == everywhere(3)


def test_days_come_in_any_portions(platform, tmp_path_factory):
    other = Export(tmp_path_factory.mktemp("whole"))
    other.users(*USERS)
    other.events(*EVENTS)
    whole = run(other)
    for days in (DAYS[:1], DAYS[3:], DAYS[1:3]):
        last = run(platform, days)
    for table in TABLES:
        one, many = (files_of(found.workspace.layout.data / table) for found in (whole, last))
        assert {name: content for name, (content, _) in one.items() if name.endswith("parquet")} == {
            name: content for name, (content, _) in many.items() if name.endswith("parquet")
        }

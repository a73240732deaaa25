"""Who is forgotten is nowhere any more, comes back from nowhere, and nobody else notices."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders import files_of
from forget_world import (
    ANNA,
    DAYS,
    OLD_VERSION,
    PEOPLE,
    SCORED,
    VERSION,
    World,
    after,
    mentions,
    rows_of_others,
)

from churn_assets.features.build import build_snapshot
from churn_assets.features.publish import publish_newest
from churn_assets.ingest import build as ingest
from churn_assets.monitoring.performance.outcomes import bring_up_to_date
from churn_assets.upkeep.exclusive import UpkeepBusyError, exclusive
from churn_assets.upkeep.forget import RunsInFlightError, UnknownPersonError
from churn_assets.upkeep.forget_places import ForgetError, UnreadableFileError
from churn_assets.upkeep.forget_receipt import last_receipt

FORGOTTEN = (ANNA, "12", 'o"neil, the 3rd', "zoë ünï", "it's")
"""Who is forgotten one after the other."""

DERIVED = ("validated", "features/user_daily", "features/churn_labels", "features/user_features")
EVERYWHERE = {
    "raw_users", "raw_engagements", "raw_events", "quarantine", "validated_users", "validated_engagements",
    "validated_events", "user_daily", "churn_labels", "user_features", "training_set", "published_features",
    "published_scores", "predictions", "outcomes", "feed_profiles", "prediction_log",
}  # fmt: skip


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A deployment with everybody in it. Tests only look at it."""
    return World(tmp_path_factory.mktemp("everybody")).build()


@pytest.fixture
def world(built, tmp_path):
    """A copy of it that a test may change."""
    return built.copied(tmp_path / "copy")


@pytest.fixture(scope="session")
def erased(built, tmp_path_factory):
    """The same after some have been forgotten, one after the other. Tests only look at it."""
    world = built.copied(tmp_path_factory.mktemp("erased"))
    world.receipts = {person: world.forget(person) for person in FORGOTTEN}
    return world


def contents(folder, *names):
    """Bytes by name of the Parquet files of certain tables."""
    found = files_of(folder)
    return {
        name: content for name, (content, _) in found.items() if name.startswith(names) and name.endswith("parquet")
    }


def test_the_person_was_everywhere(built):
    assert {touched.kind for touched in built.forgetting(ANNA).look()} == EVERYWHERE
    assert len(mentions(built.folder / "data", ANNA)) > 100


@pytest.mark.parametrize("person", [one for one in FORGOTTEN if len(one) > 2])
def test_no_file_has_the_id_any_more_in_whatever_form(erased, person):
    assert mentions(erased.folder / "data", person) == set()
    assert mentions(erased.folder / "artifacts", person) == set()


@pytest.mark.parametrize("person", FORGOTTEN)
def test_nothing_is_found_when_looked_for_again(erased, person):
    assert erased.forgetting(person).look() == ()
    assert erased.forget(person) is None


@pytest.mark.parametrize("person", ["12", 'o"neil, the 3rd'])
def test_only_rows_about_the_person_go(built, world, person):
    before = rows_of_others(built, person)
    world.forget(person)
    later = rows_of_others(world, person)
    assert before.keys() - later.keys() <= {Path("quarantine/events_2024-01-05.csv")}
    for path, rows in before.items():
        gone = [row for row in rows if row not in later.get(path, [])]
        assert [row for row in rows if row not in gone] == later.get(path, [])
        texts = [" ".join(map(str, row.values())).replace('""', '"') for row in gone if not row["user_id"]]
        assert len(texts) == len(gone)
        assert all(person in text for text in texts)
    assert {row["user_id"] for row in later[Path("validated/users.parquet")]} == set(PEOPLE) - {person}


def test_the_lists_keep_every_byte_of_the_others(built, world):
    world.forget(ANNA)
    for path in sorted(built.layout.predictions.glob("*.csv")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(b'"anna-4711",')]
        assert (world.layout.predictions / path.name).read_bytes() == b"".join(kept)


def test_every_file_is_what_is_built_from_the_raw_data_that_is_left(erased, tmp_path):
    again = erased.copied(tmp_path / "again")
    for name in (*DERIVED, "quarantine"):
        shutil.rmtree(again.layout.data / name)
    ingest.validate_users(again.workspace)
    again.derive()
    for day in SCORED:
        build_snapshot(again.workspace, day)
    assert contents(again.layout.data, *DERIVED) == contents(erased.layout.data, *DERIVED)
    quarantine = {path.name: path.read_bytes() for path in erased.layout.quarantine.iterdir()}
    assert {path.name: path.read_bytes() for path in again.layout.quarantine.iterdir()} == quarantine


def test_every_file_is_what_it_would_be_had_the_person_never_been_there(world, tmp_path):
    world.forget(ANNA)
    never = World(tmp_path / "never", tuple(one for one in PEOPLE if one != ANNA)).build()
    tables = (*DERIVED, "features/training_set", "monitoring/outcomes/2")
    assert contents(world.layout.data, *tables) == contents(never.layout.data, *tables)
    published = [json.loads((one.layout.online_features / "current.json").read_text()) for one in (world, never)]
    assert published[0]["published"][0]["sha256"] == published[1]["published"][0]["sha256"]


def test_the_next_run_changes_no_byte_and_builds_nothing_again(world):
    world.forget(ANNA)
    before = {name: content for name, (content, _) in files_of(world.layout.data).items()}
    told, *built = world.ingest([DAYS[-1]])
    assert [one.late for one in built] == [[], [], [], []]
    of_users, of_events = told
    assert of_users == "1 forgotten user left out (3 rows)"  # two lines in the users file, one course
    assert of_events.startswith("1 forgotten user left out (")
    assert bring_up_to_date(world.workspace, SCORED[0], SCORED[-1])[0] == []
    publish_newest(world.layout)
    assert {name: content for name, (content, _) in files_of(world.layout.data).items()} == before


def test_the_source_does_not_bring_the_person_back(erased):
    world = erased.copied(erased.folder.parent / "whole")
    told, raw, *_ = world.ingest()
    assert raw.days == DAYS
    assert told[0] == f"{len(FORGOTTEN)} forgotten users left out ({3 * len(FORGOTTEN)} rows)"
    assert told[1].startswith(f"{len(FORGOTTEN)} forgotten users left out (")
    assert contents(world.layout.data, "") == contents(erased.layout.data, "")
    assert world.layout.users.read()["user_id"].to_pylist() == sorted(set(PEOPLE) - set(FORGOTTEN))


def test_a_day_that_was_stale_before_stays_so(world):
    stale = DAYS[3]
    raw = world.layout.raw_events
    raw.write(stale, raw.read(stale).slice(1))
    world.forget(ANNA)
    assert world.layout.events.stale_days(raw.stamp) == [stale]


def test_an_event_that_was_taken_for_a_repetition_of_the_person_s_is_looked_at_again(tmp_path):
    world = World(tmp_path)
    world.write_source()
    path = world.folder / "in" / "events.csv"
    shared = "same,{},2024-01-09 10:00:00,login,,,\n"
    path.write_text(path.read_text() + shared.format(ANNA) + shared.format("p00"))
    world.ingest()
    world.forget(ANNA)
    _, _, events, *_ = world.ingest([DAYS[-1]])
    assert events.late == [after(8)]
    (accepted,) = [row for row in world.layout.events.read(after(8)).to_pylist() if row["event_time"].hour == 10]
    assert accepted["user_id"] == "p00"


def test_a_quarantine_that_was_cleaned_up_hides_nobody_in_the_raw_data(world):
    shutil.rmtree(world.layout.quarantine)
    world.forget(ANNA)
    assert mentions(world.folder / "data", ANNA) == set()


def test_the_receipt_says_what_was_done_and_not_to_whom(erased):
    receipt = erased.receipts[ANNA]
    assert receipt.state == "done"
    assert receipt.asked_by == "the tests"
    touched = {one.kind: (one.files, one.rows) for one in receipt.touched}
    assert touched["raw_users"] == (1, 2)
    assert touched["training_set"] == (1, 2)
    assert touched["published_scores"] == (len(SCORED), len(SCORED))
    assert [(one.version, one.splits) for one in receipt.may_have_learned] == [(VERSION, ("training",))]
    assert OLD_VERSION not in str(receipt)
    assert any(line.startswith("backups") for line in receipt.not_covered)
    texts = [path.read_text() for path in erased.layout.receipts.iterdir()]
    assert len(texts) == len(FORGOTTEN)
    assert not [person for person in FORGOTTEN if len(person) > 3 and any(person in text for text in texts)]


def test_where_backups_go_is_told_without_their_password(built):
    from churn_assets.upkeep.forget_receipt import not_covered

    world = built.export.configure(backup={"destination": "s3://key:secret@bucket/churn?token=hidden"})
    told = " ".join(not_covered(world.workspace()))
    assert "s3://bucket/churn" in told
    assert "secret" not in told
    assert "hidden" not in told


def test_nobody_is_an_error_and_changes_nothing(world):
    before = files_of(world.folder / "data")
    for nobody in ("anna", "ANNA-4711", "p0", " "):
        with pytest.raises(ForgetError):
            world.forget(nobody)
    with pytest.raises(UnknownPersonError, match="--anyway"):
        world.forget("4711")
    assert files_of(world.folder / "data") == before
    assert not world.layout.receipts.exists()


def test_somebody_unknown_is_kept_out_if_that_is_asked_for(world):
    receipt = world.forget("newcomer", anyway=True)
    assert (receipt.state, receipt.touched) == ("done", ())
    world.write_source((*PEOPLE, "newcomer"))
    told, *_ = world.ingest()
    assert told[0] == "1 forgotten user left out (2 rows)"
    assert "newcomer" not in world.layout.users.read()["user_id"].to_pylist()


def test_forgetting_twice_changes_nothing(world):
    world.forget(ANNA)
    before = files_of(world.layout.data), files_of(world.layout.receipts)
    assert world.forget(f" {ANNA} ") is None
    assert (files_of(world.layout.data), files_of(world.layout.receipts)) == before


def test_a_look_changes_nothing(world):
    before = files_of(world.folder)
    assert world.forgetting(ANNA).look()
    assert files_of(world.folder) == before


class KilledError(BaseException):
    """Nothing survives it."""


def test_wherever_it_is_killed_the_same_command_goes_on_from_there(built, tmp_path, monkeypatch):
    world, replace, left = built.copied(tmp_path / "killed"), Path.replace, [0]

    def deadly(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise KilledError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", deadly)
    for place, left[0] in enumerate((1, 2, 3, 4, 21, 30, 33, 17, 9, 5, 4, 3)):
        with pytest.raises(KilledError):
            world.forget(ANNA)
        assert place < 2 or world.forgetting(ANNA).standing()  # only the lock is written before the tombstone
    left[0] = 0
    receipt = world.forget(ANNA)
    assert receipt.state == "done"
    assert {one.kind for one in receipt.touched} == EVERYWHERE  # as it was when it began
    assert mentions(world.folder / "data", ANNA) == set()
    world.ingest()
    whole = built.copied(tmp_path / "whole")
    whole.forget(ANNA)
    assert contents(world.layout.data, "raw", *DERIVED) == contents(whole.layout.data, "raw", *DERIVED)


def test_what_killed_processes_have_left_goes_too(world):
    aside = world.layout.temporary / "tmpabc" / "2024-01-05.parquet"
    part = world.layout.predictions / ".churn_predictions_2024-01-20.csv.77-abcd.part"
    aside.parent.mkdir(parents=True)
    for path in (aside, part):
        path.write_text(ANNA)
    receipt = world.forget(ANNA)
    assert not aside.parent.exists()
    assert not part.exists()
    assert receipt.notes == ("2 leftovers of dead processes removed, whomever they held",)


def test_what_may_be_at_work_is_left_alone_if_runs_are_not_looked_at(world):
    part = world.layout.predictions / ".churn_predictions_2024-01-20.csv.77-abcd.part"
    part.write_text("half")
    receipt = world.forget(ANNA, at_rest=False)
    assert part.exists()
    assert receipt.notes == ("Dagster's runs and its storage were not looked at",)


def test_an_id_in_a_file_that_should_have_none_is_told(world):
    note = world.folder / "artifacts" / "reports" / "note.txt"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"ask {ANNA} about it")
    assert world.forget(ANNA).notes == (f"the id stands in {note}: look at it",)


def test_runs_at_work_are_not_raced(world):
    before = files_of(world.layout.data)
    with pytest.raises(RunsInFlightError, match="run 1"):
        world.forget(ANNA, runs=lambda: ["run 1"])
    assert files_of(world.layout.data) == before


def test_runs_at_work_are_waited_for(world):
    at_work, waited = ["run 1", "run 2"], []

    def pause(seconds):
        waited.append(seconds)
        at_work[-1:] = []

    assert world.forget(ANNA, runs=lambda: list(at_work), patience=10.0, pause=pause).state == "done"
    assert waited[:2] == [1.0, 1.0]


def test_what_a_run_writes_back_is_found_before_it_is_called_done(built, world):
    """The run has read its input before it was rewritten, and writes when everything has been erased."""
    day, calls = DAYS[-1], []
    before = built.layout.user_daily.path(day).read_bytes()
    assert ANNA in pq.ParquetFile(built.layout.user_daily.path(day)).read(["user_id"])["user_id"].to_pylist()

    def runs():
        calls.append(len(calls))
        if len(calls) == 2:
            world.layout.user_daily.path(day).write_bytes(before)
        return []

    assert world.forget(ANNA, runs=runs).state == "done"
    assert world.forgetting(ANNA).look() == ()
    assert len(calls) == 3


def test_a_run_that_began_meanwhile_keeps_it_from_being_called_done(world):
    at_work = [[], ["run 7"]]
    with pytest.raises(RunsInFlightError, match=r"run 7: begun meanwhile.* run this again"):
        world.forget(ANNA, runs=lambda: at_work.pop(0))
    standing = world.forgetting(ANNA).standing()
    assert last_receipt(world.layout, standing.hash).state == "begun"
    assert world.forget(ANNA).state == "done"
    assert len(list(world.layout.receipts.iterdir())) == 1


def test_somebody_who_writes_again_and_again_is_told_of(built, world):
    path = world.layout.predictions / "churn_top_5_2024-01-20.csv"
    content = (built.layout.predictions / "churn_predictions_2024-01-20.csv").read_bytes()

    def runs():
        path.write_bytes(content)
        return []

    with pytest.raises(ForgetError, match=r"again and again \(predictions\)"):
        world.forget("p01", runs=runs)


def test_one_upkeep_at_a_time(world, monkeypatch):
    monkeypatch.setattr("churn_assets.upkeep.forget.exclusive", lambda *about: exclusive(*about, timeout=0.05))
    with exclusive(world.layout, "backing up"), pytest.raises(UpkeepBusyError, match="forgetting"):
        world.forget(ANNA)
    assert not world.layout.tombstones.exists()


@pytest.mark.parametrize("name", ["raw/events/2024-01-05.parquet", "features/training_set.parquet"])
def test_a_file_that_nobody_can_read_stops_it_before_it_begins(world, name):
    (world.layout.data / name).write_bytes(b"PAR1 no more")
    with pytest.raises(UnreadableFileError, match=name.rpartition("/")[2]):
        world.forget(ANNA)
    assert not world.layout.tombstones.exists()


def test_a_damaged_table_that_the_service_serves_is_told_and_can_be_mended(world):
    (published,) = world.layout.online_scores.glob(f"scores_{SCORED[-1]}_*.keyed")
    content = published.read_bytes()
    published.write_bytes(content[:-8])
    with pytest.raises(ForgetError, match=r"published|publish it again"):
        world.forget(ANNA)
    published.write_bytes(content)
    assert world.forget(ANNA).state == "done"


def test_a_restored_backup_can_be_cleared_of_the_person_again(built, world):
    world.forget(ANNA, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    shutil.copyfile(built.layout.users.path, world.layout.users.path)
    again = world.forget(ANNA, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1))
    assert [one.kind for one in again.touched] == ["validated_users"]
    assert len(list(world.layout.receipts.iterdir())) == 2

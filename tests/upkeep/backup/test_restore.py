"""What a restore brings, what it leaves alone, and how it is taken up again."""

import errno
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from artifact_factory import register
from backup_world import FIRST, World, halves, hidden, make_database, object_of
from typer.testing import CliRunner

from churn_assets.commands.saving import app
from churn_assets.ingest.tombstones import add_tombstone, read_tombstones
from churn_assets.upkeep import restore as restoring
from churn_assets.upkeep.backup import back_up
from churn_assets.upkeep.backup_manifest import BackupError
from churn_assets.upkeep.backup_store import Store
from churn_assets.upkeep.restore import plan_restore
from churn_serving.errors import RegistryBusyError

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_an_empty_machine_scores_as_the_lost_one_did(world, there):
    restored = there.bring_back()
    assert there.files() == world.files()
    assert restored.serves == world.registry.production().version
    assert restored.problems == restored.moved == ()
    assert there.scores() == world.scores()
    assert hidden(there) == []


def test_no_day_is_stale_afterwards(there):
    there.bring_back()
    layout = there.layout
    assert layout.user_daily.days() == layout.events.days() != []
    assert layout.user_daily.stale_days(layout.events.stamp) == []


def test_the_registry_goes_on_as_if_nothing_had_been(there):
    there.bring_back()
    registry = there.registry
    assert registry.reconcile() == []
    before = registry.production().version
    assert registry.rollback(actor="test").version != before
    assert registry.verify_history() is None


def test_an_earlier_backup_can_be_chosen(world, tmp_path):
    first, before = world.save(), world.files()
    world.build_day(FIRST, 9)
    world.save()
    there = world.elsewhere(tmp_path / "there")
    there.bring_back(name=first.manifest.name)
    assert there.files() == before


def test_a_backup_that_is_not_there_is_told_with_those_that_are(there):
    with pytest.raises(BackupError, match=r"no backup '20200101T000000Z' .* newest are: 2"):
        there.bring_back(name="20200101T000000Z")


def test_a_place_without_backups_is_told(tmp_path):
    with pytest.raises(BackupError, match="there is no backup in"):
        World.at(tmp_path / "here").bring_back()


@pytest.mark.parametrize("name", ["data/raw/mine.csv", "artifacts/notes.txt"])
def test_what_is_there_is_not_touched_without_being_told_to(there, name):
    mine = there.write(name, b"mine")
    with pytest.raises(BackupError, match=r"--force .*nothing was restored|nothing was restored; with --force"):
        there.bring_back()
    assert there.files() == {name: (b"mine", mine.stat().st_mtime_ns)}
    assert hidden(there) == []


def test_with_force_what_was_there_is_moved_aside_as_a_whole(world, there):
    there.fill(days=1)
    register(there.registry, 5)
    before = there.files()
    restored = there.bring_back(force=True)
    assert there.files() == world.files()
    assert [path.parent for path in restored.moved] == [there.folder] * 2
    kept = {path.name.partition(".before-restore-")[0]: path for path in restored.moved}
    for name, (content, mtime_ns) in before.items():
        root, _, rest = name.partition("/")
        assert (kept[root] / rest).read_bytes() == content
        assert (kept[root] / rest).stat().st_mtime_ns == mtime_ns


def test_a_folder_that_is_a_disk_of_its_own_keeps_the_old_inside(world, there, monkeypatch):
    there.fill(days=1)
    rename = Path.rename

    def within_one_disk(self, target):
        if (there.folder / "data" in self.parents) != (there.folder / "data" in Path(target).parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", within_one_disk)
    moved = there.bring_back(force=True).moved
    assert moved[0].parent == there.folder / "data"
    assert moved[0].name.startswith(".before-restore-")
    files = {name: file for name, file in there.files().items() if ".before-restore-" not in name}
    assert files == world.files()
    assert not [file for file in there.save().manifest.files if ".before-restore-" in file.path]


def test_keys_that_lie_among_what_is_replaced_stay(there):
    keys = there.write("artifacts/registry/keys.yaml", b"hash of a key")
    settings = there.workspace.settings
    serving = settings.serving.model_copy(update={"api_keys_file": keys})
    workspace = type(there.workspace)(settings.model_copy(update={"serving": serving}))
    restored = restoring.restore(workspace, there.place, progress=lambda *_: None)
    assert keys.read_bytes() == b"hash of a key"
    assert restored.problems == ()
    assert restored.serves == there.registry.production().version


def test_a_damaged_object_replaces_nothing(world, there):
    there.fill(days=1)
    before = there.files()
    digest = object_of(world.store.newest(), "artifacts", "models/production_latest.joblib")
    world.spoil(digest)
    with pytest.raises(BackupError, match=f"{digest} is damaged, which holds artifacts/models/.*nothing was replaced"):
        there.bring_back(force=True)
    assert there.files() == before
    assert hidden(there) == []


def test_an_object_that_is_gone_is_told(world, there):
    digest = object_of(world.store.newest(), "artifacts", "models/production_latest.joblib")
    (Path(world.place) / "objects" / digest[:2] / digest).unlink()
    with pytest.raises(BackupError, match=f"{digest} is gone"):
        there.bring_back()


@pytest.mark.parametrize("number", [0, 5, 12])
def test_a_full_disk_is_told_and_replaces_nothing(there, monkeypatch, number):
    there.fill(days=1)
    before, fetch, calls = there.files(), restoring._fetch_file, iter(range(1000))

    def until_full(store, path, file):
        if next(calls) == number:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        fetch(store, path, file)

    monkeypatch.setattr(restoring, "_fetch_file", until_full)
    with pytest.raises(BackupError, match="the disk is full; nothing was replaced"):
        there.bring_back(force=True)
    assert there.files() == before
    assert hidden(there) == []  # and the disk is given back


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(there, monkeypatch):
    monkeypatch.setattr(restoring, "free_bytes", lambda _: 1000)
    monkeypatch.setattr(restoring, "_fetch_file", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(BackupError, match=r"too small: [\d,]+ bytes are needed, 1,000 are free"):
        there.bring_back()


def test_a_promotion_under_way_keeps_a_restore_out(there, monkeypatch):
    there.fill(days=1)
    before = there.files()
    registry = there.registry
    impatient = there.registry
    impatient._lock_timeout = 0.05
    monkeypatch.setattr(restoring, "open_registry", lambda _: impatient)
    with registry.still("promoting"):
        held = there.files()
        with pytest.raises(RegistryBusyError, match="promoting"):
            there.bring_back(force=True)
        assert {name: file for name, file in there.files().items() if ".restoring-" not in name} == held
    assert there.bring_back().problems == ()
    assert before != there.files()


@pytest.mark.parametrize("spoilt", ["registry/history.jsonl", "models/production_latest.joblib"])
def test_a_spoilt_registry_is_no_hindrance(world, there, spoilt):
    there.fill(days=1)
    (there.layout.artifacts / spoilt).write_bytes(b"\xff\xfe rubbish")
    assert there.bring_back(force=True).problems == ()
    assert there.files() == world.files()


def test_a_registry_that_was_saved_unsound_is_told(world, tmp_path):
    history = world.layout.promotion_history
    history.write_bytes(history.read_bytes().replace(b"better", b"bitter"))
    version = world.registry.production().version
    (world.layout.artifacts / "registry" / version / "scorer.npz").write_bytes(b"rubbish")
    world.save()
    problems = world.elsewhere(tmp_path / "there").bring_back().problems
    assert any("history was changed at line" in problem for problem in problems)
    assert any("scorer.npz is not what was registered" in problem for problem in problems)


def test_dagsters_database_comes_back_where_there_is_none(world, home, there, tmp_path, monkeypatch):
    make_database(home / "history" / "runs.db", 30)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    world.save()
    empty = tmp_path / "empty"
    monkeypatch.setenv("DAGSTER_HOME", str(empty))
    restored = there.bring_back()
    assert halves(empty / "history" / "runs.db") == ([30, 30], "ok")
    assert (empty / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    assert any("start Dagster again" in note for note in restored.notes)
    assert [path.name for path in empty.glob(".restoring-*")] == []


def test_dagsters_database_stays_unless_it_is_forced(world, home, there, tmp_path):
    make_database(home / "history" / "runs.db", 30)
    world.save()
    make_database(home / "schedules" / "other.db", 3)
    (home / "history" / "runs.db").unlink()
    (home / "storage").mkdir()
    (home / "storage" / "log.txt").write_text("what a run has printed")
    restored = there.bring_back()
    assert not (home / "history" / "runs.db").exists()
    assert any("has a database, which stays as it is" in note for note in restored.notes)
    make_database(home / "history" / "newer.db", 5)
    there.bring_back(force=True)
    assert halves(home / "history" / "runs.db") == ([30, 30], "ok")
    assert (home / "storage" / "log.txt").exists()
    (old,) = tmp_path.glob("dagster.before-restore-*")
    assert halves(old / "history" / "newer.db") == ([5, 5], "ok")


def test_the_settings_of_then_are_put_beside_those_in_use(world, there, tmp_path, monkeypatch):
    config = tmp_path / "churn.yaml"
    config.write_text("training: {seed: 3}\n")
    monkeypatch.setenv("CHURN_MLOPS_CONFIG", str(config))
    world.save()
    config.write_text("training: {seed: 4}\n")
    notes = there.bring_back().notes
    beside = there.layout.artifacts / "upkeep" / "restored_settings" / "churn.yaml"
    assert beside.read_text() == "training: {seed: 3}\n"
    assert config.read_text() == "training: {seed: 4}\n"
    assert any(str(beside) in note for note in notes)


def test_a_plan_changes_nothing(there):
    plan = plan_restore(there.workspace, there.place)
    assert len(plan.files) == len(plan.manifest.files)
    assert not there.layout.data.exists()
    there.write("data/mine.csv", b"mine")
    with pytest.raises(BackupError, match="hold files"):
        plan_restore(there.workspace, there.place)
    plan_restore(there.workspace, there.place, force=True)
    assert there.files().keys() == {"data/mine.csv"}


def test_who_was_forgotten_since_stays_forgotten(world):
    add_tombstone(world.layout.tombstones, "early", NOW)
    world.save()
    add_tombstone(world.layout.tombstones, "late", NOW)
    receipt = world.layout.receipts / "late.json"
    world.write(receipt.relative_to(world.folder).as_posix(), b"{}")
    notes = world.bring_back(force=True).notes
    known = read_tombstones(world.layout.tombstones)
    assert known.of("early")
    assert known.of("late")
    assert receipt.read_bytes() == b"{}"
    assert any(note.startswith("1 people who were forgotten after this backup") for note in notes)


def test_tombstones_outlive_a_backup_that_has_none(world):
    world.save()
    add_tombstone(world.layout.tombstones, "late", NOW)
    world.bring_back(force=True)
    assert read_tombstones(world.layout.tombstones).of("late")


def test_tombstones_under_another_key_are_told(world, there):
    add_tombstone(world.layout.tombstones, "early", NOW)
    world.save()
    add_tombstone(there.layout.tombstones, "late", NOW)
    notes = there.bring_back(force=True).notes
    assert read_tombstones(there.layout.tombstones).of("early")
    assert any("1 tombstones have another key" in note for note in notes)


def test_a_folder_inside_another_is_restored_once(tmp_path, world):
    nested = World.at(tmp_path / "nested", tmp_path / "other-backups")
    layout = {"paths": {"data": nested.folder / "var", "artifacts": nested.folder / "var" / "deep" / "artifacts"}}
    workspace = type(world.workspace)(type(world.workspace.settings).model_validate(layout))
    shutil.copytree(world.folder / "data", nested.folder / "var")
    shutil.copytree(world.folder / "artifacts", nested.folder / "var" / "deep" / "artifacts")
    (nested.folder / "var" / "deep" / "note.txt").write_text("of data")
    saved = back_up(workspace, nested.place, progress=lambda *_: None)
    places = {(file.root, file.path) for file in saved.manifest.files}
    assert ("data", "deep/note.txt") in places
    assert not [path for root, path in places if root == "data" and path.startswith("deep/artifacts/")]
    for _ in range(2):
        restored = restoring.restore(workspace, nested.place, progress=lambda *_: None, force=True)
        assert restored.problems == ()
        assert restored.serves == world.registry.production().version
    assert (nested.folder / "var" / "deep" / "note.txt").read_text() == "of data"


def test_what_a_command_prints_is_json_that_says_it_all(world, monkeypatch):
    for name in ("data", "artifacts"):
        monkeypatch.setenv(f"CHURN_PATHS__{name.upper()}", str(world.folder / name))
    saved = json.loads(CliRunner().invoke(app, ["backup", world.place, "--json"]).stdout)
    assert saved["backup"] == world.store.names()[0]
    listed = json.loads(CliRunner().invoke(app, ["backup", world.place, "--list", "--json"]).stdout)
    assert [row["backup"] for row in listed] == [saved["backup"]]
    would = json.loads(CliRunner().invoke(app, ["restore", world.place, "--force", "--dry-run", "--json"]).stdout)
    assert would["files"] == saved["files"]
    done = CliRunner().invoke(app, ["restore", world.place, "--force", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["serves"] == saved["serves"]
    world.spoil(object_of(Store(world.place).newest(), "artifacts", "models/production_latest.joblib"))
    checked = CliRunner().invoke(app, ["restore", world.place, "--verify", "--json"])
    assert checked.exit_code == 1
    assert {one["damaged"] for one in json.loads(checked.stdout)["damaged"]} >= {
        "artifacts/models/production_latest.joblib"
    }


def test_a_backup_without_a_place_is_told(world, monkeypatch):
    monkeypatch.setenv("CHURN_PATHS__DATA", str(world.folder / "data"))
    refused = CliRunner().invoke(app, ["backup"])
    assert refused.exit_code == 1
    assert "`backup.destination`" in refused.output

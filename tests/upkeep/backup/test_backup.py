"""What a backup holds, what it does not, and that it sends nothing twice."""

import hashlib
import json
import os
import threading
from datetime import datetime
from pathlib import Path

import pytest
from artifact_factory import register
from backup_world import FIRST, World, forget_memory_files, make_database, names, object_of, still

from churn_assets.upkeep import backup as making
from churn_assets.upkeep.backup import back_up
from churn_assets.upkeep.backup_collect import Collector
from churn_assets.upkeep.backup_inspection import inspect, list_backups
from churn_assets.upkeep.backup_manifest import BackupError
from churn_assets.upkeep.backup_store import Store, without_secrets
from churn_assets.upkeep.exclusive import UpkeepBusyError, exclusive
from churn_assets.workspace import Workspace
from churn_serving import atomic


def test_it_holds_every_file_under_the_digest_of_its_bytes(world):
    saved = world.save()
    assert names(saved) == set(world.files())
    assert saved.manifest.serves == world.registry.production().version
    assert saved.manifest.steady
    for file in saved.manifest.files:
        content = (Path(world.place) / "objects" / file.sha256[:2] / file.sha256).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
        assert content == world.files()[f"{file.root}/{file.path}"][0]


def test_an_unchanged_deployment_sends_nothing_the_second_time(world, home):
    make_database(home / "history" / "runs.db")
    first = world.save()
    assert first.sent_bytes > 0
    second = world.save()
    assert (second.sent, second.sent_bytes) == ((), 0)
    assert second.manifest.name > first.manifest.name
    assert {f.sha256 for f in second.manifest.files} == {f.sha256 for f in first.manifest.files}


def test_only_what_is_new_is_sent(world):
    world.save()
    new = world.write("data/predictions/churn_predictions_2026-11-03.csv", b"user_id,churn_risk\nu1,0.5\n")
    world.write("data/predictions/batch_predictions_latest.csv", new.read_bytes())
    saved = world.save()
    assert len(saved.sent) == 1
    assert saved.sent_bytes == new.stat().st_size


def test_what_has_not_changed_is_not_even_read(world, monkeypatch):
    monkeypatch.setattr("churn_assets.upkeep.backup_collect.SETTLED_NS", -(10**15))
    world.save()
    monkeypatch.setattr("churn_assets.upkeep.backup_collect._digest", lambda *_: pytest.fail("it was read"))
    assert world.save().sent == ()
    with pytest.raises(pytest.fail.Exception):
        world.save(verify=True)


def test_a_file_that_changed_a_moment_before_the_last_backup_is_read_again(world):
    path = world.write("data/notes.txt", b"one")
    first = world.save()
    stat = path.stat()
    with path.open("r+b") as file:
        file.write(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = world.save()
    assert object_of(second.manifest, "data", "notes.txt") != object_of(first.manifest, "data", "notes.txt")


def test_what_is_about_a_moment_only_is_left_out(world):
    for name in (
        "data/tmp/spilled.bin",
        "data/raw/.users.parquet.17-abcd.part",
        "artifacts/claims/.lock",
        "artifacts/.notifications.json.lock",
        "artifacts/registry/.candidate.1-ff.part/manifest.json",
        "data/.restoring-20260101T000000Z/x.csv",
        "data/.before-restore-20260101T000000Z/x.csv",
        "artifacts/upkeep/restored_settings/churn.yaml",
    ):
        (world.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (world.folder / name).write_bytes(b"passing")
    kept = world.write("data/.hidden", b"somebody's")
    saved = world.save()
    digest = hashlib.sha256(b"passing").hexdigest()
    assert digest not in saved.manifest.objects
    assert f"data/{kept.name}" in names(saved)


def test_links_are_followed_once(world, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "big.csv").write_bytes(b"on another disk")
    (world.folder / "data" / "big").symlink_to(tmp_path / "disk")
    (world.folder / "data" / "loop").symlink_to(world.folder / "data")
    saved = world.save()
    assert "data/big/big.csv" in names(saved)
    assert not [name for name in names(saved) if name.startswith("data/loop/")]


def test_keys_are_not_saved_and_the_settings_are(world, tmp_path, monkeypatch):
    keys = world.write("artifacts/keys.yaml", b"hash of a key")
    config = tmp_path / "churn.yaml"
    config.write_text("serving: {}\n")
    monkeypatch.setenv("CHURN_MLOPS_CONFIG", str(config))
    settings = world.workspace.settings
    serving = settings.serving.model_copy(update={"api_keys_file": keys})
    workspace = Workspace(settings.model_copy(update={"serving": serving}))
    saved = back_up(workspace, world.place, progress=still)
    assert "artifacts/keys.yaml" not in names(saved)
    assert object_of(saved.manifest, "configuration", "churn.yaml") in world.store.objects()
    assert any("API keys" in what for what in saved.manifest.excluded)


def test_a_dry_run_says_what_would_be_sent_and_writes_nothing(world):
    would = world.save(dry_run=True)
    assert not Path(world.place).exists()
    assert not (world.layout.artifacts / "upkeep" / "last_backup.json").exists()
    assert would.sent_bytes == world.save().sent_bytes


def test_the_newest_backup_is_on_record(world):
    saved = world.save()
    record = json.loads((world.layout.artifacts / "upkeep" / "last_backup.json").read_text())
    assert record["name"] == saved.manifest.name
    assert record["destination"] == world.place
    assert datetime.fromisoformat(record["at"]) == saved.manifest.started_at
    assert (record["files"], record["bytes"]) == (len(saved.manifest.files), saved.manifest.size)


def test_backups_are_listed_newest_first(world):
    first = world.save()
    world.write("data/more.txt", b"more")
    second = world.save()
    rows = list_backups(world.store)
    assert [row["backup"] for row in rows] == [second.manifest.name, first.manifest.name]
    assert [row["files"] for row in rows] == [len(second.manifest.files), len(first.manifest.files)]
    assert {row["problem"] for row in rows} == {""}


def test_a_backup_goes_to_any_file_system(tmp_path):
    forget_memory_files()
    world = World.at(tmp_path / "here", "memory://vault/churn").fill()
    world.save()
    assert world.save().sent == ()
    assert inspect(world.store, progress=still).damaged == ()
    there = world.elsewhere(tmp_path / "there")
    there.bring_back()
    assert there.files() == world.files()
    assert there.scores() == world.scores()


def test_a_backup_that_dies_before_its_manifest_leaves_the_earlier_ones(world, tmp_path, monkeypatch):
    first = world.save()
    before = world.files()
    world.build_day(FIRST, 9)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            world.save()
    assert world.store.names() == [first.manifest.name]
    there = world.elsewhere(tmp_path / "there")
    there.bring_back()
    assert there.files() == before
    assert world.save().sent == ()  # the objects of the dead one are used


def test_an_object_that_was_cut_off_is_sent_again(world):
    first = world.save()
    digest = object_of(first.manifest, "artifacts", "models/production_latest.joblib")
    path = Path(world.place) / "objects" / digest[:2] / digest
    path.write_bytes(path.read_bytes()[:3])
    assert [file.sha256 for file in world.save().sent] == [digest]
    assert inspect(world.store, progress=still).damaged == ()


def test_verifying_finds_what_is_damaged_and_sends_it_again(world):
    saved = world.save()
    digest = object_of(saved.manifest, "artifacts", "models/production_latest.joblib")
    world.spoil(digest)
    damaged = inspect(world.store, progress=still).damaged
    assert {file.path for file in damaged} >= {"models/production_latest.joblib"}
    assert {file.sha256 for file in damaged} == {digest}
    assert world.save().sent == ()
    assert [file.sha256 for file in world.save(verify=True).sent] == [digest]
    assert inspect(world.store, saved.manifest.name, progress=still).damaged == ()


def test_nothing_is_saved_from_the_wrong_place(tmp_path):
    with pytest.raises(BackupError, match="nothing to back up"):
        World.at(tmp_path / "empty").save()


@pytest.mark.parametrize("inside", ["data", "artifacts/backups"])
def test_a_backup_does_not_lie_in_what_it_saves(world, inside):
    with pytest.raises(BackupError, match="would be lost with it"):
        back_up(world.workspace, str(world.folder / inside), progress=still)


def test_a_place_that_cannot_be_written_is_told(world, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BackupError, match=r"file/.* cannot be (read|written)"):
        back_up(world.workspace, str(tmp_path / "file"), progress=still)


@pytest.mark.parametrize("place", ["nowhere://bucket/x", "s4:/user:hidden@host"])
def test_an_unknown_file_system_is_told_without_secrets(world, place):
    place = place.replace("s4:/", "nowhere://")
    with pytest.raises(BackupError, match="no place for backups") as refused:
        back_up(world.workspace, place, progress=still)
    assert "hidden" not in str(refused.value)


def test_secrets_of_a_destination_are_not_shown():
    assert without_secrets("ftp://me:s3cret@host/dir?token=abc") == "ftp://host/dir"
    assert without_secrets("simplecache::ftp://me:s@cret@host/dir") == "simplecache::ftp://host/dir"
    assert without_secrets("s3://bucket/dir") == "s3://bucket/dir"
    assert without_secrets("/mnt/a@b?c") == "/mnt/a@b?c"


def test_errors_of_a_file_system_do_not_repeat_secrets(monkeypatch):
    store = Store("memory://me:s3cret@vault/churn")

    def refuse(*_, **__):
        raise OSError("login me:s3cret failed for memory://me:s3cret@vault/churn")

    monkeypatch.setattr(store._fs, "find", refuse)
    with pytest.raises(BackupError) as told:
        store.names()
    assert "s3cret" not in str(told.value)
    assert told.value.__suppress_context__


def test_another_upkeep_keeps_a_backup_out(world, monkeypatch):
    monkeypatch.setattr(making, "exclusive", lambda layout, doing: exclusive(layout, doing, timeout=0.05))
    with exclusive(world.layout, "cleaning"), pytest.raises(UpkeepBusyError, match="cleaning"):
        world.save()
    assert not Path(world.place).exists() or world.store.names() == []


def test_a_log_that_grows_is_saved_as_far_as_it_was_and_disturbs_nothing(world, monkeypatch):
    log = world.write("data/predictions/log/today.jsonl", b'{"a": 1}\n')
    looks = []
    changed = Collector.changed

    def grow_then_look(self, sources):
        looks.append(1)
        with log.open("ab") as file:
            file.write(b'{"a": 2}\n')
        return changed(self, sources)

    monkeypatch.setattr(Collector, "changed", grow_then_look)
    saved = world.save()
    assert saved.manifest.steady
    assert len(looks) == 1
    digest = object_of(saved.manifest, "data", "predictions/log/today.jsonl")
    assert (Path(world.place) / "objects" / digest[:2] / digest).read_bytes() == b'{"a": 1}\n'


def test_a_file_that_is_rewritten_in_place_while_it_is_read_is_refused_by_name(world, monkeypatch):
    path = world.write("data/foreign.bin", b"0" * 10)
    turn = iter(range(10**6))

    def rewrite_then_digest(file, size):
        if file.name == str(path):
            with path.open("r+b") as other:
                other.write(str(next(turn) % 10).encode() * 10)
            os.utime(path, ns=(0, next(turn)))
        file.seek(0)
        return hashlib.sha256(file.read(size)).hexdigest()

    monkeypatch.setattr("churn_assets.upkeep.backup_collect._digest", rewrite_then_digest)
    with pytest.raises(BackupError, match=r"foreign\.bin was rewritten in place"):
        world.save()
    assert world.store.names() == []


def test_what_changes_meanwhile_is_read_again_until_all_belongs_together(world, monkeypatch, tmp_path):
    take, rounds = Collector.take, []

    def take_then_build(self, doing, sources):
        take(self, doing, sources)
        rounds.append(doing)
        if doing == "files" or len(rounds) == 3:
            world.build_day(FIRST, 7 + len(rounds))
            (world.folder / "data" / "gone.txt").unlink(missing_ok=True)

    world.write("data/gone.txt", b"soon gone")
    monkeypatch.setattr(Collector, "take", take_then_build)
    saved = world.save()
    assert saved.manifest.steady
    assert "data/gone.txt" not in names(saved)
    there = world.elsewhere(tmp_path / "there")
    there.bring_back()
    assert there.files() == world.files()
    assert there.layout.user_daily.stale_days(there.layout.events.stamp) == []


def test_if_files_never_rest_a_day_is_known_as_stale_rather_than_taken_for_new(world, monkeypatch, tmp_path):
    take, seeds = Collector.take, iter(range(10, 1000))

    def build_between_files(self, doing, sources):
        for source in sources:
            take(self, doing, [source])
            if source.root == "data" and source.file.name != "built_from.json":
                world.build_day(FIRST, next(seeds))

    monkeypatch.setattr(Collector, "take", build_between_files)
    saved = world.save()
    assert not saved.manifest.steady
    there = world.elsewhere(tmp_path / "there")
    there.bring_back()
    layout = there.layout
    daily, events = layout.user_daily.read(FIRST).to_pylist()[0], layout.events.read(FIRST).to_pylist()[0]
    assert daily["user_id"] != events["user_id"]
    assert layout.user_daily.stale_days(layout.events.stamp) == [FIRST]


def test_models_that_are_promoted_meanwhile_leave_a_sound_registry(world, tmp_path):
    done, problems = threading.Event(), []

    def promote():
        registry, seeds = world.registry, iter(range(10, 50))
        try:
            while not done.is_set() and (seed := next(seeds, 0)):
                registry.promote(register(registry, seed), actor="writer", reason="newer")
                registry.rollback(actor="writer")
                atomic.write_json(world.layout.metrics / "data_drift_latest.json", {"turn": seed})
        except Exception as error:  # noqa: BLE001 - told by the test
            problems.append(error)

    writer = threading.Thread(target=promote)
    writer.start()
    try:
        saved = [world.save() for _ in range(3)]
    finally:
        done.set()
        writer.join(60)
    assert problems == []
    for number, one in enumerate(saved):
        there = world.elsewhere(tmp_path / f"there{number}")
        restored = there.bring_back(name=one.manifest.name)
        assert restored.problems == ()
        assert restored.serves == one.manifest.serves == there.registry.production().version
        registry = there.registry
        assert registry.verify_history() is None
        assert [registry.verify(summary.version) for summary in registry.versions()] == [[]] * len(registry.versions())
        assert registry.reconcile() == []  # nothing had happened that the history does not say

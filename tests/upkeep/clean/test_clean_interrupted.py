"""A clean-up that cannot go on: full disks, files that stay, another upkeep at work, a process that dies."""

import errno
import shutil
from pathlib import Path

import pytest
from clean_world import AGES, EVERYTHING, World, ago, put

from churn_assets.upkeep import clean as cleaning
from churn_assets.upkeep.exclusive import UpkeepBusyError, exclusive
from churn_assets.upkeep.retention import CleanError
from churn_serving import owned_lock


def names(world):
    return [summary.version for summary in world.registry.versions()]


def test_what_cannot_be_removed_is_named_and_the_other_kinds_are_cleaned(world):
    world.fill()
    stuck = world.layout.predictions_file(ago(90))
    stuck.unlink()
    put(stuck / "in the way")
    cleaned = world.clean(predictions_days=30, quarantine_days=30)
    [problem] = cleaned.problems
    assert problem.startswith(f"predictions: {stuck}: ")
    assert "clean again" in problem
    predictions, quarantine = cleaned.kinds
    assert (predictions.items, quarantine.items) == (2 * len([age for age in AGES if age > 90]) + 1, 7)
    assert predictions.size == predictions.items * len("content")
    (stuck / "in the way").unlink()
    stuck.rmdir()
    assert world.clean(predictions_days=30).problems == []
    assert not world.layout.predictions_file(ago(31)).exists()


def full(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")


def test_a_full_disk_is_cleaned_although_nothing_can_be_written(world, monkeypatch):
    world.fill()
    monkeypatch.setattr(owned_lock, "write_json", full)
    monkeypatch.setattr("churn_serving.atomic.write_bytes", full)
    cleaned = world.clean(predictions_days=30, features_days=30)
    assert cleaned.problems == []
    assert not world.layout.predictions_file(ago(60)).exists()
    assert not world.layout.user_features.path(ago(60)).exists()


def test_versions_stay_whole_while_a_full_disk_has_no_room_for_the_history(world, versions, monkeypatch):
    world.fill()
    with monkeypatch.context() as patch:
        patch.setattr("churn_serving.history.write_bytes", full)
        cleaned = world.clean(models_count=2, predictions_days=30)
    [problem] = cleaned.problems
    assert problem.startswith("models: /somewhere: No space left on device")
    assert not world.layout.predictions_file(ago(60)).exists()
    assert [world.registry.verify(version) for version in versions] == [[]] * len(versions)
    assert world.clean(models_count=2).problems == []
    assert len(names(world)) == 4


def test_a_full_disk_does_not_let_two_in(world, monkeypatch):
    world.fill()
    monkeypatch.setattr(cleaning, "WAIT_SECONDS", 0.05)
    with exclusive(world.layout, "backing up"):
        before = world.files()
        monkeypatch.setattr(cleaning, "exclusive", full)
        with pytest.raises(UpkeepBusyError, match="has to wait for another upkeep"):
            world.clean(predictions_days=30)
        assert world.files() == before


def test_a_clean_up_waits_for_a_backup_and_a_dry_run_does_not(world, monkeypatch):
    world.fill()
    monkeypatch.setattr(cleaning, "WAIT_SECONDS", 0.05)
    with exclusive(world.layout, "backing up"):
        before = world.files()
        with pytest.raises(UpkeepBusyError, match="backing up"):
            world.clean(**EVERYTHING)
        assert world.clean(predictions_days=30, dry_run=True).kinds[0].items
        assert world.files() == before
    assert world.clean(predictions_days=30).kinds[0].items


def test_a_lock_that_cannot_be_made_is_told(world):
    put(world.layout.artifacts)
    with pytest.raises(CleanError, match=r"nothing was cleaned: .*artifacts"):
        world.clean(predictions_days=30)


class KilledError(BaseException):
    """As if the process had died."""


@pytest.mark.parametrize("after", [0, 1, 2, 9, 30, 44, 60])
def test_one_that_dies_anywhere_is_completed_by_the_next(world, versions, monkeypatch, tmp_path_factory, after):
    world.fill()
    twin = World(tmp_path_factory.mktemp("twin") / "it")
    shutil.copytree(world.folder, twin.folder)
    twin.clean(**EVERYTHING)

    unlink, done = Path.unlink, []

    def deadly(path, *arguments, **options):
        ours = not path.name.startswith(".") and path.is_relative_to(world.folder)
        if ours and len(done) >= after:
            raise KilledError
        done.extend([path] if ours else [])
        unlink(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", deadly)
        with pytest.raises(KilledError):
            world.clean(**EVERYTHING)
    assert world.registry.verify(versions[1]) == []
    assert world.registry.production().version == versions[1]

    assert world.clean(**EVERYTHING).problems == []
    assert relative(world) == relative(twin)
    assert world.registry.verify_history() is None
    removed = [entry.version for entry in world.registry.history() if entry.action == "removed"]
    assert sorted(removed) == sorted(set(removed)) == sorted(versions[2:4])


def relative(world):
    return {path.relative_to(world.folder).as_posix() for path in world.files()}

"""A restore that was cut off, at any point, is taken up again and completes."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup_world import World, hidden

from churn_assets.upkeep import restore as restoring
from churn_assets.upkeep import restore_swap
from churn_assets.upkeep.backup_files import Places
from churn_assets.upkeep.backup_manifest import BackupError
from churn_assets.upkeep.clean import clean
from churn_assets.upkeep.forget import Forgetting, Surroundings
from churn_assets.upkeep.retention import Limits


def test_a_restore_that_was_cut_off_while_fetching_fetches_only_the_rest(world, there, monkeypatch):
    fetch, fetched = restoring._fetch_file, []

    def until_killed(store, path, file):
        if len(fetched) == 7:
            raise KeyboardInterrupt
        fetched.append(path)
        fetch(store, path, file)

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_fetch_file", until_killed)
        with pytest.raises(KeyboardInterrupt):
            there.bring_back()
    assert there.files().keys() == {f"{path.relative_to(there.folder).as_posix()}" for path in fetched}
    again = []
    monkeypatch.setattr(restoring, "_fetch_file", lambda *given: (again.append(given[1]), fetch(*given)))
    there.bring_back()
    assert not set(again) & set(fetched)
    assert there.files() == world.files()


def renames_of_a_swap(there, tmp_path):
    """How many renames a forced restore makes once everything is fetched."""
    counted = []
    copy = World.at(tmp_path / "counted", there.place)
    shutil.copytree(there.folder, copy.folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        rename = Path.rename
        patch.setattr(Path, "rename", lambda self, goal: (counted.append(self), rename(self, goal))[1])
        copy.bring_back(force=True)
    return len(counted)


def test_a_restore_that_was_cut_off_while_replacing_goes_on_from_there(world, there, tmp_path):
    there.fill(days=1)
    before = {content for content, _ in there.files().values()}
    total, rename = renames_of_a_swap(there, tmp_path), Path.rename
    assert total > 10
    for number in range(total):
        copy = World.at(tmp_path / f"cut{number}", there.place)
        shutil.copytree(there.folder, copy.folder, dirs_exist_ok=True)
        done = []

        def until_killed(self, goal, done=done, number=number):
            if len(done) == number:
                raise KeyboardInterrupt
            done.append(self)
            return rename(self, goal)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", until_killed)
            with pytest.raises(KeyboardInterrupt):
                copy.bring_back(force=True)
        is_begun = restore_swap.interrupted(Places.of(copy.workspace)) is not None
        restored = copy.bring_back(force=not is_begun)
        assert copy.files() == world.files()
        assert restored.problems == ()
        old = [path for folder in copy.folder.glob("*.before-restore-*") for path in folder.rglob("*")]
        assert before <= {path.read_bytes() for path in old if path.is_file()}
        assert hidden(copy) == []


def test_half_a_restore_is_neither_saved_nor_mixed_with_another(world, there, monkeypatch):
    first = world.store.newest()
    second = world.save().manifest

    with monkeypatch.context() as patch:
        patch.setattr(restore_swap, "_move", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            there.bring_back(name=first.name)
    with pytest.raises(BackupError, match="cut off while it replaced files"):
        there.save()
    with pytest.raises(BackupError, match="cut off while it replaced files"):
        clean(there.workspace, Limits.chosen(there.workspace.settings.retention), datetime.now(UTC))
    with pytest.raises(BackupError, match="cut off while it replaced files"):
        Forgetting(there.workspace, "u1", Surroundings()).run(asked_by="test")
    with pytest.raises(BackupError, match=f"finish it first, with `churn restore .* --backup {first.name}`"):
        there.bring_back(name=second.name)
    assert there.bring_back().manifest.name == first.name
    assert there.files() == world.files()

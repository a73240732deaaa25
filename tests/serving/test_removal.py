"""Versions that are taken out of the registry: gone altogether, told, and never what is needed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from churn_serving.errors import ArtifactError, UnknownVersionError

if TYPE_CHECKING:
    from churn_serving.registry import Registry


def files_named(registry: Registry, version: str) -> list[str]:
    return [str(path) for path in registry.root.parent.rglob("*") if version in path.name]


def test_a_removed_version_is_gone_and_told(registry: Registry, abc: tuple[str, str, str]) -> None:
    registry.remove(abc[0], actor="anna", reason="old")
    assert files_named(registry, abc[0]) == []
    last = registry.history()[-1]
    assert (last.action, last.version, last.actor, last.reason) == ("removed", abc[0], "anna", "old")
    assert registry.reconcile() == []
    assert registry.verify_history() is None
    assert registry.rollback(actor="anna").version == abc[1]
    with pytest.raises(UnknownVersionError):
        registry.remove(abc[0], actor="anna", reason="again")


def test_what_serves_and_what_a_rollback_goes_to_is_not_removed(registry: Registry, abc: tuple[str, str, str]) -> None:
    before = registry.history()
    for version in abc[1:]:
        with pytest.raises(ArtifactError, match="not removed"):
            registry.remove(version, actor="anna", reason="old")
    assert registry.history() == before
    assert registry.verify(abc[1]) == registry.verify(abc[2]) == []


def test_a_removal_that_was_killed_is_finished_or_abandoned(registry: Registry, abc: tuple[str, str, str]) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("churn_serving.bundle.remove_folder", dies)
        with pytest.raises(KeyboardInterrupt):
            registry.remove(abc[0], actor="anna", reason="old")
    assert [entry.action for entry in registry.reconcile()] == ["abandoned"]
    assert registry.verify(abc[0]) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("churn_serving.bundle.shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            registry.remove(abc[0], actor="anna", reason="old")
    assert [(entry.action, entry.actor) for entry in registry.reconcile()] == [("removed", "anna")]
    assert files_named(registry, abc[0]) == []


def test_a_version_whose_folder_somebody_deleted_is_written_down_and_its_model_kept(registry: Registry, abc) -> None:
    shutil.rmtree(registry.root / abc[0])
    assert [(entry.action, entry.actor) for entry in registry.reconcile()] == [("removed", "outside")]
    assert registry.reconcile() == []
    assert (registry.models / f"{abc[0]}.joblib").exists()

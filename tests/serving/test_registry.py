"""The registry: versions stay, the alias is the truth, and the history tells what happened, whoever dies when."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import artifact_factory as make
import pytest
from filelock import FileLock

from churn_serving import atomic
from churn_serving.errors import (
    ChampionChangedError,
    DigestError,
    ForeignAliasError,
    MissingFileError,
    RegistryBusyError,
    SignatureError,
    UnknownVersionError,
    VersionExistsError,
)
from churn_serving.history import Entry, serving_order
from churn_serving.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from churn_serving.registry import Registry


def told(registry: Registry) -> list[tuple[str, str]]:
    """Return what the history says, registrations left out."""
    return [(entry.action, entry.version) for entry in registry.history() if entry.action != "registered"]


def copy_onto_alias(registry: Registry, version: str) -> None:
    shutil.copyfile(registry.models / f"{version}.joblib", registry.alias.path)


def production_metrics(registry: Registry) -> dict[str, object]:
    return json.loads((registry.metrics / "production_latest.json").read_text())


def test_a_registered_version_has_its_files_in_their_places(registry: Registry, tmp_path: Path) -> None:
    version = make.register(registry, 1)
    assert version == "candidate_hgb_20260105T030013Z"
    assert registry.verify(version) == []
    assert registry.production() is None
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        f"models/{version}.joblib",
        f"metrics/{version}.json",
        *(f"registry/{version}/{name}" for name in ("manifest.json", "scorer.npz", "reference.json", "SHA256SUMS")),
        "registry/history.jsonl",
        "registry/history.head.json",
        "registry/.lock",
    }


def test_a_second_version_of_the_same_second_takes_the_next(registry: Registry) -> None:
    moment = make.START
    registry._clock = lambda: moment
    first = make.register(registry, 1)
    second = registry.new_version("candidate_hgb")
    assert (first, second) == ("candidate_hgb_20260105T030012Z", "candidate_hgb_20260105T030013Z")


def test_a_version_is_never_overwritten(registry: Registry) -> None:
    version = make.register(registry, 1)
    make.register(registry, 1, version)
    assert told(registry) == []
    assert len(registry.history()) == 1
    with pytest.raises(VersionExistsError):
        make.register(registry, 2, version)
    assert registry.verify(version) == []


def test_promotion_serves_the_version_and_says_why(registry: Registry, abc: tuple[str, str, str]) -> None:
    production = registry.production()
    assert production.version == abc[2]
    assert production.promoted_because == f"because of {abc[2]}"
    assert registry.alias.path.read_bytes() == (registry.models / f"{abc[2]}.joblib").read_bytes()
    assert registry.load(production.version).version == abc[2]
    latest = production_metrics(registry)
    assert latest["version"] == abc[2]
    assert latest["promoted_because"] == f"because of {abc[2]}"
    assert latest["promoted_at"] == production.promoted_at.isoformat()
    assert latest["metrics"] == {"pr_auc": 0.7}


def test_promoting_what_serves_changes_nothing(registry: Registry, abc: tuple[str, str, str]) -> None:
    before = told(registry)
    registry.promote(abc[2], actor="test", reason="again")
    assert told(registry) == before


def test_rollback_goes_back_step_by_step_and_then_says_that_it_cannot(registry: Registry, abc) -> None:
    assert registry.previous_production() == abc[1]
    assert registry.rollback(actor="anna").version == abc[1]
    assert registry.rollback(actor="anna").version == abc[0]
    with pytest.raises(UnknownVersionError, match="no version served before"):
        registry.rollback(actor="anna")
    assert registry.rollback(abc[2], actor="anna", reason="it was right after all").version == abc[2]
    assert production_metrics(registry)["promoted_because"] == "it was right after all"
    assert registry.verify_history() is None


def test_a_refusal_is_recorded_and_changes_nothing(registry: Registry, abc: tuple[str, str, str]) -> None:
    challenger = make.register(registry, 9)
    registry.refuse(challenger, actor="gates", reasons=["PR-AUC 0.41 is below 0.60", "slow"], evidence={"pr_auc": 0.41})
    last = registry.history()[-1]
    assert (last.action, last.version, last.evidence) == ("refused", challenger, {"pr_auc": 0.41})
    assert "0.41" in last.reason
    assert "slow" in last.reason
    assert registry.production().version == abc[2]


@pytest.mark.parametrize("name", ["nobody", "../models", ".lock", "", ".."])
def test_a_version_that_is_none_is_named(registry: Registry, abc: tuple[str, str, str], name: str) -> None:
    with pytest.raises(UnknownVersionError, match=abc[2]):
        registry.promote(name, actor="test", reason="why not")


def test_what_was_judged_against_another_champion_is_not_promoted(
    registry: Registry, abc: tuple[str, str, str]
) -> None:
    first, second, third = abc
    before = told(registry)
    for judged_against in (second, None):
        with pytest.raises(ChampionChangedError, match=third):
            registry.promote(first, actor="test", reason="late", instead_of=judged_against)
    assert told(registry) == before
    assert registry.promote(first, actor="test", reason="in time", instead_of=third).version == first


def test_the_first_promotion_replaces_nothing(registry: Registry) -> None:
    version = make.register(registry, 0)
    assert registry.promote(version, actor="test", reason="first", instead_of=None).version == version


def test_a_broken_version_is_not_promoted(registry: Registry, abc: tuple[str, str, str]) -> None:
    before = told(registry)
    (registry.models / f"{abc[0]}.joblib").write_bytes(b"something else")
    with pytest.raises(DigestError, match=abc[0]):
        registry.promote(abc[0], actor="test", reason="try")
    (registry.models / f"{abc[0]}.joblib").unlink()
    with pytest.raises(MissingFileError, match=abc[0]):
        registry.promote(abc[0], actor="test", reason="try")
    assert [type(problem) for problem in registry.verify(abc[0])] == [MissingFileError]
    (registry.root / abc[1] / "scorer.npz").write_bytes(b"")
    with pytest.raises(DigestError):
        registry.promote(abc[1], actor="test", reason="try")
    assert registry.production().version == abc[2]
    assert told(registry) == before


def test_with_a_key_an_unsigned_version_is_not_promoted(tmp_path: Path) -> None:
    version = make.register(make.open_registry(tmp_path), 1)
    keyed = make.open_registry(tmp_path, "key")
    with pytest.raises(SignatureError):
        keyed.promote(version, actor="test", reason="try")
    assert keyed.promote(make.register(keyed, 2), actor="test", reason="signed")


def test_an_operators_copy_is_production_at_once_and_history_at_the_next_look(registry: Registry, abc) -> None:
    copy_onto_alias(registry, abc[0])
    assert registry.production().version == abc[0]
    assert [(entry.action, entry.version) for entry in registry.reconcile()] == [("changed outside", abc[0])]
    assert registry.reconcile() == []
    assert production_metrics(registry)["version"] == abc[0]
    assert registry.previous_production() is None


def test_an_operators_copy_can_be_rolled_back_before_anybody_looked(registry: Registry, abc) -> None:
    late = make.register(registry, 5)
    copy_onto_alias(registry, late)
    assert registry.previous_production() == abc[2]
    assert registry.rollback(actor="anna").version == abc[2]


@pytest.mark.parametrize("content", [b"foreign", b""])
def test_a_foreign_alias_is_an_error_and_is_written_down_once(registry: Registry, abc, content: bytes) -> None:
    registry.alias.path.write_bytes(content)
    with pytest.raises(ForeignAliasError, match="no registered model"):
        registry.production()
    assert [entry.action for entry in registry.reconcile()] == ["alias unknown"]
    assert registry.reconcile() == []
    assert production_metrics(registry)["version"] == abc[2]
    assert registry.rollback(actor="anna").version == abc[2]


def test_an_alias_that_is_gone_is_written_down(registry: Registry, abc: tuple[str, str, str]) -> None:
    registry.alias.path.unlink()
    assert registry.production() is None
    assert [entry.reason for entry in registry.reconcile()] == ["the alias is gone"]
    assert registry.promote(abc[2], actor="test", reason="back").version == abc[2]


@pytest.mark.usefixtures("abc")
def test_an_unchanged_alias_is_read_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = time.time() - 60
    os.utime(registry.alias.path, (long_ago, long_ago))
    digest = registry.alias.digest()
    monkeypatch.setattr("churn_serving.alias.hashlib", None)
    assert registry.alias.digest() == digest


def killed_at_write(step: int, doing: Callable[[], object]) -> bool:
    """Do it in a process that is killed just before its write number `step`; return whether it came so far."""
    whole, count = atomic.writing, itertools.count()

    def writing(path: Path, **options: bool):
        if next(count) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(path, **options)

    def run() -> None:
        atomic.writing = writing
        doing()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


@pytest.mark.parametrize("step", range(8))
def test_whenever_a_promotion_is_killed_nothing_is_lost_or_doubled(tmp_path: Path, step: int) -> None:
    registry = make.open_registry(tmp_path)
    old, new = make.register(registry, 1), make.register(registry, 2)
    registry.promote(old, actor="test", reason="first")
    better = {"actor": "test", "reason": "better", "evidence": {"gain": 0.02}}
    # owner of the lock, intent and head, alias, history and head, metrics
    assert killed_at_write(step, lambda: registry.promote(new, **better)) == (step < 7)

    after = make.open_registry(tmp_path)
    serving = after.production().version
    assert serving == (new if step > 3 else old)
    after.reconcile()
    assert after.verify_history() is None
    assert production_metrics(after)["version"] == serving
    entries = [entry for entry in after.history() if entry.version == new]
    outcome = [entry.action for entry in entries if entry.action not in {"registered", "intended"}]
    assert outcome == {0: [], 1: [], 2: ["abandoned"], 3: ["abandoned"]}.get(step, ["promoted"])
    assert all(entry.evidence == {"gain": 0.02} for entry in entries if entry.action == "promoted")
    assert after.reconcile() == []
    assert after.promote(new, actor="test", reason="better").version == new


@pytest.mark.parametrize("step", range(10))
def test_whenever_a_registration_is_killed_no_half_version_is_visible(tmp_path: Path, step: int) -> None:
    registry = make.open_registry(tmp_path)
    version = registry.new_version("candidate_hgb")
    # owner of the lock, artifact, metrics, four files of the version, history and head
    assert killed_at_write(step, lambda: make.register(registry, 1, version)) == (step < 9)

    after = make.open_registry(tmp_path)
    visible = [summary.version for summary in after.versions()]
    assert visible == ([version] if step > 6 else [])
    assert all(after.verify(name) == [] for name in visible)
    make.register(after, 1, version)
    assert after.verify(version) == []
    assert [entry.action for entry in after.history()] == ["registered"]
    assert not list(after.root.glob(".*.part"))


def promote_in_process(artifacts: Path, version: str, start) -> None:
    start.wait()
    registry = make.open_registry(artifacts, lock_timeout=30.0)
    registry.promote(version, actor=version, reason="at once")


def test_two_processes_that_promote_at_once_take_turns(tmp_path: Path) -> None:
    registry = make.open_registry(tmp_path)
    versions = {make.register(registry, 1), make.register(registry, 2)}
    context = multiprocessing.get_context("fork")
    start = context.Event()
    processes = [context.Process(target=promote_in_process, args=(tmp_path, version, start)) for version in versions]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    actions = told(registry)
    assert [action for action, _ in actions] == ["intended", "promoted"] * 2
    assert {version for _, version in actions} == versions
    assert registry.production().version == actions[-1][1]
    assert registry.verify_history() is None


def roll_back_in_process(artifacts: Path, start) -> None:
    start.wait()
    make.open_registry(artifacts, lock_timeout=30.0).rollback(actor="anna")


def test_a_promotion_during_a_rollback_waits_for_it(registry: Registry, abc, tmp_path: Path) -> None:
    new = make.register(registry, 9)
    context = multiprocessing.get_context("fork")
    start = context.Event()
    processes = [
        context.Process(target=roll_back_in_process, args=(tmp_path, start)),
        context.Process(target=promote_in_process, args=(tmp_path, new, start)),
    ]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = [(action, version) for action, version in told(registry)[-4:] if action != "intended"]
    back_first = [("rolled back", abc[1]), ("promoted", new)]
    promoted_first = [("promoted", new), ("rolled back", abc[2])]
    assert [first, second] in (back_first, promoted_first)
    assert [entry.action for entry in registry.history()[-4:]].count("intended") == 2
    assert registry.production().version == second[1]
    assert registry.verify_history() is None


def test_a_lock_that_somebody_else_holds_is_named(tmp_path: Path) -> None:
    registry = make.open_registry(tmp_path, lock_timeout=0.05)
    version = make.register(registry, 1)
    with FileLock(registry.root / ".lock"):
        (registry.root / ".lock.owner.json").write_text('{"pid": 4711}')
        with pytest.raises(RegistryBusyError, match="4711"):
            registry.promote(version, actor="test", reason="try")
        assert registry.production() is None  # looking needs no lock
    assert registry.promote(version, actor="test", reason="try").version == version


def test_nothing_changes_while_the_registry_is_kept_still(registry: Registry, abc: tuple[str, str, str]) -> None:
    other = make.open_registry(registry.root.parent, lock_timeout=0.05)
    with registry.still("copying"), pytest.raises(RegistryBusyError, match="copying"):
        other.promote(abc[0], actor="test", reason="try")
    assert other.promote(abc[0], actor="test", reason="try").version == abc[0]


def test_a_version_copied_into_the_registry_is_written_down(registry: Registry, tmp_path: Path) -> None:
    other = make.open_registry(tmp_path / "other")
    version = make.register(other, 1)
    shutil.copytree(other.root / version, registry.root / version)
    assert [(entry.action, entry.version) for entry in registry.reconcile()] == [("registered", version)]


def test_going_back_takes_later_versions_out_of_the_order() -> None:
    def entry(action, version: str) -> Entry:
        return Entry(number=1, time=make.START, actor="t", action=action, version=version)

    story = [entry("promoted", v) for v in "ABC"] + [entry("refused", "D"), entry("rolled back", "B")]
    assert [e.version for e in serving_order(story)] == ["A", "B"]


def test_one_unreadable_manifest_does_not_hide_the_others(registry: Registry, abc: tuple[str, str, str]) -> None:
    (registry.root / abc[1] / "manifest.json").write_text("{")
    summaries = registry.versions()
    assert [summary.version for summary in summaries] == [abc[2], abc[1], abc[0]]
    assert "cannot be read" in summaries[1].problem
    assert registry.production().version == abc[2]


def test_five_hundred_versions_are_listed_without_delay(registry: Registry) -> None:
    version = make.register(registry, 1)
    content = (registry.root / version / "manifest.json").read_bytes()
    for number in range(500):
        folder = registry.root / f"candidate_hgb_2025{number:04d}T000000Z"
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
    begin = time.process_time()
    summaries = Versions(registry.root).newest_first()
    assert time.process_time() - begin < 1.0
    assert len(summaries) == 501
    assert summaries[0].version == version


def test_a_twin_of_the_production_model_is_not_taken_for_it(registry: Registry) -> None:
    first = make.register(registry, 1)
    serving = make.register(registry, 2, content=b"the same bytes")
    for version in (first, serving):
        registry.promote(version, actor="test", reason="because")
    make.register(registry, 2, content=b"the same bytes")
    assert registry.production().version == serving
    assert registry.previous_production() == first
    newest = make.register(registry, 3)
    registry.promote(newest, actor="test", reason="because", instead_of=serving)
    assert registry.production().version == newest


def test_a_twin_that_is_copied_by_hand_has_the_name_under_which_it_served(registry: Registry) -> None:
    """It keeps that name when the copy is found out and written down."""
    first = make.register(registry, 1, content=b"the same bytes")
    for version in (first, make.register(registry, 2)):
        registry.promote(version, actor="test", reason="because")
    twin = make.register(registry, 1, content=b"the same bytes")
    shutil.copy(registry.models / f"{twin}.joblib", registry.alias.path)
    assert registry.production().version == first
    assert [(entry.action, entry.version) for entry in registry.reconcile()] == [("changed outside", first)]
    assert registry.production().version == first

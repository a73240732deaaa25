"""What holds of every backup: any tree comes back as it was, any flipped bit is told, no path leads out."""

import hashlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from artifact_factory import register
from backup_world import World, still
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.upkeep.backup_inspection import inspect
from churn_assets.upkeep.backup_manifest import (
    BackupError,
    BackupManifest,
    StoredFile,
    decode,
    encode,
    new_name,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: (
        name not in {".", "..", "tmp"}
        and not name.endswith((".lock", ".part", ".lock.owner.json"))
        and not name.startswith(".restoring-")
        and len(name.encode()) < 200
    )
)
PATHS = st.tuples(st.sampled_from(["data", "artifacts"]), st.lists(NAMES, min_size=1, max_size=3))
FILES = st.tuples(st.binary(max_size=200), st.integers(0, 2**61), st.sampled_from([0o644, 0o600, 0o444, 0o755]))
TREES = st.dictionaries(PATHS.map(lambda path: (path[0], *path[1])), FILES, min_size=1, max_size=8)


@pytest.fixture(autouse=True, scope="module")
def _no_dagster(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("dagster")))
        yield


def grow(folder, tree):
    """Write a tree; a file in whose place a folder stands, or the other way round, is left out."""
    written = {}
    for parts, (content, mtime_ns, mode) in tree.items():
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        os.utime(path, ns=(mtime_ns, mtime_ns))
        path.chmod(mode)
        written[path.relative_to(folder).as_posix()] = (content, path.stat().st_mtime_ns, mode)
    return written


def seen(folder):
    """Every file of a deployment, with its modification time and permissions."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode & 0o777)
        for root in ("data", "artifacts")
        for path in (folder / root).rglob("*")
        if path.is_file() and not path.name.endswith(".lock") and path.name != "last_backup.json"
    }


@given(TREES)
@settings(max_examples=30)
def test_any_tree_comes_back_to_the_byte_and_the_nanosecond(tree):
    with tempfile.TemporaryDirectory() as name:
        world = World.at(Path(name) / "here")
        written = grow(world.folder, tree)
        saved = world.save()
        assert {f"{file.root}/{file.path}" for file in saved.manifest.files} == written.keys()
        assert world.save().sent_bytes == 0
        there = world.elsewhere(Path(name) / "there")
        there.bring_back()
        assert seen(there.folder) == written
        assert there.save().sent_bytes == 0  # all of it is stored already


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A backup of a deployment with one model."""
    folder = tmp_path_factory.mktemp("kept")
    world = World.at(folder / "here")
    registry = world.registry
    registry.promote(register(registry, 1), actor="test", reason="the first")
    return world, world.save().manifest


@given(data=st.data())
@settings(max_examples=30)
def test_a_flipped_bit_of_any_object_is_told_by_name(kept, data):
    world, manifest = kept
    file = data.draw(st.sampled_from([file for file in manifest.files if file.size]))
    path, place = Path(world.place, "objects", file.sha256[:2], file.sha256), data.draw(st.integers(0, file.size - 1))
    world.spoil(file.sha256, place)
    try:
        damaged = inspect(world.store, progress=still).damaged
        assert {one.sha256 for one in damaged} == {file.sha256}
        assert (file.root, file.path) in {(one.root, one.path) for one in damaged}
        with tempfile.TemporaryDirectory() as name:
            there = world.elsewhere(Path(name) / "there")
            with pytest.raises(BackupError, match=f"{file.sha256} is damaged.*nothing was replaced"):
                there.bring_back()
            assert seen(there.folder) == {}
    finally:
        world.spoil(file.sha256, place)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


@given(data=st.data())
@settings(max_examples=200)
def test_a_flipped_bit_of_any_manifest_is_told(kept, data):
    _, manifest = kept
    content = bytearray(encode(manifest))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BackupError, match=r"here\.json"):
        decode(bytes(content), "here.json")


def with_path(manifest, path):
    files = (msgspec.structs.replace(manifest.files[0], path=path), *manifest.files[1:])
    return encode(msgspec.structs.replace(manifest, files=files))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "a/./b", "..", "a/..", "x\0y"])
def test_a_path_that_leads_out_is_refused_even_if_it_is_sealed(kept, path):
    with pytest.raises(BackupError, match="leads out of its folder"):
        decode(with_path(kept[1], path), "here.json")


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_a_path_that_stays_inside_is_taken(kept, parts):
    assert decode(with_path(kept[1], "/".join(parts)), "here.json").files[0].path == "/".join(parts)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "AB" * 32, "", "0" * 63])
def test_what_is_no_digest_is_refused(kept, digest):
    manifest = kept[1]
    files = (msgspec.structs.replace(manifest.files[0], sha256=digest),)
    with pytest.raises(BackupError, match="nothing of it is restored"):
        decode(encode(msgspec.structs.replace(manifest, files=files)), "here.json")


def test_a_manifest_under_another_name_is_refused(kept):
    world, manifest = kept
    path = Path(world.place) / "backups" / f"{manifest.name}.json"
    other = path.with_name("20200101T000000Z.json")
    other.write_bytes(path.read_bytes())
    try:
        with pytest.raises(BackupError, match="it was renamed"):
            world.store.manifest("20200101T000000Z")
    finally:
        other.unlink()


MOMENT = datetime(2026, 11, 23, 3, 0, 0, 500, tzinfo=UTC)


@given(st.integers(0, 5))
def test_names_are_those_of_the_second_and_never_taken_twice(count):
    taken = []
    for _ in range(count + 1):
        taken.append(new_name(taken, MOMENT))
    assert taken == [f"{MOMENT + timedelta(seconds=number):%Y%m%dT%H%M%SZ}" for number in range(count + 1)]
    assert taken == sorted(set(taken))


def test_a_manifest_says_what_it_was_told():
    file = StoredFile(root="data", path="a", size=1, mtime_ns=2, mode=0o644, sha256="0" * 64, stamp=(1, 2))
    manifest = BackupManifest(
        name="20261123T030000Z",
        started_at=MOMENT,
        finished_at=MOMENT,
        host="h",
        tool="1",
        serves="",
        steady=True,
        database="none",
        excluded=(),
        files=(file, msgspec.structs.replace(file, path="b")),
    )
    again = decode(encode(manifest), "here.json")
    assert msgspec.structs.replace(again, seal="") == manifest
    assert again.size == 2
    assert list(again.objects) == ["0" * 64]

"""A version on disk is whole, immutable, and believed only after every check."""

from __future__ import annotations

import subprocess

import artifact_factory as make
import msgspec
import numpy as np
import pytest

from churn_serving import atomic, bundle
from churn_serving.errors import (
    ArtifactError,
    DigestError,
    GoldenRowError,
    ManifestError,
    MissingFileError,
    ScorerError,
    SignatureError,
    VersionExistsError,
)
from churn_serving.manifest import Bands, encode, golden_rows, sha256, sign

VERSION = "candidate_hgb_20260105T030012Z"
EXTRA = {"reference.json": b'{"rows": 1000}'}


@pytest.fixture
def scorer():
    return make.tree_scorer(trees=4)


@pytest.fixture
def folder(tmp_path, scorer):
    bundle.write_version(tmp_path, make.draft(VERSION, scorer), scorer, EXTRA)
    return tmp_path / VERSION


def rewrite(folder, **changes) -> None:
    """Change the manifest as somebody would who knows about the checksum file."""
    manifest = msgspec.structs.replace(bundle.read_manifest(folder), **changes)
    content = encode(manifest)
    sums = folder / bundle.CHECKSUMS
    old = sha256((folder / bundle.MANIFEST).read_bytes())
    (folder / bundle.MANIFEST).write_bytes(content)
    sums.write_text(sums.read_text().replace(old, sha256(content)))


def test_a_version_comes_back_as_it_was_written(folder, scorer) -> None:
    model = bundle.load_verified(folder)
    assert bundle.verify(folder) == []
    assert model.version == VERSION
    assert model.scorer.to_bytes() == scorer.to_bytes()
    assert model.manifest.features == make.FEATURES
    assert model.manifest.metrics == {"pr_auc": 0.7}
    assert not list(folder.parent.glob(".*"))


def test_the_same_content_gives_the_same_files(folder, tmp_path, scorer) -> None:
    again = tmp_path / "elsewhere"
    bundle.write_version(again, make.draft(VERSION, scorer), scorer, EXTRA)
    for path in folder.iterdir():
        assert (again / VERSION / path.name).read_bytes() == path.read_bytes()


def test_the_checksum_file_is_one_that_sha256sum_reads(folder) -> None:
    models = folder.parent.parent / "models"
    models.mkdir()
    (models / "artifact").write_bytes(b"joblib")
    done = subprocess.run(
        ["sha256sum", "--check", "--ignore-missing", bundle.CHECKSUMS], cwd=folder, capture_output=True, check=False
    )
    assert done.stdout.decode().splitlines() == ["scorer.npz: OK", "reference.json: OK", "manifest.json: OK"]


def test_writing_again_changes_nothing_and_other_content_is_refused(folder, scorer) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    bundle.write_version(folder.parent, make.draft(VERSION, scorer), scorer, EXTRA)
    with pytest.raises(VersionExistsError):
        bundle.write_version(folder.parent, make.draft(VERSION, scorer), scorer, {"reference.json": b"{}"})
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", [bundle.MANIFEST, bundle.SCORER, bundle.CHECKSUMS, "reference.json"])
def test_every_file_is_missed(folder, name: str) -> None:
    (folder / name).unlink()
    assert any(isinstance(problem, MissingFileError) and name in str(problem) for problem in bundle.verify(folder))
    with pytest.raises(MissingFileError, match=name):
        bundle.load_verified(folder)


@pytest.mark.parametrize("name", [bundle.MANIFEST, bundle.SCORER, "reference.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "append"])
def test_every_change_of_a_file_is_detected(folder, name: str, damage: str) -> None:
    content = bytearray((folder / name).read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    (folder / name).write_bytes({"truncate": content[:-3], "append": content + b" "}.get(damage, content))
    assert bundle.verify(folder)
    with pytest.raises((DigestError, ManifestError)):
        bundle.load_verified(folder)


def test_a_manifest_that_was_edited_together_with_its_checksum_still_has_to_match_its_scorer(folder) -> None:
    rewrite(folder, features=make.FEATURES[:4])
    with pytest.raises(ManifestError, match="schema"):
        bundle.load_verified(folder)


def test_a_scorer_that_scores_its_golden_rows_otherwise_is_refused(folder) -> None:
    golden = bundle.read_manifest(folder).golden
    wrong = msgspec.structs.replace(golden[3], score=golden[3].score + 1e-8)
    rewrite(folder, golden=(*golden[:3], wrong, *golden[4:]))
    with pytest.raises(GoldenRowError, match="golden row 3"):
        bundle.load_verified(folder)


def test_golden_rows_that_differ_are_refused_before_anything_is_written(tmp_path, scorer) -> None:
    draft = make.draft(VERSION, make.tree_scorer(9, trees=4))
    with pytest.raises(GoldenRowError):
        bundle.write_version(tmp_path, draft, scorer, {})
    few = msgspec.structs.replace(make.draft(VERSION, scorer), golden=draft.golden[:19])
    with pytest.raises(GoldenRowError, match="at least 20"):
        bundle.write_version(tmp_path, few, scorer, {})
    assert not list(tmp_path.iterdir())


def test_a_renamed_folder_is_noticed(folder) -> None:
    other = folder.rename(folder.with_name("candidate_hgb_20270101T000000Z"))
    with pytest.raises(ManifestError, match="renamed"):
        bundle.load_verified(other)


def test_a_swapped_scorer_with_fitting_digests_is_still_no_model(folder) -> None:
    (folder / bundle.SCORER).write_bytes(b"not arrays")
    files = bundle.read_manifest(folder).files | {bundle.SCORER: sha256(b"not arrays")}
    rewrite(folder, files=files)
    with pytest.raises(ScorerError):
        bundle.load_verified(folder)


def test_with_a_key_only_what_it_signed_is_believed(tmp_path, scorer) -> None:
    draft = make.draft(VERSION, scorer)
    bundle.write_version(tmp_path / "signed", draft, scorer, {}, "key")
    bundle.write_version(tmp_path / "unsigned", draft, scorer, {})
    signed, unsigned = tmp_path / "signed" / VERSION, tmp_path / "unsigned" / VERSION
    assert bundle.load_verified(signed, "key").manifest.signature
    assert bundle.load_verified(signed).version == VERSION  # whoever has no key cannot check it
    with pytest.raises(SignatureError, match="does not match"):
        bundle.load_verified(signed, "another key")
    with pytest.raises(SignatureError, match="unsigned"):
        bundle.load_verified(unsigned, "key")
    rewrite(signed, threshold=0.9)
    with pytest.raises(SignatureError, match="changed"):
        bundle.load_verified(signed, "key")


def test_a_signature_does_not_depend_on_the_order_of_keys(scorer) -> None:
    draft = make.draft(VERSION, scorer)
    there = msgspec.structs.replace(draft, metrics={"a": 1.0, "b": {"c": 2.0, "d": 3.0}})
    back = msgspec.structs.replace(draft, metrics={"b": {"d": 3.0, "c": 2.0}, "a": 1.0})
    assert sign(there, "key").signature == sign(back, "key").signature


def test_a_disk_that_fills_leaves_nothing_behind(tmp_path, scorer, monkeypatch) -> None:
    whole = atomic.writing
    count = iter(range(10))

    def failing(path, **options):
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        return whole(path, **options)

    monkeypatch.setattr(atomic, "writing", failing)
    with pytest.raises(OSError, match="No space"):
        bundle.write_version(tmp_path, make.draft(VERSION, scorer), scorer, EXTRA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff\xfe", b'{"version": 3}'])
def test_a_manifest_that_cannot_be_read_says_where(folder, content: bytes) -> None:
    (folder / bundle.MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        bundle.load_verified(folder)


def test_golden_rows_are_plain() -> None:
    (row,) = golden_rows(
        [{"a": np.float32(0.5), "b": float("nan"), "c": True, "d": None, "e": "pro"}], [np.float64(0.25)]
    )
    assert row.values == {"a": 0.5, "b": None, "c": 1.0, "d": None, "e": "pro"}
    assert row.score == 0.25


def test_bands_include_their_lower_ends() -> None:
    bands = Bands(high=0.6, medium=0.3)
    assert [bands.of(risk) for risk in (0.6, 0.59, 0.3, 0.29)] == ["high", "medium", "medium", "low"]

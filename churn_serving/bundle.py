"""A model version on disk: the manifest, the compiled scorer and what travels with them, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from churn_serving.atomic import PART_SUFFIX, flush_folder, write_bytes
from churn_serving.errors import (
    ArtifactError,
    DigestError,
    GoldenRowError,
    ManifestError,
    MissingFileError,
    VersionExistsError,
)
from churn_serving.manifest import LEAST_GOLDEN_ROWS, Manifest, check_signature, decode, encode, sha256, sign
from churn_serving.scorer_file import from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from churn_serving.scorer import Scorer

MANIFEST = "manifest.json"
SCORER = "scorer.npz"
CHECKSUMS = "SHA256SUMS"
"""Digests of all files, the manifest's and the artifact's too, in the form that `sha256sum -c` reads."""

GOLDEN_TOLERANCE = 1e-9
"""How far a golden row's score may be from what it was in training."""


@dataclass(frozen=True)
class LoadedModel:
    """A version that has passed every check."""

    manifest: Manifest
    scorer: Scorer

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version


def write_version(
    root: Path, draft: Manifest, scorer: Scorer, extra_files: Mapping[str, bytes], signing_key: str | None = None
) -> Manifest:
    """Write `root/<version>/`, which appears by one rename once all its files are on disk.

    Args:
        root: The registry's folder.
        draft: The manifest; `files` and `signature` are filled in here.
        scorer: The compiled scorer, which must give the golden rows their scores.
        extra_files: Further files by name, such as the drift reference.
        signing_key: Signs the manifest.

    Returns:
        The manifest as written. Writing the same version with the same content again changes nothing.

    Raises:
        ArtifactError: The draft is not complete or does not describe the scorer.
        VersionExistsError: The version exists with other content.
        OSError: A file cannot be written; then nothing is visible.
    """
    contents = {SCORER: scorer.to_bytes(), **extra_files}
    described = msgspec.structs.replace(draft, files={name: sha256(content) for name, content in contents.items()})
    manifest = sign(described, signing_key)
    _check_description(manifest, from_bytes(contents[SCORER]))
    contents[MANIFEST] = encode(manifest)
    contents[CHECKSUMS] = _checksums(manifest, contents[MANIFEST])
    folder = root / manifest.version
    if not folder.exists():
        aside = root / f".{manifest.version}.{os.getpid()}-{secrets.token_hex(4)}{PART_SUFFIX}"
        try:
            for name, content in contents.items():
                write_bytes(aside / name, content)
            _rename_folder(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    if (folder / MANIFEST).read_bytes() != contents[MANIFEST]:
        raise VersionExistsError(f"{manifest.version} exists with other content in {folder}; choose another version")
    return manifest


def remove_folder(folder: Path) -> None:
    """Remove a version's folder: at once for whoever looks, its files after that.

    Raises:
        OSError: It cannot be renamed; then it is as before.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}{PART_SUFFIX}")
    _rename_folder(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in a version's folder, unverified.

    Raises:
        MissingFileError: There is none.
        ManifestError: It cannot be read, or is another version's.
    """
    manifest = decode(_read(folder, MANIFEST), str(folder / MANIFEST))
    if manifest.version != folder.name:
        raise ManifestError(f"{folder / MANIFEST} is the manifest of {manifest.version!r}; the folder was renamed")
    return manifest


def load_verified(folder: Path, signing_key: str | None = None) -> LoadedModel:
    """Return the model in a version's folder after checking every file, the signature and the golden rows.

    Raises:
        ArtifactError: Whatever is wrong, as the subclass that says it.
    """
    manifest = read_manifest(folder)
    check_signature(manifest, signing_key)
    for problem in _digest_problems(folder, manifest):
        raise problem
    content = _read(folder, SCORER)
    if sha256(content) != manifest.files.get(SCORER):
        raise DigestError(f"{folder / SCORER} changed while it was read; try again")
    scorer = from_bytes(content)
    _check_description(manifest, scorer)
    return LoadedModel(manifest, scorer)


def verify(folder: Path, signing_key: str | None = None) -> list[ArtifactError]:
    """Return everything that is wrong with the version in `folder`; an empty list if nothing is."""
    try:
        manifest = read_manifest(folder)
    except ArtifactError as error:
        return [error]
    problems: list[ArtifactError] = list(_digest_problems(folder, manifest))
    try:
        check_signature(manifest, signing_key)
        if not problems:
            load_verified(folder, signing_key)
    except ArtifactError as error:
        problems.append(error)
    return problems


def _check_description(manifest: Manifest, scorer: Scorer) -> None:
    if manifest.model_type != scorer.kind or manifest.features != scorer.features:
        raise ManifestError(f"the manifest of {manifest.version} has another model type or schema than its scorer")
    if len(manifest.golden) < LEAST_GOLDEN_ROWS:
        raise GoldenRowError(
            f"{manifest.version} has {len(manifest.golden)} golden rows; at least {LEAST_GOLDEN_ROWS} are needed"
        )
    for number, row in enumerate(manifest.golden):
        score = scorer.score_row(scorer.encode_row(row.values))
        if not abs(score - row.score) <= GOLDEN_TOLERANCE:
            raise GoldenRowError(
                f"{manifest.version} scores its golden row {number} as {score!r}, in training it was {row.score!r}: "
                "the scorer or this code differs from the one it was made with; retrain it"
            )


def _digest_problems(folder: Path, manifest: Manifest) -> Iterator[ArtifactError]:
    for name, digest in {**manifest.files, MANIFEST: ""}.items():
        try:
            content = _read(folder, name)
            digest = digest or _manifest_digest(folder)  # noqa: PLW2901 - the manifest cannot hold its own
        except MissingFileError as error:
            yield error
            continue
        if sha256(content) != digest:
            yield DigestError(f"{folder / name} is not what was registered (SHA-256 differs); restore it from a backup")


def _manifest_digest(folder: Path) -> str:
    """Return the manifest's digest as the checksum file has it."""
    lines = _read(folder, CHECKSUMS).decode(errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    return digests.get(MANIFEST, "not listed")


def _checksums(manifest: Manifest, content: bytes) -> bytes:
    digests = {
        **manifest.files,
        MANIFEST: sha256(content),
        f"../../models/{manifest.artifact}": manifest.artifact_sha256,
    }
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"{folder / name} is missing; restore it from a backup, or retrain") from None


def _rename_folder(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if target.exists():  # another process was faster; the caller compares what it wrote
            return
        raise
    flush_folder(target.parent)

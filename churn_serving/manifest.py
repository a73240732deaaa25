"""The manifest: all that is known about a model version, in one signed JSON file."""

from __future__ import annotations

import hashlib
import hmac
import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from churn_serving.errors import ManifestError, SignatureError
from churn_serving.schema import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEAST_GOLDEN_ROWS = 20
"""Rows that a version carries to prove that it still scores as it did when it was trained."""

ModelType = Literal["logistic_regression", "hist_gradient_boosting"]
Role = Literal["baseline", "candidate"]
Band = Literal["high", "medium", "low"]


class Bands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Probabilities from which a risk is called high, and medium."""

    high: float
    medium: float

    def of(self, risk: float) -> Band:
        """Return the band of a probability of churn."""
        return "high" if risk >= self.high else "medium" if risk >= self.medium else "low"


class Population(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom the model is about.

    Attributes:
        active_within_days: Users with an activity in so many days are scored.
        window_days: Churn is no activity in the so many days after the as-of date.
    """

    active_within_days: int
    window_days: int


class Period(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First and last as-of date of a split, and its rows."""

    first: date
    last: date
    rows: int


class GoldenRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row by feature name (null when missing), and the trained model's probability for it."""

    values: dict[str, float | str | None]
    score: float


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model was trained with: Python's version, and each package's."""

    python: str
    packages: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model version.

    Attributes:
        version: File stem of the artifact, for example `candidate_hgb_20260105T030012Z`.
        model_type: Kind of the compiled scorer.
        role: Which of the two models it was trained as.
        created_at: When, UTC.
        artifact: File name of the scikit-learn pipeline under `models/`.
        artifact_sha256: Digest of that file; the alias `production_latest.joblib` is recognised by it.
        files: SHA-256 of every other file in the version's folder, by name.
        features: Schema of a row, categories with their levels.
        golden: Rows with their scores.
        threshold: Probability above which a user counts as churning.
        bands: Probabilities from which a risk is high, or medium.
        population: Whom the model is about, and what churn is.
        training: The dates of each split, by its name.
        data_fingerprint: Digest of the training data.
        code_version: Version of the code that trained it.
        environment: Python and packages.
        metrics: What evaluation found, as in `metrics/<version>.json`.
        seed: Seed of all that was random.
        reference: File in the version's folder with the population that drift is measured against, if any.
        signature: HMAC-SHA256 of the manifest without this field; empty if no key was set.
    """

    version: str
    model_type: ModelType
    role: Role
    created_at: datetime
    features: tuple[FeatureSpec, ...]
    golden: tuple[GoldenRow, ...]
    threshold: float
    bands: Bands
    population: Population
    training: dict[str, Period]
    data_fingerprint: str
    code_version: str
    environment: Environment
    seed: int
    metrics: dict[str, Any] = {}
    reference: str | None = None
    artifact: str = ""
    artifact_sha256: str = ""
    files: dict[str, str] = {}
    signature: str = ""


def golden_rows(rows: Iterable[Mapping[str, Any]], scores: Iterable[float]) -> tuple[GoldenRow, ...]:
    """Return golden rows from rows by feature name and the trained (not the compiled) model's scores.

    NaN counts as missing, and numbers of any kind become floats.

    Raises:
        ValueError: There are more rows than scores, or the other way round.
    """
    pairs = zip(rows, scores, strict=True)
    return tuple(
        GoldenRow(values={name: _plain(value) for name, value in row.items()}, score=float(score))
        for row, score in pairs
    )


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_from_numpy), indent=2) + b"\n"


def decode(content: bytes, where: str) -> Manifest:
    """Return the manifest in the JSON found at `where`.

    Raises:
        ManifestError: It is no JSON, or a field lacks, is unknown or of another type.
    """
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ManifestError(f"{where} is not a valid manifest: {error}; restore it from a backup") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{where} is not UTF-8: {error}; restore it from a backup") from error


def sign(manifest: Manifest, key: str | None) -> Manifest:
    """Return the manifest with its signature by `key`, or without one if there is no key."""
    return msgspec.structs.replace(manifest, signature=_signature(manifest, key) if key else "")


def check_signature(manifest: Manifest, key: str | None) -> None:
    """Raise unless the manifest is signed with `key`; without a key anything passes.

    Raises:
        SignatureError: It is unsigned, was signed with another key, or was changed since.
    """
    if not key:
        return
    if not manifest.signature:
        raise SignatureError(
            f"{manifest.version} is unsigned, and CHURN_SIGNING_KEY is set: retrain it with the key, or unset the key"
        )
    if not hmac.compare_digest(manifest.signature, _signature(manifest, key)):
        raise SignatureError(
            f"the signature of {manifest.version} does not match: its manifest was changed, or signed with another "
            "CHURN_SIGNING_KEY"
        )


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _signature(manifest: Manifest, key: str) -> str:
    unsigned = msgspec.structs.replace(manifest, signature="")
    content = msgspec.json.encode(unsigned, order="deterministic", enc_hook=_from_numpy)
    return hmac.new(key.encode(), content, hashlib.sha256).hexdigest()


def _from_numpy(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in a manifest")


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return None if math.isnan(number) else number

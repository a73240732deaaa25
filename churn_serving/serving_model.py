"""A verified model made ready to answer: warmed up, with its request reader and its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from churn_serving.intake.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from churn_serving.bundle import LoadedModel
    from churn_serving.manifest import Bands, Manifest
    from churn_serving.registry import Registry
    from churn_serving.scorer import Scorer
    from churn_serving.wording import Value


class _Typical(msgspec.Struct, frozen=True):
    """The part of a drift reference that the words of a reason need."""

    name: str
    typical: float | str | None = None


class _Reference(msgspec.Struct, frozen=True):
    features: tuple[_Typical, ...]


@dataclass(frozen=True)
class ServingModel:
    """What answers requests.

    Attributes:
        manifest: All that is known of the version.
        scorer: The compiled model.
        reader: Reads requests in the model's terms.
        path: The model's file, as answers name it.
        typical: What users commonly have, by feature name.
        artifact_sha256: Digest of the alias when it was loaded.
        loaded_at: When this process took it up, UTC.
    """

    manifest: Manifest
    scorer: Scorer
    reader: Reader
    path: str
    typical: Mapping[str, Value]
    artifact_sha256: str
    loaded_at: datetime

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version

    @property
    def bands(self) -> Bands:
        """Probabilities from which a risk is high, or medium."""
        return self.manifest.bands


def prepare(registry: Registry, version: str, digest: str, now: datetime) -> ServingModel:
    """Load a version, verify it, and score and explain its golden rows once, so that the first request finds it warm.

    Args:
        registry: Where it is.
        version: Which.
        digest: SHA-256 of the alias that names it.
        now: The time, UTC.

    Raises:
        ArtifactError: Something about it is wrong.
        OSError: A file cannot be read.
    """
    loaded = registry.load(version)
    encoder = loaded.scorer.encoder
    rows = np.array([encoder.row(row.values) for row in loaded.manifest.golden])
    loaded.scorer.score(rows)
    loaded.scorer.contributions(rows[:1])
    return ServingModel(
        manifest=loaded.manifest,
        scorer=loaded.scorer,
        reader=Reader(encoder),
        path=str(registry.models / loaded.manifest.artifact),
        typical=_typical(registry, loaded),
        artifact_sha256=digest,
        loaded_at=now,
    )


def _typical(registry: Registry, loaded: LoadedModel) -> dict[str, Value]:
    """What users commonly have; nothing if the model came without a drift reference, which only costs some words."""
    if not loaded.manifest.reference:
        return {}
    try:
        content = (registry.root / loaded.version / loaded.manifest.reference).read_bytes()
        return {entry.name: entry.typical for entry in msgspec.json.decode(content, type=_Reference).features}
    except (OSError, msgspec.DecodeError):
        return {}

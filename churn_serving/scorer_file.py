"""Read a compiled scorer back, whichever kind it is."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from churn_serving.arrays import unpack
from churn_serving.errors import ScorerError
from churn_serving.linear import LinearScorer
from churn_serving.schema import FeatureSpec
from churn_serving.trees import TreeScorer

if TYPE_CHECKING:
    from pathlib import Path

    from churn_serving.scorer import Scorer


@lru_cache(maxsize=1)
def from_bytes(content: bytes) -> Scorer:
    """Return the scorer that `Scorer.to_bytes` wrote; for the same bytes as last time, the same scorer.

    Raises:
        ScorerError: The bytes are no scorer, or its arrays are not a possible model.
    """
    arrays = unpack(content)
    try:
        kind = arrays.pop("kind").tobytes().decode()
        features = msgspec.json.decode(arrays.pop("features").tobytes(), type=tuple[FeatureSpec, ...])
        if kind == LinearScorer.kind:
            return LinearScorer(features, **arrays)
        if kind == TreeScorer.kind:
            return TreeScorer(features, **arrays)
    except (KeyError, TypeError, IndexError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise ScorerError(f"the compiled scorer is incomplete ({error}); restore or retrain it") from error
    raise ScorerError(f"the compiled scorer is of an unknown kind {kind!r}; this code is older than the model")


def load(path: Path) -> Scorer:
    """Return the scorer saved at `path`.

    Raises:
        ScorerError: As `from_bytes`.
        OSError: The file cannot be read.
    """
    return from_bytes(path.read_bytes())

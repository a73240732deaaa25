"""The model as plain arrays: the same bits for one row and for a million, without scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from churn_serving.arrays import pack
from churn_serving.atomic import write_bytes
from churn_serving.encoding import Columns, Encoder
from churn_serving.schema import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

LOWEST_LOG_ODDS = -700.0
"""Where exp() would overflow; the probability there is 1e-304."""


def probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-z)), element by element, the same bits whatever the shape."""
    return 1.0 / (1.0 + np.exp(-np.maximum(log_odds, LOWEST_LOG_ODDS)))


class Scorer(ABC):
    """A compiled model.

    Attributes:
        kind: What the arrays are, as the `.npz` file says it; also the manifest's `model_type`.
        features: The schema of the encoded vector, categories with their levels.
        encoder: Turns rows and tables of that schema into vectors.
        base: Calibrated log-odds before any feature has spoken: `base + contributions(X).sum(axis=1)` is
            `log_odds(X)`.
    """

    kind: ClassVar[str]
    features: tuple[FeatureSpec, ...]
    encoder: Encoder
    base: float

    def __init__(self, features: tuple[FeatureSpec, ...]) -> None:
        self.features = features
        self.encoder = Encoder(features)

    def encode_row(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the vector (F,) of one row of named values; see `Encoder.row`."""
        return self.encoder.row(values)

    def encode_columns(self, table: Columns) -> NDArray[np.float64]:
        """Return the matrix (n, F) of a table; see `Encoder.columns`."""
        return self.encoder.columns(table)

    @abstractmethod
    def log_odds(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated log-odds (n,) of churn for an encoded matrix (n, F)."""

    @abstractmethod
    def log_odds_cells(self, cells: list[float]) -> float:
        """Return what `log_odds` returns for this row, bit for bit: one encoded row as a list of F numbers.

        A list, and few calls of NumPy: each of them costs a busy service several times what it does in a loop.
        """

    @abstractmethod
    def contributions(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each feature adds to the calibrated log-odds, (n, F)."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that make this scorer, by name."""

    def score(self, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities of churn (n,) for an encoded matrix (n, F)."""
        return probability(self.log_odds(encoded))

    def score_row(self, vector: NDArray[np.float64]) -> float:
        """Return the probability of churn of one encoded row (F,), the same bits as `score` gives it."""
        return self.score_cells(vector.tolist())

    def score_cells(self, cells: list[float]) -> float:
        """Return the probability of churn of one encoded row as a list, the same bits as `score` gives it."""
        return 1.0 / (1.0 + float(np.exp(-max(self.log_odds_cells(cells), LOWEST_LOG_ODDS))))

    def to_bytes(self) -> bytes:
        """Return the scorer as an `.npz` file; equal scorers give equal bytes."""
        header = {"kind": _as_array(self.kind.encode()), "features": _as_array(msgspec.json.encode(self.features))}
        return pack(header | self.arrays())

    def save(self, path: Path) -> None:
        """Write the scorer to `path`, atomically."""
        write_bytes(path, self.to_bytes())


def _as_array(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)

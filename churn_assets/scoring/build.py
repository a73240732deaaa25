"""The daily list, from a snapshot and the production model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.layout import MissingTableError
from churn_assets.model_registry import open_registry
from churn_assets.scoring.predictions import predict, write_predictions
from churn_assets.scoring.publish import publish_scores
from churn_serving import atomic
from churn_serving.errors import ArtifactError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from churn_assets.workspace import Workspace
    from churn_serving.bundle import LoadedModel


@dataclass(frozen=True)
class Scored:
    """A day's list.

    Attributes:
        table: Everybody at risk, most at risk first.
        model: What scored them.
        files: What was written.
    """

    table: pa.Table
    model: LoadedModel
    files: tuple[Path, ...]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Probabilities of churn, highest first."""
        scores: NDArray[np.float64] = self.table.column("churn_risk").to_numpy()
        return scores


def production(workspace: Workspace) -> LoadedModel:
    """The model that serves, fully verified.

    Raises:
        ArtifactError: There is none, or something about it is wrong.
    """
    registry = open_registry(workspace)
    serving = registry.production()
    if serving is None:
        raise ArtifactError(f"no model serves yet ({registry.alias.path} is not there): `churn seed` makes the first")
    return registry.load(serving.version)


def score_day(workspace: Workspace, day: date) -> Scored:
    """Score everybody at risk on a day with the production model, write the lists, and publish the scores.

    Raises:
        MissingTableError: `user_features` lacks the day.
        ArtifactError: There is no sound production model.
        OnlineStoreError: The scores cannot be published.
    """
    from churn_assets.monitoring.build import read_reference

    model = production(workspace)
    snapshot = workspace.layout.user_features.read(day)
    reference = read_reference(workspace, model)
    table = predict(snapshot, model.scorer, model.manifest.bands, model.version, typical=reference.typical)
    files = write_predictions(workspace.layout, day, table, workspace.settings.scoring.top_k)
    publish_scores(workspace.layout, day, table, model.version)
    return Scored(table, model, files)


def write_top(workspace: Workspace, day: date, k: int) -> Path:
    """Write the short list of a day that has been scored, `k` users long; returns the file.

    Raises:
        MissingTableError: The day has not been scored.
        OSError: The file cannot be written.
    """
    whole = workspace.layout.predictions_file(day)
    if not whole.exists():
        raise MissingTableError(f"{whole} is not there: `churn score --date {day}` writes it")
    path = workspace.layout.top_file(day, k)
    with whole.open("rb") as lines:
        atomic.write_bytes(path, b"".join(itertools.islice(lines, k + 1)))
    return path

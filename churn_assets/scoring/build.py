"""The daily list, from a snapshot and the production model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.scoring.predictions import predict, write_predictions
from churn_assets.training.promotion import open_registry
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
        return self.table.column("churn_risk").to_numpy()


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
    """Score everybody at risk on a day with the production model, and write the lists.

    Raises:
        MissingTableError: `user_features` lacks the day.
        ArtifactError: There is no sound production model.
    """
    from churn_assets.monitoring.build import read_reference

    model = production(workspace)
    snapshot = workspace.layout.user_features.read(day)
    reference = read_reference(workspace, model)
    table = predict(snapshot, model.scorer, model.manifest.bands, model.version, typical=reference.typical)
    files = write_predictions(workspace.layout, day, table, workspace.settings.scoring.top_k)
    return Scored(table, model, files)

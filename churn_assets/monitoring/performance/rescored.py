"""What the production model says of days that another model has predicted: it is judged by itself, not by that one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.layout import DayTable, MissingTableError
from churn_assets.monitoring.performance.outcomes import SCORED, join, label_day, outcomes_table
from churn_serving.errors import EncodingError

if TYPE_CHECKING:
    from datetime import date

    from churn_assets.layout import Stamp
    from churn_assets.workspace import Workspace
    from churn_serving.bundle import LoadedModel

MOST_USERS = 25_000
"""Users of a day that are scored again; of more, every second, third and so on. More would make nothing surer."""


class Rescored:
    """Outcomes as they would be, had the production model predicted; kept until another model serves.

    Args:
        workspace: Where.
        model: The production model.
    """

    def __init__(self, workspace: Workspace, model: LoadedModel) -> None:
        self._workspace = workspace
        self._model = model
        self._table = DayTable(outcomes_table(workspace.layout).folder / "rescored", "performance_report")
        self._stale = set(self._table.stale_days(self._stamp))

    def outcomes(self, day: date, made: pa.Table) -> tuple[pa.Table, bool]:
        """Return a day's daily list with what happened, scored by the production model.

        Args:
            day: As-of date.
            made: The outcomes of the predictions that were made.

        Returns:
            The rows, and whether they were scored again. They are as they were made if the model made them, or if it
            cannot score that day's features.
        """
        batch = made.filter(pc.equal(made["source"], "batch"))
        if pc.unique(batch["model_version"]).to_pylist() in ([], [self._model.version]):
            return batch, False
        kept = self._kept(day)
        if kept is not None:
            return kept, True
        try:
            self._table.write(day, self._scored(day))
        except (MissingTableError, EncodingError):
            return batch, False
        self._table.record([day], self._stamp)
        self._stale.discard(day)
        return self._table.read(day), True

    def _kept(self, day: date) -> pa.Table | None:
        if day in self._stale or not self._table.path(day).exists():
            return None
        table = self._table.read(day)
        is_ours = pc.unique(table["model_version"]).to_pylist() in ([], [self._model.version])
        return table if is_ours else None

    def _scored(self, day: date) -> pa.Table:
        layout, model = self._workspace.layout, self._model
        labels = layout.labels.read(label_day(self._workspace, day), ["user_id", "churned"])
        snapshot = layout.user_features.read(day)
        rows = _thinned(snapshot.filter(snapshot["at_risk"]))
        scores = model.scorer.score(model.scorer.encode_columns(rows))
        columns = [rows["user_id"], pa.repeat(model.version, rows.num_rows), pa.array(scores)]
        scored = pa.table(columns, schema=SCORED)
        return join(scored, SCORED.empty_table(), labels)

    def _stamp(self, day: date) -> Stamp | None:
        layout = self._workspace.layout
        features, labels = layout.user_features.stamp(day), layout.labels.stamp(label_day(self._workspace, day))
        if features is None or labels is None:
            return None
        digest = hashlib.blake2b(self._model.version.encode(), digest_size=6).digest()
        return [*features, *labels, int.from_bytes(digest)]


def _thinned(rows: pa.Table) -> pa.Table:
    step = -(-rows.num_rows // MOST_USERS)
    return rows.take(np.arange(0, rows.num_rows, step)) if step > 1 else rows

"""The day's drift report and score proxy, from a snapshot and what travels with the production model."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from churn_assets.monitoring.drift import DriftReport, drift_report
from churn_assets.monitoring.reference import KEYS, Reference, make_reference
from churn_assets.monitoring.score_proxy import score_proxy
from churn_assets.monitoring.served import served_predictions, served_summary
from churn_serving.atomic import write_json, write_text
from churn_serving.errors import MissingFileError
from churn_serving.published import Published

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from churn_assets.workspace import Workspace
    from churn_serving.bundle import LoadedModel
    from churn_serving.schema import FeatureSpec

REFERENCE_FILE = "reference.json"
SAMPLE_FILE = "reference_sample.parquet"
SAMPLE_ROWS = 5000


@dataclass(frozen=True)
class Compared:
    """A day's drift report and where it was written."""

    report: DriftReport
    page: Path
    evidently_page: Path | None


def reference_files(
    rows: pa.Table, scores: NDArray[np.float64], features: Sequence[FeatureSpec], seed: int
) -> dict[str, bytes]:
    """What travels with a model so that drift can be measured: distributions, and a sample without user ids.

    Args:
        rows: The newest population that the model learned from.
        scores: Its scores of these rows.
        features: What it reads.
        seed: Of the sample.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(rows.num_rows)[:SAMPLE_ROWS])
    sample = rows.drop_columns([name for name in KEYS if name in rows.column_names]).take(pa.array(chosen))
    buffer = io.BytesIO()
    pq.write_table(sample, buffer, compression="zstd")
    return {REFERENCE_FILE: make_reference(rows, scores, features).to_bytes(), SAMPLE_FILE: buffer.getvalue()}


def read_reference(workspace: Workspace, model: LoadedModel) -> Reference:
    """The reference that travels with a model.

    Raises:
        MissingFileError: The model has none.
    """
    return Reference.from_bytes(_file_of(workspace, model, REFERENCE_FILE).read_bytes())


def compare_day(workspace: Workspace, model: LoadedModel, day: date) -> Compared:
    """Compare a day's population at risk with the model's reference; write the report and its pages.

    Raises:
        MissingTableError: `user_features` lacks the day.
        MissingFileError: The model has no reference.
    """
    from churn_assets.monitoring.drift_page import drift_page

    layout = workspace.layout
    snapshot = layout.user_features.read(day)
    at_risk = snapshot.filter(snapshot.column("at_risk"))
    scores = model.scorer.score(model.scorer.encode_columns(_complete(at_risk, model.scorer.features)))
    report = drift_report(
        read_reference(workspace, model),
        at_risk,
        scores,
        model_version=model.version,
        as_of_date=day,
        settings=workspace.settings.drift,
    )
    content = report.as_json()
    write_json(layout.drift_file(day), content)
    if _is_newest(layout.latest_drift, day):
        write_json(layout.latest_drift, content)
    behind = _write_evidently(workspace, model, at_risk, report)
    write_text(layout.drift_page(day), drift_page(report, evidently=behind.name if behind else None))
    return Compared(report, layout.drift_page(day), behind)


def proxy_of(workspace: Workspace, day: date, scores: NDArray[np.float64], model: LoadedModel) -> dict[str, Any]:
    """Summarise a day's scores, and what the service has scored that day; the newest is `score_proxy_latest.json`."""
    content = score_proxy(scores, model.manifest.threshold, day, model.version)
    content["served"] = served_summary(served_predictions(Published(workspace.settings.paths).prediction_log, day))
    write_json(workspace.layout.score_proxy_file(day), content)
    if _is_newest(workspace.layout.latest_score_proxy, day):
        write_json(workspace.layout.latest_score_proxy, content)
    return content


def _write_evidently(workspace: Workspace, model: LoadedModel, at_risk: pa.Table, report: DriftReport) -> Path | None:
    """Evidently's page of samples, of the features that moved most; None if there is nobody to draw."""
    from churn_assets.monitoring.evidently_page import evidently_page

    if not at_risk.num_rows:
        return None
    most = [shift.name for shift in report.features[: workspace.settings.drift.page_features]]
    sample = pq.read_table(_file_of(workspace, model, SAMPLE_FILE))
    page = evidently_page(
        _plain(sample).to_pandas(),
        _plain(at_risk).to_pandas(),
        tuple(spec for spec in model.scorer.features if spec.name in most),
        seed=workspace.settings.training.seed,
        rows=workspace.settings.drift.page_rows,
    )
    path = workspace.layout.evidently_page(report.as_of_date)
    write_text(path, page)
    return path


def _complete(table: pa.Table, features: Sequence[FeatureSpec]) -> pa.Table:
    """The table with every feature of the model: one that the source no longer gives is missing everywhere."""
    for spec in features:
        if spec.name not in table.column_names:
            empty = pa.nulls(table.num_rows, pa.string() if spec.kind == "category" else pa.float64())
            table = table.append_column(spec.name, empty)
    return table


def _file_of(workspace: Workspace, model: LoadedModel, name: str) -> Path:
    path = workspace.layout.version_folder(model.version) / name
    if not path.exists():
        raise MissingFileError(f"{model.version} has no {name}: it was trained elsewhere; `churn retrain` makes one")
    return path


def _is_newest(path: Path, day: date) -> bool:
    try:
        return bool(json.loads(path.read_text())["as_of_date"] <= day.isoformat())
    except (FileNotFoundError, KeyError, json.JSONDecodeError):
        return True


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries spelled out."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(position, field.name, pc.cast(table.column(position), pa.string()))
    return table

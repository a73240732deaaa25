"""The day's drift report and score proxy, from a snapshot and what travels with the production model."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from churn_assets.features.build import snapshot
from churn_assets.layout import MissingTableError
from churn_assets.monitoring.alert import is_newest, standing_before
from churn_assets.monitoring.drift import Context, DriftReport, drift_report
from churn_assets.monitoring.feed import feed_of
from churn_assets.monitoring.reference import KEYS, Reference, Scored, make_reference
from churn_assets.monitoring.score_proxy import score_proxy
from churn_assets.monitoring.served import served_predictions, served_summary
from churn_assets.monitoring.signal import Signal, signal_of
from churn_serving.atomic import write_json, write_text
from churn_serving.errors import MissingFileError
from churn_serving.published import Published

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from churn_assets.workspace import Workspace
    from churn_serving.bundle import LoadedModel
    from churn_serving.schema import FeatureSpec
    from churn_serving.scorer import Scorer

REFERENCE_FILE = "reference.json"
SAMPLE_FILE = "reference_sample.parquet"
SAMPLE_ROWS = 5000

IMPORTANCE_ROWS = 500
"""Rows whose contributions say what a model makes of each feature."""


@dataclass(frozen=True)
class Compared:
    """A day's drift report and where it was written."""

    report: DriftReport
    page: Path
    evidently_page: Path | None


def reference_files(rows: pa.Table, scorer: Scorer, history: Mapping[date, Scored], seed: int) -> dict[str, bytes]:
    """What travels with a model so that drift can be measured: distributions, and a sample without user ids.

    Args:
        rows: The newest population that the model learned from.
        scorer: The model.
        history: Its scores on each as-of date of the training set.
        seed: Of the sample.
    """
    encoded = scorer.encode_columns(rows)
    order = np.random.default_rng(seed).permutation(rows.num_rows)
    reference = make_reference(
        rows,
        scorer.score(encoded),
        scorer.features,
        history=history,
        importance=_importance(scorer, encoded[np.sort(order[:IMPORTANCE_ROWS])]),
    )
    sample = rows.drop_columns([name for name in KEYS if name in rows.column_names])
    buffer = io.BytesIO()
    pq.write_table(sample.take(pa.array(np.sort(order[:SAMPLE_ROWS]))), buffer, compression="zstd")
    return {REFERENCE_FILE: reference.to_bytes(), SAMPLE_FILE: buffer.getvalue()}


def _importance(scorer: Scorer, encoded: NDArray[np.float64]) -> dict[str, float]:
    """Mean absolute contribution of each feature about its mean, as a share of all."""
    parts = scorer.contributions(encoded)
    sizes = np.abs(parts - parts.mean(axis=0)).mean(axis=0)
    total = float(sizes.sum()) or 1.0
    return {spec.name: float(size) / total for spec, size in zip(scorer.features, sizes, strict=True)}


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

    layout, settings = workspace.layout, workspace.settings.drift
    reference = read_reference(workspace, model)
    at_risk = _at_risk(layout.user_features.read(day))
    scores = _scores(model, at_risk)
    users = pc.count_distinct(at_risk["user_id"]).as_py()
    is_raised = signal_of(reference, scores, users, day, settings).is_raised
    context = Context(
        before=_before(workspace, model, reference, day) if is_raised else [],
        feed=feed_of(workspace, day, reaching_back=is_raised),
        standing=standing_before(layout.drift_files(), day),
    )
    report = drift_report(
        reference, at_risk, scores, model_version=model.version, as_of_date=day, settings=settings, context=context
    )
    content = report.as_json()
    write_json(layout.drift_file(day), content)
    if is_newest(layout.latest_drift, day):
        write_json(layout.latest_drift, content)
    behind = _write_evidently(workspace, model, at_risk, report)
    write_text(layout.drift_page(day), drift_page(report, evidently=behind.name if behind else None))
    return Compared(report, layout.drift_page(day), behind)


def proxy_of(workspace: Workspace, day: date, scores: NDArray[np.float64], model: LoadedModel) -> dict[str, Any]:
    """Summarise a day's scores, and what the service has scored that day; the newest is `score_proxy_latest.json`."""
    content = score_proxy(scores, model.manifest.threshold, day, model.version)
    content["served"] = served_summary(served_predictions(Published(workspace.settings.paths).prediction_log, day))
    write_json(workspace.layout.score_proxy_file(day), content)
    if is_newest(workspace.layout.latest_score_proxy, day):
        write_json(workspace.layout.latest_score_proxy, content)
    return content


def _at_risk(snapshot: pa.Table) -> pa.Table:
    return snapshot.filter(snapshot.column("at_risk"))


def _scores(model: LoadedModel, rows: pa.Table) -> NDArray[np.float64]:
    return model.scorer.score(model.scorer.encode_columns(_complete(rows, model.scorer.features)))


def _before(workspace: Workspace, model: LoadedModel, reference: Reference, day: date) -> list[Signal]:
    """The signals of the days before, newest first, as many as an alert needs; fewer where the data end."""
    settings, found = workspace.settings.drift, []
    for back in range(1, settings.consecutive_days):
        past = day - timedelta(days=back)
        try:
            rows = _at_risk(_snapshot(workspace, past))
        except MissingTableError:
            break
        users = pc.count_distinct(rows["user_id"]).as_py()
        found.append(signal_of(reference, _scores(model, rows), users, past, settings))
        if not found[-1].is_raised:
            break
    return found


def _snapshot(workspace: Workspace, day: date) -> pa.Table:
    """The features of a day, also if nobody has asked for them on that day."""
    try:
        return workspace.layout.user_features.read(day)
    except MissingTableError:
        return snapshot(workspace, day)


def _write_evidently(workspace: Workspace, model: LoadedModel, at_risk: pa.Table, report: DriftReport) -> Path | None:
    """Evidently's page of samples, of the features that moved most; None if there is nobody to draw."""
    from churn_assets.monitoring.evidently_page import evidently_page

    if not at_risk.num_rows or not workspace.settings.drift.evidently:
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


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries spelled out."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(position, field.name, pc.cast(table.column(position), pa.string()))
    return table

"""The training set, and a challenger trained on it and put into the registry."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.features.build import training_rows
from churn_assets.training.splits import DateSplit, NotEnoughHistory, as_of_dates_for_training, split_dates
from churn_serving.errors import VersionExistsError
from churn_serving.manifest import Bands, Environment, Manifest, Period, Population, golden_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    import pandas as pd

    from churn_assets.training import evaluation
    from churn_assets.workspace import Workspace
    from churn_serving.manifest import ModelType, Role
    from churn_serving.registry import Registry
    from churn_serving.schema import FeatureSpec
    from churn_serving.scorer import Scorer

GOLDEN_ROWS = 40
REFERENCE_DATES = 4
"""The drift reference is the population of so many of the newest as-of dates that were learned from."""

RECENCY = "days_since_last_activity"
PACKAGES = ("numpy", "pandas", "scikit-learn", "joblib")
PREFIX: dict[Role, str] = {"baseline": "baseline_logreg", "candidate": "candidate_hgb"}
MODEL_TYPE: dict[Role, ModelType] = {"baseline": "logistic_regression", "candidate": "hist_gradient_boosting"}


@dataclass(frozen=True)
class TrainingSet:
    """What was put together.

    Attributes:
        rows: Users at risk on the sampled dates.
        dates: The as-of dates.
        churn_rate: Share of positive labels.
        split: How the dates are cut.
    """

    rows: int
    dates: tuple[date, ...]
    churn_rate: float
    split: DateSplit


@dataclass(frozen=True)
class Parts:
    """The rows that teach, calibrate and judge; and the newest population, which drift is measured against."""

    split: DateSplit
    training: pd.DataFrame
    calibration: pd.DataFrame
    test: pd.DataFrame
    recent: pa.Table
    fingerprint: str


@dataclass(frozen=True)
class Trained:
    """A challenger in the registry, and how it did on the holdout."""

    version: str
    features: tuple[FeatureSpec, ...]
    bands: evaluation.Bands
    evaluation: evaluation.Evaluation
    parts: Parts
    scores: Any


def build_training_set(workspace: Workspace) -> TrainingSet:
    """Compute features and labels at the sampled as-of dates and write them.

    Raises:
        NotEnoughHistory: Not one date has full features and a label, or training and test cannot be apart.
        MissingTableError: `user_daily` lacks a day.
    """
    settings = workspace.settings.training
    last = _last_built_day(workspace)
    first = max(workspace.history_start, last - timedelta(days=settings.history_days))
    features = workspace.features
    windows = [*features.windows, features.longest]
    dates = as_of_dates_for_training(
        first, last, windows=windows, label_window=features.label_window, every_days=settings.every_days
    )
    split = _split(workspace, dates)
    table = _sampled(training_rows(workspace, dates), settings.max_rows)
    workspace.layout.training_set.write(table)
    labels = table.column("churned").to_numpy()
    return TrainingSet(len(labels), dates, float(labels.mean()) if len(labels) else 0.0, split)


def read_parts(workspace: Workspace) -> Parts:
    """Read the training set and cut it.

    Raises:
        MissingTableError: There is no training set.
        NotEnoughHistory: There are too few dates.
    """
    table = workspace.layout.training_set.read()
    frame = as_frame(table)
    dates = sorted(set(table.column("as_of_date").to_pylist()))
    split = _split(workspace, dates)
    masks = split.masks(frame["as_of_date"], frame["user_id"])
    return Parts(
        split=split,
        training=frame[masks.training],
        calibration=frame[masks.calibration],
        test=frame[masks.test],
        recent=table.filter(pc.is_in(table.column("as_of_date"), pa.array(dates[-REFERENCE_DATES:], pa.date32()))),
        fingerprint=_fingerprint(table),
    )


def train(workspace: Workspace, registry: Registry, role: Role, parts: Parts) -> Trained:
    """Train one of the two models, judge it on the holdout, and put it into the registry.

    Raises:
        OneClassOnly: A part of the rows has one class only.
        ArtifactError: The registry refuses it.
    """
    from churn_assets.monitoring.build import REFERENCE_FILE, reference_files
    from churn_assets.training.compiled import compile_model
    from churn_assets.training.evaluation import choose_threshold, evaluate
    from churn_assets.training.models import fit_baseline, fit_candidate, levels_seen, predict

    settings = workspace.settings.training
    tuning = settings.model
    features = levels_seen(
        parts.training, workspace.features.specs, max_levels=tuning.max_levels, min_rows=tuning.level_min_rows
    )
    fit = fit_baseline if role == "baseline" else fit_candidate
    model = fit(parts.training, parts.calibration, features, seed=settings.seed, settings=tuning)
    scorer = compile_model(model, features, background=parts.training)
    bands = choose_threshold(parts.calibration["churned"], scorer.score(scorer.encode_columns(parts.calibration)))
    scores = scorer.score(scorer.encode_columns(parts.test))
    judged = evaluate(
        parts.test["churned"],
        scores,
        parts.test["user_id"],
        recency=parts.test[RECENCY],
        threshold=bands.high,
        seed=settings.seed,
        replicates=settings.bootstrap_replicates,
    )
    golden = _golden(parts.test, settings.seed)
    golden_scores = predict(model, golden, features)
    draft = Manifest(
        version=registry.new_version(PREFIX[role]),
        model_type=MODEL_TYPE[role],
        role=role,
        created_at=datetime.now(UTC),
        features=scorer.features,
        golden=golden_rows(_records(golden, features), golden_scores),
        threshold=bands.high,
        bands=Bands(high=bands.high, medium=bands.medium),
        population=Population(
            active_within_days=workspace.features.active_within, window_days=workspace.features.label_window
        ),
        training=_periods(parts),
        data_fingerprint=parts.fingerprint,
        code_version=importlib.metadata.version("churn-mlops"),
        environment=_environment(),
        seed=settings.seed,
        metrics=judged.metrics(),
        reference=REFERENCE_FILE,
    )
    recent_scores = scorer.score(scorer.encode_columns(as_frame(parts.recent)))
    extra = reference_files(parts.recent, recent_scores, scorer.features, settings.seed)
    artifact = _joblib(model)

    def write(named: Manifest) -> None:
        registry.register(named, artifact, scorer, metrics=_metrics(named, parts, judged), extra_files=extra)

    return Trained(_register(registry, draft, write), features, bands, judged, parts, scores)


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A feature table as the models take it: text as plain objects, missing numbers as NaN."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.string()))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def latency_us(scorer: Scorer, rows: Sequence[dict[str, Any]], repeats: int = 50) -> float:
    """Microseconds to encode and score one row: the median over the rows of the best of `repeats`."""
    times = []
    for row in rows:
        best = float("inf")
        for _ in range(repeats):
            started = time.perf_counter()
            scorer.score_row(scorer.encode_row(row))
            best = min(best, time.perf_counter() - started)
        times.append(best)
    return float(np.median(times)) * 1e6


def _split(workspace: Workspace, dates: Sequence[date]) -> DateSplit:
    settings = workspace.settings.training
    return split_dates(
        dates,
        window_days=workspace.features.label_window,
        test_share=settings.test_share,
        calibration_share=settings.calibration_share,
    )


def _last_built_day(workspace: Workspace) -> date:
    days = [day for day in workspace.layout.user_daily.days() if day <= workspace.settings.yesterday]
    if not days:
        raise NotEnoughHistory(
            "`user_daily` has no day yet: materialize the history first (`churn seed`, or history_job over its range)",
            days_there=0,
            days_needed=workspace.features.longest + workspace.features.label_window,
        )
    return days[-1]


def _sampled(table: pa.Table, most: int) -> pa.Table:
    """All rows of as many users as fit; which users is a matter of their ids alone."""
    if table.num_rows <= most:
        return table
    ids = table.column("user_id").combine_chunks().dictionary_encode()
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) for name in ids.dictionary.to_pylist()],
        dtype=np.uint64,
    )
    limit = np.uint64(most / table.num_rows * float(np.iinfo(np.uint64).max))
    return table.filter((hashes <= limit)[ids.indices.to_numpy()])


def _fingerprint(table: pa.Table) -> str:
    """SHA-256 of the rows: equal for equal data, wherever it was made."""
    digest = hashlib.sha256()
    for position, field in enumerate(table.schema):
        column = table.column(position)
        digest.update(f"{field.name}:{field.type}".encode())
        plain = column.cast(pa.string()) if pa.types.is_dictionary(field.type) else column
        sink = pa.BufferOutputStream()
        batch = pa.table({field.name: plain.combine_chunks()})
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_table(batch)
        digest.update(sink.getvalue())
    return digest.hexdigest()


def _golden(test: pd.DataFrame, seed: int) -> pd.DataFrame:
    rows = np.random.default_rng(seed).choice(len(test), size=GOLDEN_ROWS, replace=len(test) < GOLDEN_ROWS)
    return test.iloc[np.sort(rows)]


def _records(rows: pd.DataFrame, features: Sequence[FeatureSpec]) -> list[dict[str, Any]]:
    columns = {spec.name: rows[spec.name].tolist() for spec in features}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _periods(parts: Parts) -> dict[str, Period]:
    split = parts.split
    named = {
        "training": (split.training, parts.training),
        "calibration": (split.calibration, parts.calibration),
        "test": (split.test, parts.test),
    }
    return {name: Period(first=dates[0], last=dates[-1], rows=len(rows)) for name, (dates, rows) in named.items()}


def _metrics(draft: Manifest, parts: Parts, judged: evaluation.Evaluation) -> dict[str, Any]:
    return {
        "version": draft.version,
        "model_type": draft.model_type,
        "artifact": f"{draft.version}.joblib",
        "created_at": draft.created_at.isoformat(),
        "train_rows": len(parts.training),
        "calibration_rows": len(parts.calibration),
        "test_rows": len(parts.test),
        "churn_rate_train": float(parts.training["churned"].mean()),
        "churn_rate_test": float(parts.test["churned"].mean()),
        "split": parts.split.note,
        "threshold": draft.threshold,
        "metrics": judged.metrics(),
        "evaluation": judged.as_json(),
    }


def _register(registry: Registry, draft: Manifest, write: Callable[[Manifest], None]) -> str:
    """Put a model into the registry; of two that were trained in the same second, the later gets the next version."""
    while True:
        try:
            write(draft)
        except VersionExistsError:
            draft = msgspec.structs.replace(draft, version=registry.new_version(PREFIX[draft.role]))
        else:
            return draft.version


def _environment() -> Environment:
    return Environment(
        python=platform.python_version(), packages={name: importlib.metadata.version(name) for name in PACKAGES}
    )


def _joblib(model: Any) -> bytes:
    import joblib

    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()

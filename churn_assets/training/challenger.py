"""A challenger: trained, compiled, judged on the holdout, and put into the registry."""

from __future__ import annotations

import importlib.metadata
import io
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from churn_assets.training.build import RECENCY, Parts
from churn_serving.errors import VersionExistsError
from churn_serving.manifest import Bands, Environment, Manifest, Period, Population, golden_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    import pandas as pd

    from churn_assets.monitoring.reference import Scored
    from churn_assets.training import evaluation
    from churn_assets.workspace import Workspace
    from churn_serving.manifest import ModelType, Role
    from churn_serving.registry import Registry
    from churn_serving.schema import FeatureSpec
    from churn_serving.scorer import Scorer

GOLDEN_ROWS = 40
PACKAGES = ("numpy", "pandas", "scikit-learn", "joblib")
PREFIX: dict[Role, str] = {"baseline": "baseline_logreg", "candidate": "candidate_hgb"}
MODEL_TYPE: dict[Role, ModelType] = {"baseline": "logistic_regression", "candidate": "hist_gradient_boosting"}


@dataclass(frozen=True)
class Fitted:
    """A calibrated model, its compiled form, and how it did on the holdout."""

    model: Any
    scorer: Scorer
    features: tuple[FeatureSpec, ...]
    bands: evaluation.Bands
    scores: Any
    evaluation: evaluation.Evaluation


@dataclass(frozen=True)
class Trained:
    """A challenger in the registry."""

    version: str
    fitted: Fitted
    parts: Parts


def train(workspace: Workspace, registry: Registry, role: Role, parts: Parts) -> Trained:
    """Train one of the two models, judge it on the holdout, and put it into the registry.

    Raises:
        OneClassOnly: A part of the rows has one class only.
        ArtifactError: The registry refuses it.
    """
    from churn_assets.monitoring.build import reference_files

    fitted = _fit(workspace, role, parts)
    draft = _draft(workspace, registry.new_version(PREFIX[role]), role, parts, fitted)
    extra = reference_files(parts.holdout, fitted.scorer, _history(parts, fitted.scorer), draft.seed)
    artifact = _joblib(fitted.model)

    def write(named: Manifest) -> None:
        metrics = _metrics(named, parts, fitted.evaluation)
        registry.register(named, artifact, fitted.scorer, metrics=metrics, extra_files=extra)

    return Trained(_register(registry, draft, write), fitted, parts)


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


def _fit(workspace: Workspace, role: Role, parts: Parts) -> Fitted:
    from churn_assets.training.compiled import compile_model
    from churn_assets.training.evaluation import choose_threshold, evaluate
    from churn_assets.training.models import fit_baseline, fit_candidate, levels_seen

    settings = workspace.settings.training
    tuning = settings.model
    known = workspace.features.specs
    features = levels_seen(parts.training, known, max_levels=tuning.max_levels, min_rows=tuning.level_min_rows)
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
    return Fitted(model, scorer, features, bands, scores, judged)


def _history(parts: Parts, scorer: Scorer) -> dict[date, Scored]:
    """The scores of each as-of date of the training set; only the holdout's are those of a model that did not know."""
    from churn_assets.monitoring.areas import roc_auc
    from churn_assets.monitoring.reference import Scored

    found: dict[date, Scored] = {}
    for rows, held_out in ((parts.calibration, False), (parts.training, False), (parts.test, True)):
        scores = scorer.score(scorer.encode_columns(rows))
        dates, churned = rows["as_of_date"].to_numpy(), rows["churned"].to_numpy()
        for day in sorted(set(dates)):
            on_day = dates == day
            reached, error = roc_auc(churned[on_day], scores[on_day])
            found[day] = Scored(scores=scores[on_day], held_out=held_out, roc_auc=reached, error=error)
    return found


def _draft(workspace: Workspace, version: str, role: Role, parts: Parts, fitted: Fitted) -> Manifest:
    from churn_assets.monitoring.build import REFERENCE_FILE
    from churn_assets.training.models import predict

    seed = workspace.settings.training.seed
    golden = _golden(parts.test, seed)
    expected = predict(fitted.model, golden, fitted.features)
    return Manifest(
        version=version,
        model_type=MODEL_TYPE[role],
        role=role,
        created_at=datetime.now(UTC),
        features=fitted.scorer.features,
        golden=golden_rows(_records(golden, fitted.features), expected),
        threshold=fitted.bands.high,
        bands=Bands(high=fitted.bands.high, medium=fitted.bands.medium),
        population=Population(
            active_within_days=workspace.features.active_within, window_days=workspace.features.label_window
        ),
        training=_periods(parts),
        data_fingerprint=parts.fingerprint,
        code_version=importlib.metadata.version("churn-mlops"),
        environment=_environment(),
        seed=seed,
        metrics=fitted.evaluation.metrics(),
        reference=REFERENCE_FILE,
    )


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

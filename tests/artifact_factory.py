"""Small models, rows and registries to test with, made without scikit-learn."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_serving.linear import LinearScorer
from churn_serving.manifest import Bands, Environment, Manifest, Period, Population, golden_rows
from churn_serving.registry import Registry
from churn_serving.schema import FeatureSpec
from churn_serving.trees import TreeScorer

if TYPE_CHECKING:
    from pathlib import Path

    from churn_serving.scorer import Scorer

FEATURES = (
    FeatureSpec(name="active_days_7d", kind="number", meaning="Active days.", lower=0, upper=7),
    FeatureSpec(name="minutes_30d", kind="number", meaning="Minutes watched.", lower=0),
    FeatureSpec(name="is_paid", kind="flag", meaning="Pays.", lower=0, upper=1),
    FeatureSpec(name="plan", kind="category", meaning="Plan.", categories=("free", "pro", "team")),
    FeatureSpec(name="trend", kind="number", meaning="Recent against before."),
)
START = datetime(2026, 1, 5, 3, 0, 12, tzinfo=UTC)


def table(rows: int, seed: int = 0) -> dict[str, Any]:
    """Return columns with missing values, ties with thresholds, and a plan that training never saw."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "active_days_7d": random.integers(0, 8, rows).astype(float),
        "minutes_30d": random.gamma(1.0, 200.0, rows).round(1),
        "is_paid": random.integers(0, 2, rows).astype(float),
        "plan": random.choice(np.array(["free", "pro", "team", "enterprise", None], dtype=object), rows),
        "trend": random.normal(size=rows).round(2),
    }
    for name in ("active_days_7d", "minutes_30d", "is_paid", "trend"):
        columns[name][random.random(rows) < 0.2] = np.nan
    return columns


def rows_of(columns: dict[str, Any]) -> list[dict[str, Any]]:
    count = len(columns["plan"])
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def linear_scorer(seed: int = 0, features: tuple[FeatureSpec, ...] = FEATURES) -> LinearScorer:
    random = np.random.default_rng(seed)
    is_category = np.array([feature.kind == "category" for feature in features])
    starts, levels = [], 0
    for feature in features:
        starts.append(levels if feature.kind == "category" else -1)
        levels += len(feature.categories) + 1 if feature.kind == "category" else 0
    return LinearScorer(
        features,
        weight=np.where(is_category, 0.0, random.normal(size=len(features))),
        offset=np.where(is_category, 0.0, random.normal(size=len(features))),
        missing=random.normal(size=len(features)),
        center=random.normal(size=len(features)),
        logarithmic=np.array([feature.name.startswith("minutes") for feature in features]),
        level_start=np.array(starts),
        levels=random.normal(size=levels),
        intercept=random.normal(size=1),
    )


def forest(
    seed: int = 0, trees: int = 20, leaves: int = 8, features: tuple[FeatureSpec, ...] = FEATURES
) -> dict[str, np.ndarray]:
    """Return the arrays of random trees; a child's rows are some of its parent's."""
    random = np.random.default_rng(seed)
    nodes: list[dict[str, Any]] = []
    first = [0]
    for _ in range(trees):
        root = len(nodes)
        nodes.append(_node(random, cover=1000.0))
        open_leaves = [root]
        for _ in range(int(random.integers(0, leaves))):
            node = nodes[open_leaves.pop(int(random.integers(len(open_leaves))))]
            share = float(random.uniform(0.05, 0.95))
            node |= _split(random, features) | {"left": len(nodes), "right": len(nodes) + 1, "value": 0.0}
            open_leaves += [len(nodes), len(nodes) + 1]
            nodes += [_node(random, cover=node["cover"] * part) for part in (share, 1 - share)]
        first.append(len(nodes))
    columns = {name: np.array([node[name] for node in nodes]) for name in nodes[0]}
    return columns | {"first_node": np.array(first), "intercept": np.array([-0.3])}


def _node(random: np.random.Generator, cover: float) -> dict[str, Any]:
    leaf = {"feature": -1, "threshold": 0.0, "level": -1, "missing_left": False, "left": 0, "right": 0}
    return leaf | {"value": float(random.normal()), "cover": cover}


def _split(random: np.random.Generator, features: tuple[FeatureSpec, ...]) -> dict[str, Any]:
    number = int(random.integers(len(features)))
    split: dict[str, Any] = {"feature": number, "missing_left": bool(random.integers(2))}
    if features[number].kind == "category":
        return split | {"level": int(random.integers(len(features[number].categories)))}
    return split | {"threshold": float(random.choice([0.0, 0.5, 1.0, 2.5, 3.0, 100.0, 250.5, np.inf]))}


def tree_scorer(seed: int = 0, **sizes: Any) -> TreeScorer:
    return TreeScorer(sizes.get("features", FEATURES), **forest(seed, **sizes))


def draft(version: str, scorer: Scorer, created_at: datetime = START) -> Manifest:
    rows = rows_of(table(24, seed=7))
    scores = [scorer.score_row(scorer.encode_row(row)) for row in rows]
    return Manifest(
        version=version,
        model_type=scorer.kind,  # type: ignore[arg-type]
        role="baseline" if scorer.kind == "logistic_regression" else "candidate",
        created_at=created_at,
        features=scorer.features,
        golden=golden_rows(rows, scores),
        threshold=0.5,
        bands=Bands(high=0.6, medium=0.3),
        population=Population(active_within_days=30, window_days=30),
        training={"train": Period(first=date(2025, 9, 1), last=date(2025, 11, 1), rows=1000)},
        data_fingerprint="ab" * 32,
        code_version="0.1.4",
        environment=Environment(python="3.11.7", packages={"numpy": "2.4.6"}),
        metrics={"pr_auc": np.float64(0.7)},
        seed=42,
        reference="reference.json",
    )


class Clock:
    """A clock that moves a second each time it is read."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def open_registry(artifacts: Path, signing_key: str | None = None, lock_timeout: float = 5.0) -> Registry:
    return Registry(artifacts, signing_key, clock=Clock(), lock_timeout=lock_timeout)


def register(registry: Registry, seed: int, version: str | None = None, content: bytes | None = None) -> str:
    """Register a tree model of its own and return its version; `content` are its joblib file's bytes."""
    scorer = tree_scorer(seed, trees=4)
    version = version or registry.new_version("candidate_hgb")
    artifact = content or f"joblib bytes of {version} {seed}".encode()
    extra = {"reference.json": b'{"rows": 1000}'}
    metrics = {"model_type": scorer.kind, "metrics": {"pr_auc": 0.7}}
    registry.register(draft(version, scorer), artifact, scorer, metrics=metrics, extra_files=extra)
    return version

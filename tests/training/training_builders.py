"""Small generated training frames and judged models for the tests of this folder."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from churn_assets.settings import GateSettings
from churn_assets.training.bootstrap import Estimate
from churn_assets.training.breakdown import ranked_importance, segments
from churn_assets.training.evaluation import Evaluation, choose_threshold, evaluate
from churn_assets.training.gates import judge
from churn_assets.training.model_card import ModelCard
from churn_assets.training.splits import split_dates
from churn_serving.schema import FeatureSpec

FEATURES = (
    FeatureSpec(name="active_days_7d", kind="number", meaning="Active days.", lower=0, phrase="active days in 7 days"),
    FeatureSpec(name="trend", kind="number", meaning="Recent against long window."),
    FeatureSpec(name="days_since_last_activity", kind="number", meaning="Recency.", lower=0),
    FeatureSpec(name="quiz_avg_score_7d", kind="number", meaning="Mean quiz score.", lower=0, upper=100),
    FeatureSpec(name="payments", kind="number", meaning="Never known.", lower=0),
    FeatureSpec(name="constant", kind="number", meaning="Always the same."),
    FeatureSpec(name="is_paid", kind="flag", meaning="Pays."),
    FeatureSpec(name="plan", kind="category", meaning="Plan."),
    FeatureSpec(name="country", kind="category", meaning="Country."),
)
FIRST = dt.date(2026, 1, 1)


def training_frame(n_users: int = 300, n_dates: int = 4, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_users * n_dates
    drive = np.repeat(rng.normal(size=n_users), n_dates) + 0.5 * rng.normal(size=n)
    active = rng.poisson(np.exp(0.8 + 0.5 * drive)).astype(np.float64)
    recency = rng.poisson(np.exp(1.2 - 0.3 * drive)).astype(np.float64)
    quiz = np.clip(70 + 8 * drive + rng.normal(0, 10, n), 0, 100)
    quiz[rng.random(n) < 0.4] = np.nan
    risk = 1 / (1 + np.exp(1.6 + 1.6 * drive))
    country = pd.Series(rng.choice(["NO", "IN", "BR", "XX"], n, p=[0.5, 0.3, 0.195, 0.005]))
    country[rng.random(n) < 0.1] = None
    dates = [FIRST + dt.timedelta(days=7 * i) for i in range(n_dates)]
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{i:05d}" for i in range(n_users)], n_dates),
            "as_of_date": pd.to_datetime(np.tile(np.array(dates, dtype="datetime64[D]"), n_users)),
            "churned": (rng.random(n) < risk).astype(np.int8),
            "active_days_7d": active,
            "trend": drive + rng.normal(0, 1, n),
            "days_since_last_activity": recency,
            "quiz_avg_score_7d": quiz,
            "payments": np.nan,
            "constant": 3.0,
            "is_paid": (rng.random(n) < 0.4).astype(np.float64),
            "plan": rng.choice(["free", "pro"], n),
            "country": country,
        }
    )


def evaluation(*, strength: float = 2.5, n_users: int = 400, seed: int = 1) -> Evaluation:
    labels, scores, users, recency = judged_rows(strength=strength, n_users=n_users, seed=seed)
    return evaluate(labels, scores, users, recency=recency, threshold=0.3, seed=5, replicates=60)


def judged_rows(
    *, strength: float = 2.5, n_users: int = 400, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = n_users * 3
    scores = 1 / (1 + np.exp(2 + strength * rng.normal(size=n)))
    labels = (rng.random(n) < scores).astype(np.int8)
    recency = np.round(rng.gamma(1, 5, n) + 10 * scores)
    return labels, scores, np.repeat([f"u{i}" for i in range(n_users)], 3), recency


def card(**changes: object) -> ModelCard:
    labels, scores, users, recency = judged_rows()
    frame = pd.DataFrame({"churned": labels, "plan": np.where(labels + recency > 6, "free", "pro"), "country": "NO"})
    tested = evaluate(labels, scores, users, recency=recency, threshold=0.3, seed=5, replicates=60)
    difference = Estimate(0.012, -0.004, 0.029)
    given = {
        "version": "candidate_hgb_20260105T030012Z",
        "role": "candidate",
        "model_type": "hist_gradient_boosting",
        "created_at": dt.datetime(2026, 1, 5, 3, 0, 12, tzinfo=dt.UTC),
        "decision": "promoted",
        "decision_why": "It passed all gates and has the higher PR-AUC.",
        "active_within_days": 30,
        "window_days": 30,
        "evaluation": tested,
        "verdict": judge(
            tested, champion=difference, golden_max_error=1e-12, latency_us=21.0, settings=GateSettings(min_pr_auc=0.5)
        ),
        "bands": choose_threshold(labels, scores),
        "champion": "baseline_logreg_20251229T030009Z",
        "champion_difference": difference,
        "segments": segments(frame, scores, ["plan", "country"]),
        "importance": ranked_importance(FEATURES, [0.21, 0.02, 0.13, 0.03, 0.0, 0.0, 0.04, 0.01, 0.01]),
        "importance_meaning": "PR-AUC lost when the feature is shuffled.",
        "split": split_dates([FIRST + dt.timedelta(days=7 * i) for i in range(40)], window_days=30),
        "training_rows": 31_200,
        "calibration_rows": 5_100,
        "feature_count": len(FEATURES),
        "absent_features": ("watch_minutes_7d",),
        "source": "generated data",
        "data_fingerprint": "sha256:9f3c2a",
        "code_version": "0.1.4",
        "environment": (("python", "3.11.7"), ("scikit-learn", "1.9.1")),
        "seed": 7,
        "previous_version": "baseline_logreg_20251229T030009Z",
        "precision_recall_svg": b"<svg/>",
        "calibration_svg": b"<svg/>",
        "scores_svg": b"<svg/>",
    }
    return ModelCard(**{**given, **changes})  # type: ignore[arg-type]

"""A small linear model, and a snapshot that it scores."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from churn_serving.linear import LinearScorer
from churn_serving.manifest import Bands
from churn_serving.schema import FeatureSpec

FEATURES = (
    FeatureSpec(
        name="active_days_7d",
        kind="number",
        meaning="Active days.",
        unit="days",
        lower=0.0,
        phrase="active days in the last 7 days",
    ),
    FeatureSpec(
        name="quiz_avg_score_30d",
        kind="number",
        meaning="Mean score.",
        unit="points",
        null_meaning="no scored attempt in the window (not a score of 0)",
        phrase="average quiz score in the last 30 days",
    ),
    FeatureSpec(name="is_paid", kind="flag", meaning="Pays.", null_meaning="not known", phrase="paying customer"),
    FeatureSpec(
        name="plan",
        kind="category",
        meaning="Plan.",
        null_meaning="not known",
        phrase="plan",
        categories=("free", "pro"),
    ),
)


@pytest.fixture
def scorer():
    return LinearScorer(
        FEATURES,
        weight=np.array([-0.5, -0.02, -0.4, 0.0]),
        offset=np.zeros(4),
        missing=np.array([0.0, -0.3, 0.0, 0.0]),
        center=np.array([-2.0, -1.4, -0.2, 0.1]),
        logarithmic=np.zeros(4, dtype=bool),
        level_start=np.array([-1, -1, -1, 0]),
        levels=np.array([0.0, 0.3, -0.6]),
        intercept=np.array([1.5]),
    )


@pytest.fixture
def bands():
    return Bands(high=0.4, medium=0.2)


@pytest.fixture
def snapshot():
    """2,000 users, one in four not at risk, columns as the feature layer writes them."""
    return make_snapshot(2000)


def make_snapshot(users: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    quiz = np.round(rng.uniform(0, 100, users), 1)
    plans = rng.choice(np.array(["free", "pro", "gold", None], dtype=object), users)
    return pa.table(
        {
            "user_id": [f"u{n:05d}" for n in rng.permutation(users)],
            "as_of_date": pa.array([dt.date(2026, 1, 5)] * users),
            "at_risk": rng.random(users) < 0.75,
            "active_days_7d": rng.integers(0, 8, users).astype(float),
            "quiz_avg_score_30d": pa.array(quiz, mask=rng.random(users) < 0.3),
            "days_since_signup": rng.integers(0, 366, users).astype(float),
            "days_since_last_activity": rng.integers(0, 30, users).astype(float),
            "plan": pa.array(plans, pa.string()).dictionary_encode(),
            "is_paid": pa.array((rng.random(users) < 0.4).astype(float), mask=rng.random(users) < 0.1),
            "country": pa.array(rng.choice(["NO", 'say "hi", IN'], users)).dictionary_encode(),
        }
    )

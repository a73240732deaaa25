"""Made-up populations, still and shifted, as the feature layer writes them."""

import datetime as dt

import numpy as np
import pyarrow as pa

from churn_serving.schema import FeatureSpec

FEATURES = (
    FeatureSpec(name="active_days_7d", kind="number", meaning="Active days.", lower=0.0, upper=7.0),
    FeatureSpec(name="watch_minutes_7d", kind="number", meaning="Minutes.", lower=0.0),
    FeatureSpec(name="quiz_avg_score_7d", kind="number", meaning="Mean score.", lower=0.0, upper=100.0),
    FeatureSpec(name="is_paid", kind="flag", meaning="Pays."),
    FeatureSpec(name="plan", kind="category", meaning="Plan."),
)
DAY = dt.date(2026, 1, 5)


def population(users: int, seed: int, *, shift: float = 0.0, dates: int = 1) -> pa.Table:
    """Users on as many days; `shift` takes activity away."""
    rng = np.random.default_rng(seed)
    n = users * dates
    minutes = np.where(rng.random(n) < 0.5 + shift / 3, 0.0, rng.gamma(2.0, 60.0, n))
    quiz = rng.normal(70.0 - 20.0 * shift, 10.0, n)
    plan = rng.choice(np.array(["free", "pro", None], dtype=object), n, p=[0.6, 0.3, 0.1])
    return pa.table(
        {
            "user_id": [f"u{i % users:06d}" for i in range(n)],
            "as_of_date": [DAY - dt.timedelta(days=7 * (i // users)) for i in range(n)],
            "at_risk": np.ones(n, dtype=bool),
            "active_days_7d": rng.binomial(7, 0.5 - 0.3 * shift, n).astype(float),
            "watch_minutes_7d": minutes,
            "quiz_avg_score_7d": pa.array(quiz, mask=rng.random(n) < 0.2),
            "is_paid": (rng.random(n) < 0.05).astype(float),
            "plan": pa.array(plan, pa.string()).dictionary_encode(),
        }
    )


def scores_of(table: pa.Table) -> np.ndarray:
    """What a simple model makes of it."""
    active, minutes = (table[name].to_numpy() for name in ("active_days_7d", "watch_minutes_7d"))
    return 1.0 / (1.0 + np.exp(-(0.5 - 0.6 * active - 0.01 * minutes)))


def replaced(table: pa.Table, name: str, column: object) -> pa.Table:
    """The table with another column of that name."""
    return table.set_column(table.column_names.index(name), name, column)

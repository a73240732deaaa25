import datetime as dt
import json

import numpy as np

from churn_assets.monitoring.score_proxy import score_proxy

DAY = dt.date(2026, 1, 5)


def test_summarises_the_scores():
    found = score_proxy(np.linspace(0.0, 1.0, 101), 0.9, DAY, "m")
    assert found["as_of_date"] == "2026-01-05"
    assert found["n"] == 101
    assert [round(found[key], 9) for key in ("mean", "p50", "p90", "p99")] == [0.5, 0.5, 0.9, 0.99]
    assert found["high_risk_rate"] == 11 / 101
    assert found["threshold"] == 0.9
    assert found["model_version"] == "m"


def test_nobody_is_null_and_not_nan():
    found = score_proxy(np.zeros(0), 0.5, DAY, "m")
    assert found["n"] == 0
    assert found["mean"] is found["p50"] is found["high_risk_rate"] is None
    json.dumps(found, allow_nan=False)


def test_one_user():
    found = score_proxy(np.array([0.7]), 0.5, DAY, "m")
    assert found["mean"] == found["p50"] == found["p99"] == 0.7
    assert found["high_risk_rate"] == 1.0

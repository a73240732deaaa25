import os

import numpy as np
import pandas as pd
import pytest

from churn_assets.monitoring import evidently_page as module
from churn_assets.monitoring.evidently_page import drawable, evidently_page
from churn_serving.schema import FeatureSpec


def frame(seed, rows=300):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "active": rng.poisson(3, rows).astype(float),
            "plan": pd.Series(rng.choice(["free", "pro"], rows)).where(rng.random(rows) < 0.9),
            "empty": np.full(rows, np.nan),
            "constant": np.full(rows, 3.0),
            "jumped": np.full(rows, float(seed)),
            "infinite": np.where(rng.random(rows) < 0.5, np.inf, rng.normal(size=rows)),
            "city": [f"city{n}" for n in range(rows)],
            "hardly": 1 + 1e-16 * np.round(rng.normal(size=rows) * 3),
            "null_text": pd.Series([None] * rows, dtype=object),
        }
    )


def specs(*names):
    texts = {"plan", "city", "null_text"}
    return tuple(FeatureSpec(name=name, kind="category" if name in texts else "number", meaning="") for name in names)


ALL = specs("active", "plan", "empty", "constant", "jumped", "infinite", "city", "null_text", "gone")


def test_columns_that_cannot_be_drawn_are_left_out_with_the_reason():
    found = drawable(frame(0), frame(1), ALL)
    assert found.numbers == ("active", "jumped", "infinite")
    assert found.categories == ("plan",)
    assert found.left_out == {
        "empty": "empty in the reference",
        "constant": "one value only",
        "city": "more than 50 levels",
        "null_text": "empty in the reference",
        "gone": "not there in the reference",
    }


def test_bad_columns_do_not_cost_the_page():
    page = evidently_page(frame(0), frame(1), ALL, seed=7, rows=200)
    assert "Jensen-Shannon distance" in page
    assert "A sample of 200 rows of the reference and 200 of today" in page
    assert "city (more than 50 levels)" in page
    assert page.count("<body>") == 1
    assert "active" in page
    assert os.environ["DO_NOT_TRACK"] == "1"


def test_a_column_that_evidently_chokes_on_is_found_and_left_out():
    page = evidently_page(frame(0), frame(1), specs("active", "hardly"), seed=7, rows=200)
    assert "hardly (Evidently says: " in page
    assert len(page) > 1_000_000


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_rows(rows):
    page = evidently_page(frame(0), frame(1, rows=rows), specs("active", "plan"), seed=7, rows=200)
    assert f"{rows} of today" in page


def test_samples_are_seeded(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "_draw", lambda then, now, _: seen.append((then, now)) or "<body></body>")
    for _ in range(2):
        evidently_page(frame(0), frame(1), specs("active"), seed=7, rows=50)
    assert seen[0][0].equals(seen[1][0])
    assert seen[0][1].equals(seen[1][1])
    assert len(seen[0][0]) == 50

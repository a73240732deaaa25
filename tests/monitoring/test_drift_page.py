import numpy as np
import pyarrow as pa
import pytest
from drift_populations import DAY, FEATURES, population, replaced, scores_of
from page_outline import Outline

from churn_assets.monitoring.drift import drift_report
from churn_assets.monitoring.drift_page import drift_page
from churn_assets.monitoring.reference import make_reference
from churn_assets.settings import DriftSettings

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def reference():
    table = population(800, seed=0)
    return make_reference(table, scores_of(table), FEATURES)


def page_of(reference, table, scores=None, **more):
    scores = scores_of(table) if scores is None else scores
    limits = DriftSettings(consecutive_days=1)
    report = drift_report(reference, table, scores, model_version="candidate_1", as_of_date=DAY, settings=limits)
    return report, drift_page(report, **more)


@pytest.mark.parametrize(("shift", "words"), [(0.0, "No drift"), (1.0, "Drift alert")])
def test_says_the_verdict_and_what_to_do(reference, shift, words):
    report, page = page_of(reference, population(800, seed=1, shift=shift))
    outline = Outline(page)
    for expected in (words, report.headline, report.as_of_date.isoformat(), "candidate_1", f"{report.score_psi:.3f}"):
        assert expected in outline.text
    assert report.what_to_do.replace("`", "") in outline.text
    for name, value in report.psi_by_feature.items():
        assert name in outline.text
        assert f"{value:.3f}" in outline.text


def test_features_come_most_moved_first(reference):
    report, page = page_of(reference, population(800, seed=1, shift=1.0))
    places = [page.index(f"Distribution of {name}") for name in report.psi_by_feature]
    assert places == sorted(places)


def test_is_self_contained(reference):
    _, page = page_of(reference, population(800, seed=1), evidently="drift_2026-01-05_evidently.html")
    assert Outline(page).links == ["drift_2026-01-05_evidently.html"]
    assert "http" not in page
    assert "Jensen-Shannon" in page
    _, alone = page_of(reference, population(800, seed=1))
    assert Outline(alone).links == []


def test_is_the_same_for_the_same_report(reference):
    assert page_of(reference, population(300, seed=2))[1] == page_of(reference, population(300, seed=2))[1]


def test_escapes_whatever_comes_from_the_data():
    table = population(800, seed=0)
    hostile = replaced(table, "plan", pa.array([EVIL] * 400 + ["free"] * 400)).append_column(EVIL, pa.nulls(800))
    spec = FEATURES[-1].__class__(name="plan", kind="category", meaning="")
    reference = make_reference(hostile, scores_of(table), (*FEATURES[:-1], spec))
    _, page = page_of(reference, hostile, scores_of(table))
    assert "<script" not in page
    assert "script" not in Outline(page).tags
    assert "&lt;script&gt;" in page


def test_shows_nobody_and_one_user(reference):
    _, nobody = page_of(reference, population(5, seed=1).slice(0, 0))
    assert "Nobody is at risk" in Outline(nobody).text
    _, one = page_of(reference, population(1, seed=1))
    assert "few users" in Outline(one).text


def test_shows_empty_constant_vanished_and_infinite_columns(reference):
    table = population(800, seed=1)
    table = replaced(table, "quiz_avg_score_7d", pa.nulls(800, pa.float64()))
    table = replaced(table, "watch_minutes_7d", pa.array(np.full(800, np.inf)))
    _, page = page_of(reference, table.drop_columns("is_paid"), np.full(800, 0.3))
    text = Outline(page).text
    assert "gone" in text
    assert "nan" not in text
    assert "inf " not in text

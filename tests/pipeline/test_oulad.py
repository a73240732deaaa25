"""A slice of a real e-learning data set through the whole graph, with examples/oulad and no code of its own."""

import csv
import json
import os

import httpx
import pytest
from oulad_slice import FOLDER, LAST

WHERE = (
    f"OULAD is not at {FOLDER}: put students.csv.gz, enrolments.parquet, activity.parquet and submissions.parquet "
    "there, or say where they are with OULAD_DIR=/folder, and run `pytest tests/pipeline/test_oulad.py`"
)
ABSENT = ("watch_minutes_30d", "payment_success_30d", "payment_failed_30d", "payment_fail_rate_30d", "plan", "is_paid")
LEAST_ROC_AUC = 0.84


@pytest.fixture(scope="module")
def oulad(oulad_run):
    """A deployment on the slice, after `churn seed`."""
    if oulad_run is None:
        refuse = pytest.fail if os.environ.get("CI", "").lower() == "true" else pytest.skip
        refuse(WHERE)
    deployment, finished = oulad_run.result()
    finished.expect()
    return deployment


def test_the_promoted_model_is_good_at_a_plausible_base_rate(oulad):
    content = json.loads((oulad.layout.metrics / "production_latest.json").read_text())
    assert content["metrics"]["roc_auc"] >= LEAST_ROC_AUC
    assert content["metrics"]["pr_auc"] > content["metrics"]["recency_pr_auc"]
    for share in (content["metrics"]["prevalence"], content["churn_rate_train"], content["churn_rate_test"]):
        assert 0.05 < share < 0.13


def test_features_without_data_are_absent_and_said_so(oulad):
    import dagster as dg

    manifest = oulad.registry.show(oulad.registry.production().version)
    names = {feature.name for feature in manifest.features}
    assert names.isdisjoint(ABSENT)
    assert {"content_views_30d", "forum_visits_7d", "quiz_attempts_30d", "education"} <= names
    with oulad.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("training_set"))
    told = event.asset_materialization.metadata["absent features"].value
    assert set(ABSENT) <= set(told.split(", "))


def test_who_is_not_there_yet_is_in_the_quarantine(oulad):
    with oulad.layout.quarantine_file("users").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["rule"] for row in rows} == {"signup_in_future"}
    assert min(row["signup_date"] for row in rows) > LAST.isoformat()
    known = oulad.layout.users.read().column("user_id").to_pylist()
    assert not {row["user_id"] for row in rows} & set(known)


def test_the_service_scores_real_students_as_the_batch_does_bit_for_bit(oulad, tmp_path):
    deployment = oulad.copied(tmp_path)
    model = deployment.registry.load(deployment.registry.production().version)
    some = deployment.layout.training_set.read().slice(0, 3000)
    expected = model.scorer.score(model.scorer.encode_columns(some)).tolist()
    names = [spec.name for spec in model.scorer.features]
    rows = [{name: row[name] for name in names} for row in some.select(names).to_pylist()]
    with deployment.served() as url:
        for start in range(0, len(rows), 1000):
            body = {"instances": [{"user_id": n, "features": row} for n, row in enumerate(rows[start : start + 1000])]}
            answer = httpx.post(f"{url}/predict/batch", json=body, timeout=60).raise_for_status().json()
            risks = [found["churn_risk"] for found in answer["predictions"]]
            assert risks == expected[start : start + 1000]
        for number in range(0, len(rows), 100):
            body = {"user_id": "somebody", "features": rows[number]}
            answer = httpx.post(f"{url}/predict", json=body).raise_for_status().json()
            assert answer["churn_risk"] == expected[number]

"""The whole graph on generated data: what is there after a first run, and what the runs after it do."""

import csv
import hashlib
import json
import re
from datetime import timedelta

import dagster as dg
import numpy as np
import pytest
from builders import changed, files_of
from deployed import DAY
from small_world import DAYS, TODAY

ASSETS = (
    "raw_users",
    "raw_events",
    "validated_users",
    "validated_events",
    "user_daily",
    "user_features",
    "churn_labels",
    "training_set",
    "baseline_model",
    "candidate_model",
    "production_model",
    "churn_predictions",
    "drift_report",
    "score_proxy",
)
BY_DAY = ("raw_events", "validated_events", "user_daily")
CHECKS = (
    ("validated_users", "within_contract"),
    ("validated_events", "within_contract"),
    ("production_model", "gates"),
    ("drift_report", "population_is_known"),
)
PREDICTION_COLUMNS = (
    *("user_id", "as_of_date", "plan", "is_paid", "country", "marketing_source"),
    *("days_since_signup", "days_since_last_activity", "churn_risk", "risk_rank"),
    *("risk_band", "model_version", "reason_1", "reason_2", "reason_3"),
)
METRICS_KEYS = {"model_type", "artifact", "train_rows", "test_rows", "churn_rate_train", "churn_rate_test", "metrics"}
METRICS = {"pr_auc", "roc_auc", "brier", "ece", "precision_at_50", "lift_at_10pct"}
DRIFT_KEYS = {
    "status",
    "overall_max_psi",
    "psi_by_feature",
    "score_psi",
    "as_of_date",
    "reference",
    "current",
    "model_version",
}
PROXY_KEYS = {"mean", "p50", "p90", "p99", "high_risk_rate", "threshold"}
STAMP = r"\d{8}T\d{6}Z"
LOADS_FROM_ELSEWHERE = re.compile(
    r"<(script|link|img|iframe|source)\b[^>]*\b(src|href)\s*=\s*[\"']?(https?:)?//", re.IGNORECASE
)

UNPICKLE = """
import json, sys
sys.modules.update(churn_assets=None, churn_serving=None)
import joblib, pandas as pd
alias, manifest = sys.argv[1:]
known = json.load(open(manifest))
rows = pd.DataFrame([row["values"] for row in known["golden"]])
for feature in known["features"]:
    if feature["kind"] != "category":
        rows[feature["name"]] = rows[feature["name"]].astype(float)
names = [feature["name"] for feature in known["features"]]
print(json.dumps(joblib.load(alias).predict_proba(rows[names])[:, 1].tolist()))
"""
"""What somebody does in a notebook who has scikit-learn and the file, and none of our packages."""


def production(deployment):
    return deployment.registry.production().version


def read(path):
    return json.loads(path.read_text())


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder):
    visible = {name: content for name, (content, _) in files_of(folder).items() if "/." not in f"/{name}"}
    return {name: hashlib.sha256(content).hexdigest() for name, content in visible.items()}


def without_version(path):
    return [{name: value for name, value in row.items() if name != "model_version"} for row in lines(path)]


# --- after `churn seed`


def test_a_first_run_says_what_it_made(seeded_run, seeded):
    summary = seeded_run.result()[1].json
    assert summary["production model"] == production(seeded)
    assert summary["users at risk"] == len(lines(seeded.layout.predictions_file(DAY)))
    assert all((seeded.folder / summary[name]).is_file() for name in ("predictions", "most at risk", "model card"))


@pytest.mark.parametrize("name", ASSETS)
def test_every_asset_is_materialized_and_says_something_of_itself(seeded, name):
    with seeded.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
    assert event is not None
    assert event.asset_materialization.metadata


def test_every_day_of_history_is_a_partition_that_the_ui_shows(seeded):
    days = {(TODAY - timedelta(days=back)).isoformat() for back in range(1, DAYS + 1)}
    with seeded.instance() as instance:
        assert {name: set(instance.get_materialized_partitions(dg.AssetKey(name))) for name in BY_DAY} == dict.fromkeys(
            BY_DAY, days
        )


@pytest.mark.parametrize(("asset", "check"), CHECKS)
def test_every_check_is_recorded_and_passed(seeded, asset, check):
    with seeded.instance() as instance:
        [record] = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(asset), check), limit=1
        )
    assert record.status.value == "SUCCEEDED"
    assert record.evaluation.metadata


def test_predictions_have_the_promised_columns_and_order(seeded):
    layout = seeded.layout
    rows = lines(layout.predictions_file(DAY))
    assert tuple(rows[0]) == PREDICTION_COLUMNS
    risks = [float(row["churn_risk"]) for row in rows]
    assert risks == sorted(risks, reverse=True)
    assert [int(row["risk_rank"]) for row in rows] == list(range(1, len(rows) + 1))
    assert {row["as_of_date"] for row in rows} == {DAY.isoformat()}
    assert {row["model_version"] for row in rows} == {production(seeded)}
    assert layout.latest_predictions.read_bytes() == layout.predictions_file(DAY).read_bytes()
    assert lines(layout.top_file(DAY, 50)) == rows[:50]


def test_models_metrics_and_the_alias_are_where_the_contract_has_them(seeded):
    layout, version = seeded.layout, production(seeded)
    stems = {path.stem for path in layout.models.glob("*.joblib")} - {"production_latest"}
    assert sorted(re.sub(STAMP, "", stem) for stem in stems) == ["baseline_logreg_", "candidate_hgb_"]
    assert (layout.models / "production_latest.joblib").read_bytes() == (
        layout.models / f"{version}.joblib"
    ).read_bytes()
    for stem in (*stems, "production_latest"):
        content = read(layout.metrics / f"{stem}.json")
        assert content.keys() >= METRICS_KEYS
        assert content["metrics"].keys() >= METRICS
    assert read(layout.metrics / "production_latest.json")["artifact"] == f"{version}.joblib"
    assert seeded.registry.verify(version) == []


def test_reports_for_machines_have_the_promised_keys(seeded):
    layout = seeded.layout
    drift, proxy = read(layout.latest_drift), read(layout.latest_score_proxy)
    assert drift.keys() >= DRIFT_KEYS
    assert drift["status"] in {"OK", "WARN"}
    assert proxy.keys() >= PROXY_KEYS
    assert drift["as_of_date"] == proxy["as_of_date"] == DAY.isoformat()
    assert drift["model_version"] == production(seeded)
    risks = [float(row["churn_risk"]) for row in lines(layout.predictions_file(DAY))]
    assert proxy["mean"] == pytest.approx(np.mean(risks))


def test_reports_for_people_load_nothing_from_elsewhere(seeded):
    layout = seeded.layout
    pages = [layout.drift_page(DAY), *(layout.model_card(summary.version) for summary in seeded.registry.versions())]
    assert len(pages) == 3
    for page in pages:
        text = page.read_text()
        assert text.lstrip().lower().startswith("<!doctype html>")
        assert not LOADS_FROM_ELSEWHERE.search(text)
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text)


def test_the_alias_is_a_scikit_learn_model_that_needs_none_of_our_code(seeded):
    loaded = seeded.registry.load(production(seeded))
    manifest = seeded.layout.version_folder(loaded.version) / "manifest.json"
    alias = seeded.layout.models / "production_latest.joblib"
    found = seeded.python("-I", "-c", UNPICKLE, str(alias), str(manifest)).expect().json
    rows = np.stack([loaded.scorer.encode_row(row.values) for row in loaded.manifest.golden])
    np.testing.assert_allclose(found, loaded.scorer.score(rows), rtol=0, atol=1e-9)


# --- the runs after it


def test_the_same_data_and_seed_give_the_same_predictions(seeded, pieces_run):
    again = pieces_run.result().deployment
    for folder in ("raw/events", "validated", "features"):
        ours, theirs = (
            {name: digest for name, digest in digests(one.layout.data / folder).items() if name.endswith(".parquet")}
            for one in (seeded, again)
        )
        assert ours == theirs
    assert without_version(seeded.layout.predictions_file(DAY)) == without_version(again.layout.predictions_file(DAY))


def test_a_day_run_twice_changes_no_byte(deployment):
    before = digests(deployment.layout.data)
    summary = deployment.run("score", "--top-k", "7", "--json").expect().json
    after = digests(deployment.layout.data)
    assert set(after) - set(before) == {f"predictions/churn_top_7_{DAY}.csv"}
    assert {name: after[name] for name in before} == before
    assert summary["users at risk"] == len(lines(deployment.layout.predictions_file(DAY)))
    assert len(lines(deployment.layout.top_file(DAY, 7))) == 7


def test_the_next_day_touches_only_its_own_files(deployment):
    before = files_of(deployment.layout.data)
    tomorrow = TODAY + timedelta(days=1)
    deployment.run("score", CHURN_CLOCK__TODAY=tomorrow.isoformat()).expect()
    touched = changed(before, files_of(deployment.layout.data))
    of_days = {name for name in touched if re.search(r"/\d{4}-\d\d-\d\d\.parquet$", name)}
    tables = (
        "raw/events",
        "validated/events",
        "features/user_daily",
        "features/user_features",
        "features/churn_labels",
    )
    assert of_days == {f"{table}/{TODAY}.parquet" for table in tables}
    new = deployment.layout.predictions_file(TODAY)
    assert {row["as_of_date"] for row in lines(new)} == {TODAY.isoformat()}
    assert deployment.layout.latest_predictions.read_bytes() == new.read_bytes()
    assert f"predictions/churn_predictions_{DAY}.csv" not in touched


def test_a_refused_model_leaves_the_champion_and_says_why(deployment):
    champion, alias = production(deployment), deployment.registry.alias.path
    before = alias.read_bytes()
    summary = deployment.run("retrain", "--json", CHURN_TRAINING__MIN_PR_AUC="0.99").expect().json
    assert summary["production model"] == champion
    assert alias.read_bytes() == before
    refused = [entry for entry in deployment.registry.history() if entry.action == "refused"]
    assert len(refused) == 2
    for entry in refused:
        assert "PR-AUC" in entry.reason
        assert "0.99" in entry.reason
        assert entry.evidence["gates"]
        assert f"{entry.version} refused: {entry.reason}" in summary["last decisions"]
    # The refused models are those that serve, trained again: with the usual gates they still replace nothing.
    deployment.run("build", "promote").expect()
    assert alias.read_bytes() == before
    newest = deployment.registry.history()[-1]
    assert (newest.action, newest.reason) == (
        "refused",
        f"{newest.version} is {champion} again, byte for byte, which goes on serving.",
    )
    assert deployment.registry.verify_history() is None


def test_without_a_champion_a_refused_model_does_not_serve(deployment):
    alias = deployment.registry.alias.path
    alias.unlink()
    deployment.layout.promotion_history.unlink()
    failed = deployment.run("build", "promote", CHURN_TRAINING__MIN_PR_AUC="0.99").expect(1)
    assert "production_model: no challenger passed the gates, and no model serves yet" in failed.err
    assert "0.99" in failed.err
    assert "Traceback" not in failed.err
    assert not alias.exists()
    assert [entry.action for entry in deployment.registry.history()].count("refused") == 2


def test_a_reference_that_is_missing_is_told_with_the_remedy_and_the_next_day_goes_on(deployment):
    version = deployment.registry.production().version
    (deployment.registry.root / version / "reference.json").unlink()
    told = deployment.run("drift").expect(1)
    assert f"{version}/reference.json is missing; restore it from a backup, or retrain" in told.err
    assert "Traceback" not in told.err
    deployment.run("retrain").expect()
    assert deployment.run("drift").code in {0, 2}

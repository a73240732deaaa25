"""What Dagster is told of this project: names that others depend on, and what the UI shows of them."""

import subprocess
import sys

import dagster as dg
import pytest

GROUPS = {
    "ingest": {"raw_users", "raw_events", "validated_users", "validated_events"},
    "features": {"user_daily", "user_features", "churn_labels"},
    "training": {"training_set", "baseline_model", "candidate_model", "production_model"},
    "scoring": {"churn_predictions"},
    "monitoring": {"drift_report", "score_proxy", "performance_report"},
}
KINDS = {
    "raw_users": {"source", "parquet"},
    "raw_events": {"source", "parquet"},
    "validated_users": {"duckdb", "parquet"},
    "validated_events": {"duckdb", "parquet"},
    "user_daily": {"duckdb", "parquet"},
    "user_features": {"numpy", "parquet"},
    "churn_labels": {"numpy", "parquet"},
    "training_set": {"numpy", "parquet"},
    "baseline_model": {"scikitlearn"},
    "candidate_model": {"scikitlearn"},
    "production_model": {"scikitlearn", "numpy"},
    "churn_predictions": {"numpy", "csv"},
    "drift_report": {"numpy", "evidently"},
    "score_proxy": {"numpy", "json"},
    "performance_report": {"numpy", "json"},
}
BLOCKING = {"validated_users:within_contract": True, "validated_events:within_contract": True}
CHECKS = BLOCKING | {
    "production_model:gates": False,
    "drift_report:population_is_known": False,
    "drift_report:feed_is_sound": False,
    "performance_report:predictions_came_true": False,
}
INGEST = {"raw_users", "raw_events", "validated_users", "validated_events"}
HISTORY = INGEST | {"user_daily", "churn_labels"}
JOBS = {
    "seed_job": set(KINDS),
    "history_job": HISTORY,
    "daily_job": HISTORY | {"user_features", "churn_predictions", "score_proxy", "performance_report"},
    "drift_job": HISTORY | {"user_features", "drift_report"},
    "retrain_job": {"training_set", "baseline_model", "candidate_model", "production_model"},
}
SCHEDULES = {
    "drift_daily": ("0 1 * * *", "drift_job"),
    "batch_daily": ("0 2 * * *", "daily_job"),
    "retrain_weekly": ("0 3 * * 0", "retrain_job"),
    "clean_weekly": ("0 5 * * 0", "clean_job"),
}
SENSORS = {
    "drift_alert_retrain": "retrain_job",
    "performance_alert_retrain": "retrain_job",
    "run_failure_alert": None,
}
NOT_AT_IMPORT = ("evidently", "sklearn", "matplotlib", "dagster_k8s", "apprise")


@pytest.fixture(scope="module")
def defs():
    from churn_assets.definitions import defs

    return defs


def specs(defs):
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_assets_and_their_groups(defs):
    found = {}
    for name, spec in specs(defs).items():
        found.setdefault(spec.group_name, set()).add(name)
    assert found == GROUPS


def test_every_asset_has_an_owner_a_description_and_its_kinds(defs):
    for name, spec in specs(defs).items():
        assert spec.owners, name
        assert len(spec.description or "") > 40, name
        assert spec.kinds == KINDS[name], name


def test_daily_assets_share_their_partitions_and_a_range_is_one_run(defs):
    graph = defs.resolve_asset_graph()
    daily = {node.key.to_user_string() for node in graph.asset_nodes if node.is_partitioned}
    assert daily == set(KINDS) - GROUPS["training"] - {"raw_users", "validated_users"}
    assert {graph.get(dg.AssetKey(name)).backfill_policy for name in daily} == {dg.BackfillPolicy.single_run()}
    assert len({graph.get(dg.AssetKey(name)).partitions_def for name in daily}) == 1


def test_checks_and_which_of_them_block(defs):
    graph = defs.resolve_asset_graph()
    found = {f"{key.asset_key.to_user_string()}:{key.name}": graph.get(key).blocking for key in graph.asset_check_keys}
    assert found == CHECKS
    assert all(graph.get(key).description for key in graph.asset_check_keys)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_resolves_to_its_assets_in_this_process(defs, name):
    job = defs.resolve_job_def(name)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == JOBS[name]
    assert job.executor_def.name == "in_process"
    assert job.description


def test_there_are_no_other_jobs_and_schedules(defs):
    repository = defs.get_repository_def()
    named = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert named == {*JOBS, "clean_job"}
    found = {s.name: (s.cron_schedule, s.job_name, s.execution_timezone) for s in repository.schedule_defs}
    assert found == {name: (*line, "UTC") for name, line in SCHEDULES.items()}
    assert {s.default_status.value for s in repository.schedule_defs} == {"RUNNING"}
    assert all(s.description for s in repository.schedule_defs)


def test_only_one_retrain_at_a_time(defs):
    tags = {name: defs.resolve_job_def(name).tags.get("churn/retrain") for name in JOBS}
    assert {name for name, tag in tags.items() if tag} == {"retrain_job", "seed_job"}


def test_runs_that_ingest_the_same_days_wait_for_each_other(defs):
    tags = {name: defs.resolve_job_def(name).tags.get("churn/days") for name in JOBS}
    assert {name for name, tag in tags.items() if tag} == {"history_job", "daily_job", "drift_job"}


def test_sensors_run_by_themselves(defs):
    sensors = defs.get_repository_def().sensor_defs
    assert {sensor.name: sensor.job_name if sensor.targets else None for sensor in sensors} == SENSORS
    assert {sensor.default_status.value for sensor in sensors} == {"RUNNING"}
    assert all(sensor.description for sensor in sensors)


def test_importing_the_definitions_loads_no_heavy_library(tmp_path):
    code = f"import churn_assets.definitions, sys; print([n for n in {NOT_AT_IMPORT} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

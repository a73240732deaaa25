"""Data that cannot be used, through the graph: which step stops, what the UI shows, what the command says."""

from datetime import timedelta

import dagster as dg
import pytest
import yaml
from builders import EVENTS, START, Export
from deployed import Deployment

BAD = tuple(f"a,2024-01-0{n + 2} 12:00:00,dance,,," for n in range(4))
SHORT_WINDOWS = {
    "features": {"windows_days": [3, 7]},
    "churn": {"window_days": 3},
    "population": {"active_within_days": 7},
    "training": {"every_days": 2},
}
LOGINS = {"columns": {"user_id": "user", "event_time": "when"}, "event_type": "login"}


def deployed(export, **changes):
    """A deployment that reads the export, with the usual limit of rejects."""
    export.configure(validation={"max_reject_share": 0.02}, **changes)
    config = export.folder / "config.yaml"
    config.write_text(yaml.safe_dump(export.settings().model_dump(mode="json", exclude_unset=True)))
    return Deployment.fresh(export.folder, {"CHURN_MLOPS_CONFIG": str(config)})


def daily_logins(folder, users, days):
    """An export in which every user logs in on every day."""
    export = Export(folder)
    export.users(*(f"{user},2023-12-01,free,false,DE,organic" for user in users))
    every = [START + timedelta(days=n) for n in range(days)]
    export.events(*(f"{user},{day} 08:00:00,login,,," for day in every for user in users))
    export.events_from(LOGINS)
    return deployed(export, clock={"today": START + timedelta(days=days)}, **SHORT_WINDOWS)


def refused(deployment):
    """What `churn seed` says of data that it cannot use."""
    finished = deployment.run("seed").expect(1)
    assert "Traceback" not in finished.err
    [said] = [line for line in finished.err.splitlines() if line.startswith("churn: ")]
    return said


def materialized(deployment):
    with deployment.instance() as instance:
        return {
            key.to_user_string() for key in instance.all_asset_keys() if instance.get_latest_materialization_event(key)
        }


def test_too_many_bad_rows_stop_the_run_at_a_check_that_shows_them(platform):
    platform.events(*EVENTS, *BAD)
    deployment = deployed(platform)
    said = refused(deployment)
    assert "within_contract" in said
    assert "validated_events" in said
    with deployment.instance() as instance:
        [record] = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("validated_events"), "within_contract"), limit=1
        )
    assert record.status.value == "FAILED"
    shown = record.evaluation.metadata
    assert (shown["rows"].value, shown["rejected"].value) == (10, 4)
    assert "event_type_unknown" in shown["rejects by rule"].value
    assert shown["sample"].value.count("dance") == 4
    assert materialized(deployment).isdisjoint({"user_daily", "churn_labels", "training_set", "churn_predictions"})
    assert len(list(deployment.layout.quarantine.glob("events_*.csv"))) == 4
    assert not deployment.registry.alias.path.exists()


def test_fewer_days_than_the_windows_need_is_said_with_the_number_that_is_needed(platform):
    said = refused(deployed(platform))
    assert said.startswith("churn: training_set: ")
    assert "8 days" in said


@pytest.mark.parametrize("users", [["a"], [f"u{n}" for n in range(30)]], ids=["one user", "all of one class"])
def test_labels_of_one_class_only_are_said(tmp_path, users):
    deployment = daily_logins(tmp_path, users, days=24)
    said = refused(deployment)
    assert said.startswith("churn: baseline_model: ")
    assert "churned" in said
    assert len(deployment.layout.user_daily.days()) == 24

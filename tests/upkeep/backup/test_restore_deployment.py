"""A real deployment is lost and brought back on an empty machine: it scores the same bytes, and goes on."""

import pytest
from pipeline.deployed import DAY, SMALL_WORLD, Deployment

CHURN = "from churn_assets.commands.saving import app; app()"
"""The two commands alone, so that they are tested as a process of their own."""


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A deployment that was backed up, and the place."""
    settings = SMALL_WORLD | {"CHURN_SOURCE__SYNTHETIC__USERS": "200"}
    deployment = Deployment.fresh(tmp_path_factory.mktemp("lost"), settings)
    deployment.start("seed", lacking=["evidently"]).finish().expect()
    place = tmp_path_factory.mktemp("vault") / "backups"
    saved = deployment.python("-c", CHURN, "backup", str(place), "--json").expect().json
    return deployment, place, saved


@pytest.fixture(scope="module")
def found(lost, tmp_path_factory):
    """The same on another machine, and what the restore said."""
    deployment, place, _ = lost
    there = Deployment(tmp_path_factory.mktemp("found"), deployment.settings)
    return there, there.python("-c", CHURN, "restore", str(place), "--json").expect().json


@pytest.mark.slow
def test_everything_that_was_saved_is_there_and_serves(lost, found):
    (deployment, _, saved), (there, restored) = lost, found
    assert saved["steady"] is True
    assert saved["Dagster's database"].startswith("SQLite, ")
    assert restored["files"] == saved["files"] > 100
    assert restored["problems"] == "none"
    assert restored["serves"] == saved["serves"] == deployment.registry.production().version
    assert there.registry.verify(restored["serves"]) == []
    assert there.registry.reconcile() == []


@pytest.mark.slow
def test_no_day_looks_stale(found):
    layout = found[0].layout
    assert len(layout.user_daily.days()) > 30
    assert layout.events.stale_days(layout.raw_events.stamp) == []
    assert layout.user_daily.stale_days(layout.events.stamp) == []


@pytest.mark.slow
def test_dagster_knows_its_runs(lost, found):
    with lost[0].instance() as before:
        runs = {run.run_id: run.status for run in before.get_runs()}
    with found[0].instance() as after:
        assert {run.run_id: run.status for run in after.get_runs()}.items() >= runs.items()
    assert len(runs) == 2


@pytest.mark.slow
def test_the_day_is_scored_to_the_same_bytes(lost, found):
    there = found[0]
    before = lost[0].layout.predictions_file(DAY).read_bytes()
    assert there.layout.predictions_file(DAY).read_bytes() == before
    for path in there.layout.predictions.glob("*.csv"):
        path.unlink()
    there.start("score", "--json", lacking=["evidently"]).finish().expect()
    assert there.layout.predictions_file(DAY).read_bytes() == before


@pytest.mark.slow
def test_a_second_backup_of_a_deployment_at_rest_sends_nothing(lost):
    deployment, place, _ = lost
    again = deployment.python("-c", CHURN, "backup", str(place), "--json").expect().json
    assert (again["new files"], again["new bytes"]) == (0, 0)
    assert deployment.python("-c", CHURN, "restore", str(place), "--verify").expect().out == ""

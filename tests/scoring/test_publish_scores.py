"""From the daily list to the history of scores that the service shows."""

import datetime as dt

import pytest
from builders import changed, files_of

from churn_assets.layout import Layout
from churn_assets.model_registry import open_registry
from churn_assets.monitoring.build import REFERENCE_FILE
from churn_assets.monitoring.reference import make_reference
from churn_assets.scoring.build import score_day
from churn_assets.scoring.predictions import predict
from churn_assets.scoring.publish import publish_scores
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace
from churn_serving.manifest import Environment, Manifest, Population, golden_rows
from churn_serving.online.scores import KEPT_DAYS, DayScore, ScoreHistory
from churn_serving.settings import Paths

DAY = dt.date(2026, 1, 5)


@pytest.fixture
def layout(tmp_path):
    return Layout(Paths(data=tmp_path / "data", artifacts=tmp_path / "artifacts"))


@pytest.fixture
def predicted(snapshot, scorer, bands):
    return predict(snapshot, scorer, bands, "v1")


def history(layout):
    found = ScoreHistory(layout.online_scores)
    found.refresh()
    return found


def test_every_score_and_rank_of_the_list_is_served(layout, predicted):
    publish_scores(layout, DAY, predicted, "v1")
    found = history(layout)
    for row in predicted.to_pylist():
        expected = DayScore(DAY, row["churn_risk"], row["risk_rank"], predicted.num_rows, "v1")
        assert found.of(row["user_id"]) == [expected]


def test_who_was_not_at_risk_has_no_score(layout, predicted, snapshot):
    publish_scores(layout, DAY, predicted, "v1")
    found = history(layout)
    others = set(snapshot["user_id"].to_pylist()) - set(predicted["user_id"].to_pylist())
    assert others
    assert not any(found.of(user_id) for user_id in others)


def test_the_same_day_again_changes_nothing_and_another_model_replaces_it(layout, predicted):
    publish_scores(layout, DAY, predicted, "v1")
    before = files_of(layout.online_scores)
    publish_scores(layout, DAY, predicted, "v1")
    assert changed(before, files_of(layout.online_scores)) == set()
    publish_scores(layout, DAY, predicted, "v2")
    user_id = predicted["user_id"][0].as_py()
    assert [score.model_version for score in history(layout).of(user_id)] == ["v2"]


def test_a_day_with_nobody_at_risk(layout, predicted):
    publish_scores(layout, DAY, predicted.slice(0, 0), "v1")
    found = history(layout)
    assert found.dates == (DAY,)
    assert found.of(predicted["user_id"][0].as_py()) == []


def test_a_season_of_days_is_kept(layout, predicted):
    few = predicted.slice(0, 2)
    for number in range(KEPT_DAYS + 2):
        publish_scores(layout, DAY + dt.timedelta(days=number), few, "v1")
    dates = history(layout).dates
    assert dates == tuple(DAY + dt.timedelta(days=number) for number in range(2, KEPT_DAYS + 2))
    assert publish_scores(layout, DAY, few, "v1") is None


def promote(workspace, scorer, bands, table):
    """Make a scorer the production model."""
    rows = table.slice(0, 30).to_pylist()
    scores = [scorer.score_row(scorer.encode_row(row)) for row in rows]
    rows = [{spec.name: row[spec.name] for spec in scorer.features} for row in rows]
    registry = open_registry(workspace)
    manifest = Manifest(
        version=registry.new_version("baseline_logreg"),
        model_type=scorer.kind,
        role="baseline",
        created_at=dt.datetime(2026, 1, 5, tzinfo=dt.UTC),
        features=scorer.features,
        golden=golden_rows(rows, scores),
        threshold=0.5,
        bands=bands,
        population=Population(active_within_days=30, window_days=30),
        training={},
        data_fingerprint="",
        code_version="",
        environment=Environment(python="", packages={}),
        seed=0,
        reference=REFERENCE_FILE,
    )
    reference = make_reference(table, scorer.score(scorer.encode_columns(table)), scorer.features)
    extra = {REFERENCE_FILE: reference.to_bytes()}
    registry.register(manifest, b"a pipeline", scorer, metrics={}, extra_files=extra)
    registry.promote(manifest.version, actor="test", reason="It is the first.")
    return manifest.version


def test_scoring_a_day_publishes_it(tmp_path, snapshot, scorer, bands):
    paths = {"data": tmp_path / "data", "artifacts": tmp_path / "artifacts"}
    workspace = Workspace(Settings.model_validate({"paths": paths}))
    version = promote(workspace, scorer, bands, snapshot)
    for number in range(2):
        workspace.layout.user_features.write(DAY + dt.timedelta(days=number), snapshot)
        scored = score_day(workspace, DAY + dt.timedelta(days=number))
    found = history(workspace.layout)
    assert found.dates == (DAY, DAY + dt.timedelta(days=1))
    first = scored.table.slice(0, 1).to_pylist()[0]
    last = found.of(first["user_id"])[-1]
    assert (last.churn_risk, last.risk_rank, last.model_version) == (first["churn_risk"], 1, version)
    assert last.of == len(scored.scores)

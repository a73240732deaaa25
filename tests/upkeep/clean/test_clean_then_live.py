"""A deployment lives on after the strictest clean-up: the next days, a retrain, and the history asked for anew."""

import shutil
from datetime import date, timedelta

import pytest
from builders import files_of, quiet
from clean_world import EVERYTHING, NOW

from churn_assets.features.build import build_labels, build_snapshot, build_user_daily
from churn_assets.features.publish import publish_newest
from churn_assets.ingest import build as ingest
from churn_assets.layout import days_between
from churn_assets.model_registry import open_registry
from churn_assets.monitoring.build import compare_day, proxy_of
from churn_assets.monitoring.performance.build import report_day
from churn_assets.scoring.build import production, score_day
from churn_assets.settings import Settings
from churn_assets.training import build as training
from churn_assets.training.challenger import train
from churn_assets.training.promotion import decide
from churn_assets.upkeep.clean import clean
from churn_assets.upkeep.retention import Limits
from churn_assets.workspace import Workspace

pytestmark = pytest.mark.slow

START = date(2026, 1, 1)
LAST = START + timedelta(days=164)
SCORED_DAYS = 24
LENIENT = {
    "every_days": 5,
    "bootstrap_replicates": 20,
    "min_pr_auc": 0,
    "min_gain_over_recency": -1,
    "max_pr_auc_drop": 1,
    "max_ece": 1,
    "max_latency_us": 1e9,
    "model": {"iterations": 5},
}


def as_of(folder, last):
    """The deployment on the morning after a day."""
    content = {
        "paths": {"data": folder / "data", "artifacts": folder / "artifacts"},
        "clock": {"today": last + timedelta(days=1)},
        "source": {"start_date": START, "synthetic": {"users": 80}},
        "features": {"windows_days": [7, 14]},
        "churn": {"window_days": 7},
        "performance": {"weeks": 2, "judged_days": 3},
        "training": LENIENT,
        "drift": {"evidently": False},
        "validation": {"max_reject_share": 1.0},
    }
    return Workspace(Settings.model_validate(content))


def history(workspace, days):
    """What history_job does."""
    ingest.ingest_users(workspace)
    ingest.ingest_events(workspace, days, quiet)
    ingest.validate_users(workspace)
    ingest.validate_events(workspace, days, quiet)
    build_user_daily(workspace, days, quiet)
    build_labels(workspace, days)


def retrain(workspace):
    """What retrain_job does; returns the rows that it learned from, by their digest."""
    training.build_training_set(workspace)
    parts = training.read_parts(workspace)
    for role in ("baseline", "candidate"):
        train(workspace, open_registry(workspace), role, parts)
    decide(workspace, open_registry(workspace), actor="test")
    return parts.fingerprint


def score(workspace, day):
    """What daily_job does after the history; returns the performance report."""
    build_snapshot(workspace, day)
    publish_newest(workspace.layout)
    scored = score_day(workspace, day)
    proxy_of(workspace, day, scored.scores, scored.model)
    return report_day(workspace, day)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A deployment that has scored for a month, then was cleaned as strictly as can be, and what that came to."""
    folder = tmp_path_factory.mktemp("lived") / "it"
    workspace = as_of(folder, LAST)
    history(workspace, days_between(START, LAST))
    retrain(workspace)
    for day in days_between(LAST - timedelta(days=SCORED_DAYS - 1), LAST):
        score(workspace, day)
        compare_day(workspace, production(workspace), day)
    before = files_of(folder)
    shutil.copytree(folder, folder.parent / "twin")
    cleaned = clean(workspace, Limits.chosen(workspace.settings.retention, **EVERYTHING), NOW)
    return folder, before, cleaned


@pytest.fixture
def copied(lived, tmp_path):
    """A copy of it that a test may change, beside one that has not been cleaned."""
    folder, before, _ = lived
    shutil.copytree(folder.parent, tmp_path / "both")
    return tmp_path / "both" / "it", before


def test_it_removes_what_it_can(lived):
    folder, before, cleaned = lived
    assert cleaned.problems == []
    assert {one.kind: one.items > 0 for one in cleaned.kinds} == {
        "prediction log": False,
        "predictions": True,
        "reports": True,
        "quarantine": False,
        "features": True,
        "raw": True,
        "models": False,
    }
    layout = as_of(folder, LAST).layout
    assert layout.raw_events.days()[0] == layout.events.days()[0] == LAST - timedelta(days=120)
    assert {name for name in files_of(folder) if not name.endswith(".lock")} < set(before)
    assert layout.user_daily.days() == days_between(START, LAST)


def test_on_the_same_day_reports_say_the_same_as_before(copied):
    folder, before = copied
    workspace = as_of(folder, LAST)
    reported = report_day(workspace, LAST)
    assert reported.joined == []
    compare_day(workspace, production(workspace), LAST)
    now = {name: content for name, (content, _) in files_of(folder).items() if name in before}
    differing = {name for name, content in now.items() if content != before[name][0]}
    assert differing <= {"data/monitoring/outcomes/built_from.json"}


def test_the_next_day_comes_out_as_if_nothing_were_gone(copied):
    folder, _ = copied
    next_day = LAST + timedelta(days=1)
    made = {}
    for place in (folder, folder.parent / "twin"):
        workspace = as_of(place, next_day)
        history(workspace, [next_day])
        assert score(workspace, next_day).joined == [next_day - timedelta(days=7)]
        assert compare_day(workspace, production(workspace), next_day).report.feed.status == "OK"
        made[place] = {
            name: content
            for name, (content, _) in files_of(place).items()
            if next_day.isoformat() in name and "/feed/" not in name  # a profile bears the time of its raw file
        }
    cleaned, twin = made.values()
    assert len(cleaned) > 10
    assert {name for name in twin if cleaned.get(name) != twin[name]} == set()
    assert as_of(folder, next_day).layout.raw_events.days()[0] == LAST - timedelta(days=120)


def test_a_retrain_learns_from_the_whole_history(copied):
    folder, _ = copied
    workspace = as_of(folder, LAST)
    fingerprint = retrain(workspace)
    registry = open_registry(workspace)
    learned = [registry.show(summary.version) for summary in registry.versions()]
    assert len(learned) == 4
    assert {manifest.data_fingerprint for manifest in learned} == {fingerprint}
    assert min(period.first for period in learned[0].training.values()) < LAST - timedelta(days=120)


def test_the_history_that_is_asked_for_anew_comes_out_as_it_was(copied):
    folder, before = copied
    workspace = as_of(folder, LAST)
    history(workspace, days_between(START, LAST))
    assert workspace.layout.raw_events.days()[0] == START
    for table in (workspace.layout.user_daily, workspace.layout.labels):
        for day in table.days():
            name = table.path(day).relative_to(folder).as_posix()
            assert day > LAST or table.path(day).read_bytes() == before[name][0]

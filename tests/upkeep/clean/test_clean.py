"""What the clean-up removes, and what it keeps and why."""

import errno
import json
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from clean_world import AGES, NOW, TODAY, WINDOW, aged, ago, put

from churn_assets.features.publish import publish_newest
from churn_assets.monitoring.performance import outcomes
from churn_assets.scoring.publish import publish_scores
from churn_assets.settings import RetentionSettings
from churn_assets.upkeep import clean as cleaning
from churn_assets.upkeep.exclusive import LOCK, exclusive
from churn_assets.upkeep.retention import Limits, parse_age
from churn_assets.upkeep.retention_models import plan_models
from churn_serving.logs.prediction_log import PredictionLog
from churn_serving.published import Published


def only(cleaned):
    """The one kind that was cleaned."""
    [kind] = cleaned.kinds
    return kind


def reasons(kind):
    return {one.reason: one.items for one in kind.kept}


def names(world):
    return [summary.version for summary in world.registry.versions()]


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("1d", 1), ("12w", 84), (" 2W ", 14), ("3650d", 3650)])
def test_an_age_is_days_or_weeks(text, days):
    assert parse_age(text) == days


@pytest.mark.parametrize("text", ["", "30", "d", "6m", "-3d", "1.5d", "30 d", "0d", "3651d", "600w", "٣d d"])
def test_any_other_age_is_refused_with_what_was_given(text):
    with pytest.raises(
        ValueError, match=r"is no age: give days or weeks, such as 30d|from 1 to 3,650 are possible"
    ) as no:
        parse_age(text)
    assert repr(text) in str(no.value)


def test_without_a_limit_those_of_the_settings_hold_and_with_one_that_alone():
    settings = RetentionSettings(predictions_days=40, raw_days=None)
    assert Limits.chosen(settings, raw_days=None, models_count=None) == Limits(settings, leftovers=True)
    chosen = Limits.chosen(settings, raw_days=200, models_count=None)
    assert not chosen.leftovers
    assert {name: value for name, value in chosen.retention.model_dump().items() if value is not None} == {
        "raw_days": 200
    }


def test_the_settings_clean_every_kind_that_they_limit(world, versions):
    world.fill()
    cleaned = world.clean()
    assert [one.kind for one in cleaned.kinds] == [
        "leftovers",
        "prediction log",
        "predictions",
        "reports",
        "quarantine",
        "features",
        "models",
    ]
    assert cleaned.problems == []
    assert set(names(world)) == set(versions)
    assert not world.layout.predictions_file(ago(121)).exists()
    assert world.layout.raw_events.path(ago(300)).exists()


def test_old_lists_go_and_what_goes_is_told_by_kind(world):
    world.fill()
    told = only(world.clean(predictions_days=30))
    gone = [age for age in AGES if not world.layout.predictions_file(ago(age)).exists()]
    assert gone == [age for age in AGES if age > 30]
    assert told.items == 2 * len(gone)
    assert told.size == 2 * len(gone) * len("content")
    assert (told.oldest, told.newest) == (ago(max(AGES)), ago(31))
    assert told.kept == ()
    assert told.as_row()["limit"] == "30 days"


def test_what_is_old_and_stays_is_told_with_the_reason(world):
    world.fill()
    world.layout.outcomes_file(ago(16)).unlink()
    told = only(world.clean(predictions_days=1))
    assert reasons(told) == {"what happened is not known yet": 6, "not joined with what happened yet": 2}
    assert world.layout.predictions_file(ago(16)).exists()
    assert not world.layout.predictions_file(ago(15)).exists()
    row = told.as_row()["kept because"]
    assert row == (
        f"2 since {ago(16)}: not joined with what happened yet; 6 since {ago(7)}: what happened is not known yet"
    )


def test_the_newest_list_stays_even_if_nothing_was_scored_for_a_year(world):
    days = [date(2025, 1, 1), date(2025, 1, 2)]
    for day in days:
        put(world.layout.predictions_file(day))
        put(world.layout.user_features.path(day))
    world.clean(predictions_days=1, features_days=1)
    for place in (world.layout.predictions_file, world.layout.user_features.path):
        assert [place(day).exists() for day in days] == [False, True]


def test_reports_since_an_alert_stay(world, versions):
    world.fill()
    world.alarm(versions[1], "drift", ago(60))
    told = only(world.clean(reports_days=2))
    assert world.layout.drift_file(ago(60)).exists()
    assert world.layout.evidently_page(ago(60)).exists()
    assert not world.layout.performance_file(ago(60)).exists()
    assert not world.layout.drift_file(ago(90)).exists()
    assert f"an alert stands since {ago(60)}" in reasons(told)


def test_of_a_pretended_day_and_the_real_one_the_log_counts_from_the_earlier(world):
    folder = Published(world.workspace.settings.paths).prediction_log
    old, young = (put(folder / f"served_{day:%Y%m%d}T000000Z_a_1.jsonl") for day in (ago(400), ago(380)))
    limits = Limits.chosen(world.workspace.settings.retention, prediction_log_days=30)
    cleaning.clean(world.workspace, limits, NOW - timedelta(days=360))
    assert (old.exists(), young.exists()) == (False, True)


def test_versions_that_may_be_wanted_again_outlive_the_newest(world, versions):
    world.alarm(versions[2], "performance", ago(3))
    told = only(world.clean(models_count=2))
    assert reasons(told) == {"it serves": 1, "a rollback goes to it": 1, "an alert stands about it": 1}
    assert sorted(names(world)) == sorted({*versions[:3], *versions[4:]})
    assert told.items == 1
    assert not any(path.exists() for path in world.of_version(versions[3]))
    [entry] = [entry for entry in world.registry.history() if entry.action == "removed"]
    assert (entry.version, entry.actor, entry.reason) == (
        versions[3],
        "churn clean",
        "older than the newest 2 versions",
    )
    assert world.registry.verify_history() is None
    assert world.registry.verify(versions[1]) == []


def test_the_version_that_was_rolled_back_stays_until_another_takes_its_place(world, versions):
    world.registry.rollback(actor="test")
    assert world.registry.previous_production() is None
    assert reasons(only(world.clean(models_count=2))) == {"it serves": 1, "it served before": 1}
    assert set(names(world)) == {*versions[:2], *versions[4:]}
    world.promote(versions[4])
    assert reasons(only(world.clean(models_count=2))) == {"a rollback goes to it": 1}
    assert set(names(world)) == {versions[0], *versions[4:]}


def test_a_retrain_finds_its_challengers_however_many_of_the_other_kind_are_newer(world):
    baseline = world.register(1, "baseline")
    candidates = [world.register(number, "candidate") for number in range(2, 7)]
    world.promote(candidates[-1])
    told = only(world.clean(models_count=2))
    assert set(names(world)) == {baseline, *candidates[-2:]}
    assert reasons(told) == {"the newest baseline": 1}


@pytest.mark.parametrize("content", [b"truncated", None])
def test_no_version_goes_while_it_is_not_known_which_one_serves(world, versions, content):
    alias = world.registry.alias.path
    alias.unlink() if content is None else alias.write_bytes(content)
    told = only(world.clean(models_count=2))
    assert told.items == 0
    assert reasons(told) == {"it is not known which version serves": 4}
    assert len(names(world)) == len(versions)


def test_a_version_that_comes_to_serve_meanwhile_stays_and_that_is_told(world, versions):
    plan = plan_models(world.workspace, 2, "churn clean")
    assert [item.name for item in plan.items] == versions[2:4]
    world.promote(versions[2])
    done = cleaning._removed(plan, print)
    assert f"{versions[2]} serves" in done.problem
    assert world.layout.model_card(versions[2]).exists()
    assert world.registry.verify(versions[2]) == []
    assert only(world.clean(models_count=2)).problem == ""


def test_leftovers_go_once_nobody_can_be_writing_them(world):
    layout = world.layout
    hours = timedelta(hours=1)
    gone = [
        put(layout.data / "predictions" / ".a.csv.17-ab.part", age=2 * hours),
        put(layout.artifacts / "metrics" / ".b.json.17-ab.part", age=2 * hours),
        put(layout.temporary / "tmpabc" / "2026-01-01.parquet", age=30 * hours),
        put(layout.temporary / "duckdb_temp_storage.tmp", age=30 * hours),
        put(layout.model_card("candidate_hgb_20250101T000000Z"), age=30 * hours),
    ]
    kept = [
        put(layout.data / "predictions" / ".c.csv.17-ab.part", age=hours / 2),
        put(layout.temporary / "tmpdef" / "2026-01-01.parquet", age=2 * hours),
        put(layout.data / "predictions" / "notes.part", age=90 * hours),
        put(layout.model_card("candidate_hgb_20250102T000000Z"), age=hours / 2),
    ]
    for folder in ("tmpabc", "tmpdef"):
        aged(layout.temporary / folder, 30 * hours)
    told = world.clean().kinds[0]
    assert (told.kind, told.items, told.problem) == ("leftovers", len(gone), "")
    assert [path.exists() for path in gone] == [False] * len(gone)
    assert not (layout.temporary / "tmpabc").exists()
    assert [path.exists() for path in kept] == [True] * len(kept)


def test_tables_that_are_published_no_longer_go_and_what_is_served_stays(world):
    layout = world.layout
    for day in (ago(3), ago(2)):
        ids = [f"u{n}" for n in range(5)]
        columns = {"user_id": ids, "as_of_date": pa.array([day] * 5, pa.date32()), "at_risk": [True] * 5}
        layout.user_features.write(day, pa.table(columns | {"quiet": np.arange(5) + day.day}))
        publish_newest(layout)
        scores = {"user_id": ids, "churn_risk": np.linspace(0, 1, 5), "risk_rank": np.arange(5)}
        publish_scores(layout, day, pa.table(scores), "candidate_hgb_1")
    before = {path.name for path in layout.online_features.glob("*.keyed")}
    assert len(before) == 2
    limits = Limits.chosen(world.workspace.settings.retention, features_days=1, predictions_days=1)
    real = datetime.now(NOW.tzinfo)
    for now in (real, real + timedelta(days=400)):
        scores, features = cleaning.clean(world.workspace, limits, now).kinds
        assert scores.problem == features.problem == ""
        left = {path.name for path in layout.online_features.glob("*.keyed")}
        assert {name for name in left if str(ago(2)) in name} == {name for name in before if str(ago(2)) in name}
    assert len(left) in {1, 2}
    assert reasons(scores)["a user's history of scores shows it"] == 2
    assert len(list(layout.online_scores.glob("*.keyed"))) == 2


def labelled(world, day, ids):
    labels = pa.table({"user_id": ids, "churned": pa.array([1] * len(ids), pa.int8())})
    world.layout.labels.write(day + timedelta(days=WINDOW), labels)


def test_outcomes_outlive_the_lists_and_logs_that_they_were_joined_from(world):
    days, ids = [ago(age) for age in (16, 15, 14)], ["a", "b", "c"]
    log_folder = Published(world.workspace.settings.paths).prediction_log
    for day in days:
        rows = "".join(f"{name},m,0.{n + 1}\n" for n, name in enumerate(ids))
        put(world.layout.predictions_file(day), text=f"user_id,model_version,churn_risk\n{rows}")
        labelled(world, day, ids)
        for later, user in ((0, "a"), (1, "b"), (2, "c")):
            at = datetime.combine(day + timedelta(days=later), datetime.min.time(), NOW.tzinfo)
            log = PredictionLog(log_folder, clock=at.timestamp, host=f"{day:%d}")
            log.record("r", user, "m", 0.5, np.zeros(1).tobytes(), day, by_id=True)
            assert log.close()
    for before in (ago(18), ago(17)):
        labelled(world, before, ids)
    joined, problems = outcomes.bring_up_to_date(world.workspace, ago(18), days[-1])
    assert (joined, problems) == ([ago(18), ago(17), *days], [])
    table = outcomes.outcomes_table(world.layout)
    before = {day: table.read(day).to_pylist() for day in days}
    assert [row["source"] for row in before[days[0]]] == ["batch"] * 3 + ["http"] * 3

    told = world.clean(predictions_days=14, prediction_log_days=14)
    assert {one.kind: one.items for one in told.kinds} == {"predictions": 2, "prediction log": 3}
    assert outcomes.bring_up_to_date(world.workspace, ago(18), days[-1]) == ([], [])
    assert {day: table.read(day).to_pylist() for day in days} == before

    labelled(world, days[0], ids[:2])
    assert outcomes.bring_up_to_date(world.workspace, days[0], days[-1])[0] == [days[0]]
    assert {row["user_id"] for row in table.read(days[0]).to_pylist() if row["source"] == "batch"} == {"a", "b"}


def test_a_file_that_goes_meanwhile_is_no_fault(world, monkeypatch):
    world.fill()
    stat, gone = Path.stat, world.layout.predictions_file(ago(90))

    def vanishing(path, **options):
        if path == gone:
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert world.clean(predictions_days=30).problems == []


def test_progress_is_told_for_each_kind_that_has_something_to_do(world):
    world.fill()
    said = []
    limits = Limits.chosen(world.workspace.settings.retention, predictions_days=30, quarantine_days=3000)
    cleaning.clean(world.workspace, limits, NOW, tell=said.append)
    assert said == ["predictions: 0 of 14 removed"]


def test_nothing_is_left_locked_and_the_lock_is_no_file_of_ours(world):
    world.fill()
    world.clean(predictions_days=30)
    with exclusive(world.layout, "backing up", timeout=0):
        assert (world.layout.artifacts / LOCK).exists()


def test_the_result_is_plain_for_machines(world):
    world.fill()
    cleaned = world.clean(quarantine_days=100, dry_run=True)
    assert json.loads(json.dumps(cleaned.as_json(), default=str)) == {
        "dry_run": True,
        "items": 3,
        "bytes": 21,
        "kinds": [
            {
                "kind": "quarantine",
                "limit": "100 days",
                "items": 3,
                "bytes": 21,
                "oldest": str(ago(300)),
                "newest": str(ago(121)),
                "kept": [],
                "problem": None,
            }
        ],
    }
    assert cleaned.summary == "3 items, 21 B would be removed (dry run: nothing was)"
    assert TODAY - ago(100) == timedelta(days=100)

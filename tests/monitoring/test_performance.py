"""The report of a day, on a small deployment whose world may change."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from builders import changed, files_of
from performance_world import HOLDOUT, START, WINDOW, World, after, scorer_of, shuffled

from churn_assets.layout import days_between
from churn_assets.monitoring.performance import rescored
from churn_assets.monitoring.performance.build import report_day
from churn_assets.monitoring.performance.outcomes import outcomes_table

DAY = after(30)
NEWEST = DAY - timedelta(days=WINDOW)
FIRST = 23 - 6


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.promote()
    return made


def report(world, day=DAY):
    return report_day(world.workspace, day).report


def said(found):
    return "\n".join(found.reasons)


def test_a_model_that_is_right_is_told_to_be(world):
    world.live(FIRST, 23)
    world.score(DAY)
    found = report(world)
    assert found.status == "OK"
    assert found.alert is None
    assert found.what_to_do == "Nothing."
    judged = found.judged
    assert (judged.first_date, judged.last_date, judged.days, judged.rescored_days) == (after(FIRST), NEWEST, 7, 0)
    assert (found.rows, found.users) == (7 * 400, 400)
    assert found.expected.roc_auc == HOLDOUT["roc_auc"]
    assert abs(found.pr_auc - found.expected.pr_auc) < 0.1
    assert found.intervals["pr_auc"][0] < found.pr_auc < found.intervals["pr_auc"][1]
    assert found.estimated.as_of_date == DAY
    assert found.estimated.labels_mature_on == found.labels_mature_on == DAY + timedelta(days=WINDOW)
    assert "concept drift" in found.estimated.caution


def test_the_files_say_what_the_report_says(world):
    world.live(FIRST, 23)
    found = report(world)
    layout = world.layout
    content = json.loads(layout.performance_file(DAY).read_text())
    assert content == json.loads(layout.latest_performance.read_text()) == json.loads(json.dumps(found.as_json()))
    needed = {
        "status", "headline", "reasons", "what_to_do", "as_of_date", "model_version", "pr_auc", "roc_auc", "brier",
        "ece", "precision_at_50", "rows", "positives", "intervals", "judged", "expected", "estimated",
        "labels_mature_on", "weeks", "alert",
    }  # fmt: skip
    assert needed <= content.keys()
    assert content["as_of_date"] == DAY.isoformat()
    assert content["judged"]["last_date"] == NEWEST.isoformat()
    assert found.headline in layout.performance_page(DAY).read_text()


def test_twice_is_the_same_bytes(world):
    world.live(FIRST, 23)
    report(world)
    before = {name: content for name, (content, _) in files_of(world.folder).items()}
    report(world)
    assert {name: content for name, (content, _) in files_of(world.folder).items()} == before


def test_people_who_change_at_unchanged_features_raise_an_alert(world):
    world.live(FIRST, 23, lead=shuffled)
    world.score(DAY)
    found = report(world)
    assert found.status == "FAIL"
    assert found.alert.id == f"candidate_hgb_1@performance@{DAY}"
    assert found.alert.since == DAY
    assert "beyond the limit and beyond chance" in found.reasons[0]
    assert "churn retrain" in found.what_to_do
    assert found.estimated.expected.roc_auc > 0.7, "the estimate is blind to it"


def test_an_alert_keeps_its_first_day_until_it_ends_or_another_model_serves(world):
    world.live(FIRST, 25, lead=shuffled)
    first = report(world, after(30))
    assert report(world, after(31)).alert == first.alert
    assert report(world, after(32)).alert == first.alert
    assert report(world, after(31)).alert == first.alert, "running a day again changes nothing"
    world.promote("candidate_hgb_2", scorer_of(1.4))
    world.score(after(26), "candidate_hgb_2", scorer_of(1.4))
    world.mature(after(26), lead=shuffled)
    assert report(world, after(33)).alert.id == f"candidate_hgb_2@performance@{after(33)}"


def test_an_alert_that_ended_comes_back_as_another(world):
    world.live(FIRST, 23, lead=shuffled)
    assert report(world, after(30)).alert
    world.live(24, 30)
    assert report(world, after(37)).alert is None
    world.live(31, 37, lead=shuffled)
    world.today = after(50)
    assert report(world, after(44)).alert.since == after(44)


def test_fewer_leavers_lower_pr_auc_and_alarm_nobody(world):
    world.live(FIRST, 23, lead=lambda risk: risk * 0.2 / (1 - risk + risk * 0.2))
    found = report(world)
    assert found.pr_auc < HOLDOUT["pr_auc"] - 0.1
    assert found.status == "WARN"
    assert found.alert is None
    assert "probabilities are off" in said(found)
    assert found.expected.pr_auc == pytest.approx(found.pr_auc, abs=0.1)


@pytest.mark.parametrize("left", [True, False])
def test_one_class_says_nothing(world, left):
    world.live(FIRST, 23, left=left)
    found = report(world)
    assert (found.status, found.pr_auc, found.alert) == ("UNKNOWN", None, None)
    assert found.brier is not None
    assert str(NEWEST) in found.reasons[0]


def test_too_few_leavers_say_nothing(world):
    world.live(23, 23, lead=lambda risk: risk / 20)
    found = report(world)
    assert found.status == "UNKNOWN"
    assert "fewer than 20" in found.reasons[0]


def test_nothing_scored_and_nothing_known_is_told(world):
    found = report(world)
    assert (found.status, found.rows, found.weeks, found.estimated) == ("UNKNOWN", 0, [], None)
    assert found.labels_mature_on is None
    assert "churn score" in found.what_to_do
    assert "churn_labels" in said(found)


def test_predictions_whose_labels_have_not_matured_are_estimated_only(world):
    world.live(24, 30)
    found = report(world, after(30))
    assert (found.status, found.rows) == ("UNKNOWN", 0)
    assert found.estimated.expected.pr_auc > 0.3
    assert found.labels_mature_on == after(37)
    assert str(after(37)) in found.what_to_do


def test_labels_to_come_are_not_looked_at(world):
    world.live(FIRST, 30)
    report(world, after(37))
    assert report(world, DAY).judged.last_date == NEWEST
    assert report(world, DAY).weeks[-1].days == (NEWEST - report(world, DAY).weeks[-1].first_date).days + 1


def test_without_a_model_the_weeks_are_told_and_nothing_is_judged(tmp_path):
    world = World(tmp_path)
    world.live(FIRST, 23)
    found = report(world)
    assert (found.status, found.model_version, found.alert) == ("UNKNOWN", None, None)
    assert "churn seed" in found.reasons[0]
    assert found.pr_auc is not None
    assert len(found.weeks) == 2


def test_a_day_to_come_is_told_and_is_not_the_newest(world):
    world.live(FIRST, 23)
    report(world)
    before = world.layout.latest_performance.read_bytes()
    found = report(world, world.today + timedelta(days=3))
    assert found.status == "UNKNOWN"
    assert "has not ended" in said(found)
    assert world.layout.latest_performance.read_bytes() == before


def test_an_older_day_is_not_the_latest(world):
    world.live(FIRST, 24)
    report(world, after(31))
    report(world, after(30))
    assert json.loads(world.layout.latest_performance.read_text())["as_of_date"] == after(31).isoformat()


@pytest.mark.parametrize("content", ["", "{", '{"as_of_date": "never"}', "[]"])
def test_a_damaged_report_of_the_day_before_stops_nothing(world, content):
    world.live(FIRST, 23, lead=shuffled)
    for path in (world.layout.performance_file(after(29)), world.layout.latest_performance):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert report(world).alert.since == DAY
    assert json.loads(world.layout.latest_performance.read_text())["as_of_date"] == DAY.isoformat()


def test_partners_that_were_not_found_are_counted(world):
    for number in range(FIRST, 24):
        world.score(after(number), rows=390)
        world.mature(after(number), rows=395)
    found = report(world)
    assert found.tally.unscored > 0
    assert "have no prediction" in said(found)
    assert found.status == "OK"


def test_a_damaged_list_is_told_and_the_other_days_are_judged(world):
    world.live(FIRST, 23)
    world.layout.predictions_file(NEWEST).write_text("nothing of use\n")
    found = report(world)
    assert found.judged.days == 6
    assert world.layout.predictions_file(NEWEST).name in said(found)


def test_what_the_service_answered_stands_beside(world):
    world.live(FIRST, 23)
    assert report(world).http is None
    world.mature(after(22), left=True)
    noon = datetime(2024, 1, 23, 12, tzinfo=UTC)
    world.serve([(f"u{n:04d}", n / 60, noon, after(22)) for n in range(50)])
    found = report(world)
    assert (found.http.source, found.http.rows, found.http.positives) == ("http", 50, 50)
    assert found.weeks[-1].http == found.http
    assert found.rows == 7 * 400


def test_an_empty_day_counts_for_nothing(world):
    world.live(FIRST, 22)
    world.score(NEWEST, rows=0)
    world.mature(NEWEST)
    found = report(world)
    assert (found.judged.days, found.rows) == (7, 6 * 400)
    assert found.status == "OK"


def test_the_model_that_serves_is_judged_by_itself(world):
    wrong = scorer_of(-1.5)
    for number in range(FIRST, 24):
        world.score(after(number), "candidate_hgb_0", wrong)
        world.mature(after(number))
    found = report(world)
    assert found.status == "OK"
    assert found.judged.rescored_days == 7
    assert found.judged.performance.roc_auc > 0.7
    assert found.roc_auc < 0.5
    assert "other models" in said(found)
    kept = files_of(world.folder / "data")
    assert report(world) == found
    assert changed(kept, files_of(world.folder / "data")) == set()


def test_of_very_many_users_some_are_scored_again(world, monkeypatch):
    monkeypatch.setattr(rescored, "MOST_USERS", 150)
    world.live(FIRST, 23)
    world.promote("candidate_hgb_2", scorer_of(1.4))
    found = report(world)
    assert found.judged.performance.rows == 7 * 134
    assert found.rows == 7 * 400
    assert found.status == "OK"


def test_a_model_that_cannot_score_old_features_is_judged_by_what_was_said(world):
    world.live(FIRST, 23)
    world.promote("candidate_hgb_2", scorer_of(feature="louder"))
    found = report(world)
    assert (found.model_version, found.judged.rescored_days) == ("candidate_hgb_2", 0)
    assert found.judged.performance.pr_auc == found.pr_auc


def test_days_scored_again_are_not_those_of_a_model_before(world):
    world.live(FIRST, 23)
    world.promote("candidate_hgb_2", scorer_of(-1.5))
    assert report(world).judged.performance.roc_auc < 0.5
    for number in range(FIRST, 24):
        world.layout.user_features.path(after(number)).unlink()
    world.promote("candidate_hgb_3", scorer_of(1.4))
    found = report(world)
    assert (found.judged.rescored_days, found.status) == (0, "OK")


def test_weeks_begin_on_mondays_and_know_their_models(world):
    world.live(8, 17)
    for number in range(18, 24):
        world.score(after(number), "candidate_hgb_2", scorer_of(1.4))
        world.mature(after(number))
    weeks = report(world).weeks
    assert [week.week for week in weeks] == ["2024-W02", "2024-W03", "2024-W04"]
    assert [week.first_date.weekday() for week in weeks] == [0, 0, 0]
    assert [(week.days, week.is_complete) for week in weeks] == [(6, True), (7, True), (3, False)]
    versions = [[part.model_version for part in week.by_version] for week in weeks]
    assert versions == [["candidate_hgb_1"], ["candidate_hgb_1", "candidate_hgb_2"], ["candidate_hgb_2"]]
    assert sum(part.rows for part in weeks[1].by_version) == weeks[1].batch.rows
    assert weeks[0].by_version[0].pr_auc == weeks[0].batch.pr_auc


def test_a_week_that_is_over_is_not_computed_again(world, monkeypatch):
    world.live(8, 23)
    first = report(world)
    read = []
    table = type(outcomes_table(world.layout))
    original = table.read
    monkeypatch.setattr(table, "read", lambda self, day, *more: read.append(day) or original(self, day, *more))
    assert report(world) == first
    assert set(read) == set(days_between(after(FIRST), NEWEST)), "the days that are judged, and no others"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"form": 1}', b"[]"])
def test_a_damaged_week_is_computed_again(world, content):
    world.live(8, 23)
    first = report(world)
    kept = sorted((outcomes_table(world.layout).folder / "weeks").glob("*.json"))
    before = [path.read_bytes() for path in kept]
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(content)
    assert report(world) == first
    assert [path.read_bytes() for path in kept] == before


def test_late_events_change_the_week_they_belong_to(world):
    world.live(8, 23)
    first = report(world)
    world.mature(after(9), left=True)
    second = report(world)
    assert second.weeks[0].batch.positives > first.weeks[0].batch.positives
    assert second.weeks[1:] == first.weeks[1:]


def test_only_so_many_weeks_are_told(world):
    world.live(1, 23)
    assert len(report(world).weeks) == 3
    world.performance |= {"weeks": 1}
    assert [week.week for week in report(world).weeks] == ["2024-W04"]


def test_a_still_world_stays_quiet(world):
    world.live(0, 32)
    statuses = [report(world, after(number)).status for number in range(7, 40)]
    assert "FAIL" not in statuses
    assert statuses.count("OK") > 25


def test_a_holdout_without_numbers_is_no_yardstick(tmp_path):
    world = World(tmp_path)
    world.promote(metrics={"roc_auc": None, "pr_auc": "unknown"})
    world.live(FIRST, 23)
    found = report(world)
    assert found.expected.roc_auc is None
    assert found.status == "OK"
    assert "nothing is known to hold it against" in said(found)


def test_the_first_days_of_a_history_ask_for_no_labels(world):
    world.score(START)
    assert "churn_labels" not in said(report(world, START))

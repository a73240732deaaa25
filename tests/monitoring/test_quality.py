"""A broken feed is told from people who changed: what must alarm, for how long, and what never may."""

import datetime as dt
import math

import msgspec
import pytest
from feed_profiles import (
    SETTINGS,
    day,
    doubled,
    empty,
    faults,
    feed,
    kinds,
    nulled,
    part,
    profile,
    replaced,
    rescaled,
    times,
    verdicts,
    with_type,
    without_type,
)
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from churn_assets.ingest.synthetic import World, events_of
from churn_assets.monitoring.feed_profile import profiles
from churn_assets.monitoring.quality import FeedVerdict, judge_feed, remembered
from churn_assets.settings import QualitySettings, Settings
from churn_assets.workspace import Workspace

EPOCH = dt.date(2025, 1, 1)
ALL = ("volume_low", None, None)


@pytest.fixture(scope="module")
def usual():
    """A hundred and twenty ordinary days."""
    return feed(120)


def broken_from(whole, first, last, change):
    """The feed with the days from `first` to `last` changed."""
    return [change(one) if first <= n <= last else one for n, one in enumerate(whole)]


def generated(folder, first, days, **world):
    """Profiles of days of the generated platform, from raw files."""
    paths = {"data": folder / "data", "artifacts": folder / "artifacts"}
    workspace = Workspace(Settings.model_validate({"paths": paths}))
    wanted = [EPOCH + dt.timedelta(days=n) for n in range(first, first + days)]
    for when in wanted:
        workspace.layout.raw_events.write(when, events_of(World(**({"epoch": EPOCH, "users": 2000} | world)), when))
    return profiles(workspace, wanted)


def scenario(folder, name, *, last=None, strength=1.0):
    """Verdicts on the generated platform, day by day from the first day of a scenario on."""
    begin = EPOCH + dt.timedelta(days=120)
    until = None if last is None else begin + dt.timedelta(days=last)
    found = generated(folder, 60, 105, scenario=name, drift=strength, drift_from=begin, drift_until=until)
    return verdicts(found)[60:]


def broken(judged):
    """Positions of the broken days."""
    return [n for n, verdict in enumerate(judged) if verdict.status == "FAULT"]


def test_an_ordinary_year_of_the_generated_platform_is_never_broken(tmp_path):
    year = generated(tmp_path, 0, 365)
    assert [verdict.headline for verdict in verdicts(year) if verdict.status != "OK"] == []


def test_an_ordinary_feed_is_never_broken(usual):
    assert faults(usual) == []


@pytest.mark.parametrize("users", [25, 200])
def test_a_small_platform_is_not_broken_by_chance(tmp_path, users):
    assert faults(generated(tmp_path, 0, 365, users=users, seed=3)) == []


@pytest.mark.parametrize("name", ["gradual", "countries", "new_source", "season", "concept"])
def test_people_who_change_are_no_fault_of_the_feed(tmp_path, name):
    assert broken(scenario(tmp_path, name)) == []


def test_calmer_people_are_no_fault_of_the_feed(tmp_path):
    assert broken(scenario(tmp_path, "behaviour", strength=0.4)) == []


def test_half_of_the_events_missing_for_two_days_is_told_on_both_and_not_afterwards(tmp_path):
    judged = scenario(tmp_path, "half_missing", last=1)
    assert broken(judged) == [0, 1]
    assert {found.kind for verdict in judged for found in verdict.findings} == {"volume_low"}


def test_minutes_in_seconds_are_told_each_day_as_long_as_it_lasts(tmp_path):
    judged = scenario(tmp_path, "minutes_in_seconds", last=29)
    assert broken(judged) == list(range(30))
    assert all(kinds(verdict) == {("scale", None, "watch_minutes")} for verdict in judged[:30])
    assert "60" in judged[0].headline
    assert "convert" in judged[0].findings[0].what_to_do


@pytest.mark.parametrize("factor", [60.0, 1 / 60.0, 0.0])
def test_another_unit_is_a_fault_both_ways(usual, factor):
    judged = judge_feed(rescaled(usual[100], "watch_minutes", factor), usual[:100], SETTINGS)
    assert kinds(judged) == {("scale", None, "watch_minutes")}


def test_another_unit_in_a_part_of_the_rows_shows_in_the_largest_values(usual):
    column = usual[100].columns["watch_minutes"]
    mixed = {**usual[100].columns, "watch_minutes": replaced(column, p90=column.p90 * 40)}
    judged = judge_feed(replaced(usual[100], columns=mixed), usual[:100], SETTINGS)
    assert kinds(judged) == {("scale", None, "watch_minutes")}
    assert "90th percentile" in judged.headline


def test_a_median_that_moves_by_less_than_the_limit_is_no_other_unit(usual):
    assert judge_feed(rescaled(usual[100], "watch_minutes", 3.0), usual[:100], SETTINGS).status == "OK"


def test_a_column_that_is_null_all_at_once_is_a_fault_as_long_as_it_lasts(usual):
    judged = verdicts(broken_from(usual, 70, 99, lambda one: nulled(one, "quiz_score")))
    assert broken(judged) == list(range(70, 100))
    assert kinds(judged[70]) == {("nulls", "quiz_attempt", "quiz_score")}
    assert "quiz_score is missing in 100% of quiz_attempt rows; 0% is usual." in judged[70].headline


def test_a_column_of_several_types_is_one_finding(usual):
    def carried(one):
        types = {name: replaced(kind, filled={"event_count": kind.rows}) for name, kind in one.types.items()}
        return replaced(one, types=types)

    judged = judge_feed(usual[100], [carried(one) for one in usual[:100]], SETTINGS)
    assert kinds(judged) == {("nulls", "video_watch", "event_count")}
    assert judged.findings[0].words.endswith("Likewise: quiz_attempt, login, enroll.")


def test_a_column_that_has_always_been_half_empty_is_no_fault(usual):
    def half(one):
        kind = one.types["quiz_attempt"]
        types = {**one.types, "quiz_attempt": replaced(kind, filled={"quiz_score": kind.rows // 2})}
        return replaced(one, types=types)

    assert faults([half(one) for one in usual]) == []


@pytest.mark.parametrize("column", ["user_id", "event_type", "event_time"])
def test_rows_without_a_user_a_type_or_a_time_are_a_fault_from_the_first_day(usual, column):
    lost = replaced(usual[100], missing={**usual[100].missing, column: usual[100].rows // 2})
    assert ("nulls", None, column) in kinds(judge_feed(lost, usual[:100], SETTINGS))
    assert ("nulls", None, column) in kinds(judge_feed(lost, [], SETTINGS))


def test_doubled_rows_are_duplicates_and_no_volume(usual):
    judged = verdicts(broken_from(usual, 80, 82, doubled))
    assert broken(judged) == [80, 81, 82]
    assert kinds(judged[80]) == {("duplicates", None, None)}


def test_a_feed_that_stops_at_noon_is_cut_off(usual):
    noon = replaced(part(usual[100], 0.5), late_event=43_000.0, last_event=43_199.0)
    judged = judge_feed(noon, usual[:100], SETTINGS)
    assert kinds(judged) == {ALL, ("cut_off", None, None)}
    assert "11:59 UTC" in judged.findings[-1].words


def test_a_feed_that_loses_only_the_evening_is_cut_off(usual):
    judged = judge_feed(replaced(usual[100], late_event=64_000.0, last_event=64_790.0), usual[:100], SETTINGS)
    assert kinds(judged) == {("cut_off", None, None)}


def test_a_quiet_evening_with_a_straggler_is_not_cut_off(usual):
    assert judge_feed(replaced(usual[100], late_event=64_000.0), usual[:100], SETTINGS).status == "OK"


def test_a_source_that_knows_dates_only_is_never_cut_off(usual):
    dated = [replaced(one, late_event=0.0, last_event=0.0) for one in usual]
    assert faults(dated) == []


def test_an_empty_day_is_a_fault_and_the_next_one_is_stale(usual):
    judged = verdicts(broken_from(usual, 80, 95, empty))
    assert broken(judged) == list(range(80, 96))
    assert kinds(judged[80]) == {("empty", None, None)}
    assert all(kinds(verdict) == {("stale", None, None)} for verdict in judged[81:96])
    assert f"since {day(79)}" in judged[95].headline


def test_the_first_day_of_all_may_not_be_empty(usual):
    assert kinds(judge_feed(empty(usual[0]), [], SETTINGS)) == {("empty", None, None)}


def test_a_weekday_on_which_nobody_ever_comes_may_be_empty():
    week = feed(60, week=(1, 1, 1, 1, 1, 0, 0))
    assert [one.rows for one in week if one.day.weekday() > 4] == [0] * len(week[5::7] + week[6::7])
    assert [n for n in faults(week) if n >= 14] == []


def test_one_person_is_enough_where_hardly_anybody_comes():
    few = feed(100, users=2, seed=4)
    assert [n for n in faults(few) if n >= 7] == []
    assert judge_feed(profile(day(100), {"login": 1}, 1), few, SETTINGS).status == "OK"
    assert judge_feed(empty(few[-1]), few[:-1], SETTINGS).status == "OK"


def test_one_person_is_a_fault_where_hundreds_come(usual):
    assert ALL in kinds(judge_feed(profile(day(100), {"login": 1}, 1), usual[:100], SETTINGS))


def test_a_type_that_vanishes_is_a_fault_until_it_has_stayed_away(usual):
    judged = verdicts(broken_from(usual, 90, 119, lambda one: without_type(one, "enroll")))
    assert broken(judged) == list(range(90, 97))
    assert kinds(judged[90]) == {("volume_low", "enroll", None)}


def test_a_rare_type_may_be_missing(usual):
    assert "support_ticket" in usual[100].types
    assert judge_feed(without_type(usual[100], "support_ticket"), usual[:100], SETTINGS).status == "OK"


def test_a_type_that_has_its_days_may_be_missing_on_others(usual):
    deadlines = [one if n % 7 < 4 or n % 3 else without_type(one, "enroll") for n, one in enumerate(usual)]
    assert [n for n in faults(deadlines) if n >= 60] == []


def test_a_new_type_and_a_new_column_are_fine(usual):
    assert faults(broken_from(usual, 90, 119, lambda one: with_type(one, "chat", 300))) == []


@pytest.mark.parametrize(
    "level",
    [
        lambda n: math.exp(0.02 * n),
        lambda n: math.exp(-0.02 * n),
        lambda n: 1.0 + 0.35 * math.sin(2 * math.pi * n / 365),
    ],
    ids=["doubles every five weeks", "halves every five weeks", "yearly swing"],
)
def test_slow_change_is_never_a_fault(level):
    assert faults(feed(300, level=level)) == []


@pytest.mark.parametrize("share", [0.7, 1.5, 2.0])
def test_what_people_may_do_from_one_day_to_the_next_is_no_fault(share):
    assert faults(feed(200, level=lambda n: share if n >= 100 else 1.0)) == []


@pytest.mark.parametrize("week", [(1, 1, 1, 1, 1, 0.2, 0.1), (0.3, 0.3, 0.3, 0.3, 0.3, 2, 2)])
def test_a_strong_rhythm_of_the_week_is_no_fault_even_in_the_first_weeks(week):
    assert faults(feed(120, week=week)) == []


def test_with_such_a_rhythm_half_of_a_strong_day_is_a_fault():
    weekly = feed(120, week=(1, 1, 1, 1, 1, 0.2, 0.1))
    assert ALL in kinds(judge_feed(part(weekly[112], 0.45), weekly[:112], SETTINGS))


@pytest.mark.parametrize("week", [(1,) * 7, (1, 1, 1, 1, 1, 0.5, 0.4)])
@pytest.mark.parametrize(("share", "kind"), [(0.4, "volume_low"), (4.0, "volume_high")])
def test_a_new_level_for_good_is_a_fault_until_it_has_settled(week, share, kind):
    judged = verdicts(feed(160, week=week, level=lambda n: share if n >= 100 else 1.0))
    assert broken(judged) == list(range(100, 107))
    assert kinds(judged[100]) >= {(kind, None, None)}
    assert judged[107].settled[0] is None
    assert "new volume has lasted" in judged[107].headline


def test_the_end_of_a_long_outage_is_no_fault():
    assert [n for n in faults(feed(160, level=lambda n: 0.2 if 100 <= n < 130 else 1.0)) if n >= 107] == []


def test_too_few_days_before_are_said(usual):
    judged = judge_feed(part(usual[6], 0.1), usual[:6], SETTINGS)
    assert (judged.status, judged.days_before) == ("OK", 6)
    assert "6 days to compare with, 7 are needed" in judged.headline
    assert judge_feed(part(usual[7], 0.1), usual[:7], SETTINGS).status == "FAULT"


def test_days_after_the_day_do_not_count(usual):
    assert judge_feed(usual[50], usual[51:], SETTINGS).days_before == 0


def test_limits_come_from_the_settings(usual):
    less = part(usual[100], 0.5)
    assert judge_feed(less, usual[:100], QualitySettings(min_volume=0.3)).status == "OK"
    assert judge_feed(less, usual[:100], QualitySettings(min_volume=0.0)).status == "OK"
    assert judge_feed(less, usual[:100], QualitySettings(baseline_days=3)).status == "FAULT"


def test_every_finding_says_what_where_and_what_to_do(usual):
    judged = judge_feed(nulled(part(usual[100], 0.4), "quiz_score"), usual[:100], SETTINGS)
    assert judged.headline.startswith("The feed looks broken. ")
    assert judged.headline.endswith("And 1 more.")
    assert all(found.words.endswith(".") and found.what_to_do.endswith(".") for found in judged.findings)
    assert all(found.value < found.limit <= found.usual for found in judged.findings if found.kind == "volume_low")


def test_a_verdict_survives_json(usual):
    judged = judge_feed(part(usual[100], 0.4), usual[:100], SETTINGS)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(judged.as_json())), FeedVerdict) == judged


def test_windows_remember_broken_days(usual):
    judged = verdicts(broken_from(usual, 80, 81, lambda one: part(one, 0.5)))
    assert remembered(judged, day(85), 7) == [day(80), day(81)]
    assert remembered(judged[::-1], day(87), 7) == [day(81)]
    assert remembered(judged, day(88), 7) == []
    assert remembered(judged, day(79), 30) == []


def test_windows_forget_what_turned_out_to_be_people():
    judged = verdicts(feed(130, level=lambda n: 0.4 if n >= 100 else 1.0))
    assert remembered(judged, day(106), 30) == [day(n) for n in range(100, 107)]
    assert remembered(judged, day(107), 30) == []


def test_windows_do_not_forget_another_unit(usual):
    judged = verdicts(broken_from(usual, 80, 81, lambda one: rescaled(one, "watch_minutes", 60.0)))
    assert remembered(judged, day(105), 30) == [day(80), day(81)]


@given(st.randoms(use_true_random=False), st.integers(8, 119), st.sampled_from([1.0, 0.5]))
@how(max_examples=40)
def test_the_order_of_the_days_before_does_not_matter(random, n, share):
    whole = feed(120)
    shuffled = whole[:n]
    random.shuffle(shuffled)
    today = part(whole[n], share)
    assert judge_feed(today, shuffled, SETTINGS) == judge_feed(today, whole[:n], SETTINGS)


@given(st.integers(2, 1000), st.integers(30, 119), st.floats(0.05, 1.0))
@how(max_examples=40)
def test_counting_everything_so_many_times_changes_no_verdict_on_volume(factor, n, share):
    whole = feed(120)
    today = part(whole[n], share)
    more = judge_feed(times(today, factor), [times(one, factor) for one in whole[:n]], SETTINGS)
    assert _about_all(more) == _about_all(judge_feed(today, whole[:n], SETTINGS))


@given(st.integers(30, 119), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
@how(max_examples=40)
def test_the_fewer_events_come_the_rather_it_is_a_fault(n, one, other):
    whole = feed(120)
    less, more = (judge_feed(part(whole[n], share), whole[:n], SETTINGS) for share in sorted((one, other)))
    assert ALL not in kinds(more) or ALL in kinds(less)


def _about_all(verdict):
    return [(found.kind, found.event_type) for found in verdict.findings if found.event_type is None]

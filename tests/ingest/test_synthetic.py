"""The generated source: any day alone and again, within the contract of raw data, with decay before leaving."""

import dataclasses
import datetime as dt
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.ingest.synthetic import EVENT_SCHEMA, USER_SCHEMA, World, events_of, users_as_of
from churn_assets.ingest.synthetic.lifecycle import ABRUPT, FADING, stays_on, ways_of_leaving
from churn_assets.ingest.synthetic.world import people_as_of

EPOCH = dt.date(2025, 1, 1)
WORLD = World(epoch=EPOCH, users=600)
ACTIVITY = ["login", "video_watch", "quiz_attempt", "enroll", "support_ticket"]
PAYMENTS = ["payment_success", "payment_failed"]
DAYS = 190


def after(days):
    return EPOCH + dt.timedelta(days=days)


def person(events):
    return pc.cast(pc.utf8_slice_codeunits(events["user_id"], 1), pa.int64()).to_numpy()


def of_type(events, *types):
    return events.filter(pc.is_in(events["event_type"], pa.array(types)))


@pytest.fixture(scope="module")
def history():
    """Every day of the world, made in order."""
    return [events_of(WORLD, after(day)) for day in range(DAYS)]


@pytest.fixture(scope="module")
def events(history):
    return pa.concat_tables(history)


@pytest.fixture(scope="module")
def active(history):
    """Whether a person was active on a day: days × people."""
    grid = np.zeros((DAYS, users_as_of(WORLD, after(DAYS - 1)).num_rows), dtype=bool)
    for day, table in enumerate(history):
        grid[day, person(of_type(table, *ACTIVITY))] = True
    return grid


def churn_at(active, day):
    """The people active in the 30 days up to `day`, and which of them are not in the 30 after it."""
    at_risk = np.flatnonzero(active[day - 29 : day + 1].any(axis=0))
    return at_risk, ~active[day + 1 : day + 31, at_risk].any(axis=0)


def test_a_day_alone_is_the_day_in_sequence(history):
    fresh = World(epoch=EPOCH, users=600)
    for day in (120, 0, 189, 31, 1, 77):
        assert events_of(fresh, after(day)).equals(history[day])


def test_equal_worlds_are_equal_and_another_seed_is_another_world():
    day = after(40)
    assert events_of(WORLD, day).equals(events_of(dataclasses.replace(WORLD), day))
    assert not events_of(WORLD, day).equals(events_of(dataclasses.replace(WORLD, seed=8), day))


@given(first=st.integers(-365, 400), later=st.integers(0, 300))
@settings(max_examples=25, deadline=None)
def test_a_later_day_only_adds_users(first, later):
    before, now = users_as_of(WORLD, after(first)), users_as_of(WORLD, after(first + later))
    assert now.slice(0, before.num_rows).equals(before)
    assert pc.all(pc.greater(now["signup_date"].slice(before.num_rows), pa.scalar(after(first)))).as_py() is not False


def test_users_have_the_columns_types_and_values_of_the_contract():
    users = users_as_of(WORLD, after(150))
    assert users.schema == USER_SCHEMA
    assert users.num_rows == WORLD.users
    assert sum(column.null_count for column in users.columns) == 0
    assert users["user_id"].to_pylist()[:2] == ["u000000", "u000001"]
    assert len(set(users["user_id"].to_pylist())) == WORLD.users
    assert set(users["plan"].to_pylist()) == {"free", "basic", "pro"}
    assert users["is_paid"].equals(pc.not_equal(users["plan"], "free"))
    assert after(-365) <= pc.min(users["signup_date"]).as_py() < EPOCH
    assert pc.max(users["signup_date"]).as_py() <= after(150)


def test_people_sign_up_at_a_steady_rate_beyond_the_nominal_history():
    totals = [users_as_of(WORLD, after(day)).num_rows for day in (0, 100, 200, 300, 400)]
    assert np.diff(totals) == pytest.approx([WORLD.users * 100 / 515] * 4, rel=0.1)


def test_events_have_the_columns_types_and_ranges_of_the_contract(events):
    assert events.schema == EVENT_SCHEMA
    assert set(events["event_type"].to_pylist()) == {*ACTIVITY, *PAYMENTS}
    for column, types in {
        "watch_minutes": ["video_watch"],
        "quiz_score": ["quiz_attempt"],
        "amount": PAYMENTS,
    }.items():
        filled = pc.is_valid(events[column])
        assert filled.equals(pc.is_in(events["event_type"], pa.array(types)))
    assert pc.min(events["watch_minutes"]).as_py() > 0
    assert pc.max(events["watch_minutes"]).as_py() <= 1440
    assert pc.min(events["quiz_score"]).as_py() >= 0
    assert pc.max(events["quiz_score"]).as_py() <= 100
    assert pc.min(events["amount"]).as_py() > 0
    assert not any(pc.any(pc.is_nan(events[name])).as_py() for name in ("watch_minutes", "quiz_score", "amount"))


def test_ids_are_unique_over_all_days_and_exact_as_floats(events):
    assert pc.count_distinct(events["event_id"]).as_py() == events.num_rows
    assert pc.max(events["event_id"]).as_py() < 2**53


def test_events_lie_within_their_day_in_order(history):
    for day, table in enumerate(history):
        assert set(pc.cast(table["event_time"], pa.date32()).to_pylist()) == {after(day)}
        assert table.equals(table.sort_by([("event_time", "ascending"), ("event_id", "ascending")]))


def test_nobody_does_anything_before_signing_up(events):
    signup = users_as_of(WORLD, after(DAYS - 1))["signup_date"].take(pa.array(person(events)))
    assert pc.all(pc.less_equal(signup, pc.cast(events["event_time"], pa.date32()))).as_py()


def test_nothing_happens_before_the_epoch():
    assert events_of(WORLD, after(-1)).equals(EVENT_SCHEMA.empty_table())
    assert users_as_of(WORLD, after(-1)).num_rows > 0


def test_a_world_of_one_person_works():
    tiny = World(epoch=EPOCH, users=1)
    tables = [events_of(tiny, after(day)) for day in (0, 100, 200, 500)]
    assert all(table.schema == EVENT_SCHEMA for table in tables)
    assert users_as_of(tiny, after(150)).num_rows == 1
    assert users_as_of(tiny, after(-400)).num_rows == 0


def test_only_paid_plans_pay_about_once_a_month_and_at_their_price(events):
    users = users_as_of(WORLD, after(DAYS - 1))
    charged = of_type(events, *PAYMENTS)
    plans = np.array(users["plan"].to_pylist())[person(charged)]
    amounts = charged["amount"].to_numpy()
    assert set(zip(plans, amounts, strict=True)) == {("basic", 12.99), ("pro", 29.99)}
    most = max(Counter(person(of_type(events, "payment_success")).tolist()).values())
    assert DAYS // 30 <= most <= DAYS // 30 + 1


def test_about_two_events_per_user_and_day(history):
    user_days = sum(users_as_of(WORLD, after(day)).num_rows for day in range(120))
    assert 1.5 < sum(table.num_rows for table in history[:120]) / user_days < 2.6


def test_weekdays_are_busier_than_weekends(history):
    by_weekday = np.zeros(7)
    for day, table in enumerate(history[: DAYS // 7 * 7]):
        by_weekday[after(day).weekday()] += table.num_rows
    assert by_weekday[:4].mean() > 1.1 * by_weekday[5:].mean()


@pytest.mark.parametrize("day", [60, 90, 120, 150])
def test_a_steady_share_of_active_people_leaves(active, day):
    at_risk, churned = churn_at(active, day)
    assert len(at_risk) > 200
    assert 0.08 <= churned.mean() <= 0.20


@pytest.mark.parametrize(("way", "least", "most"), [(FADING, 0.0, 0.5), (ABRUPT, 0.7, 1.4)])
def test_the_last_week_is_quieter_than_the_weeks_long_before_unless_the_end_is_abrupt(active, way, least, most):
    last_week, before = [], []
    for day in range(60, 150):
        people = people_as_of(WORLD, after(day))
        stay = stays_on(WORLD, people, after(day))
        last_day = (stay.left == 0) & (ways_of_leaving(WORLD, people, stay.stint) == way)
        who = np.flatnonzero(last_day & (people.number < users_as_of(WORLD, EPOCH).num_rows))
        last_week.extend(active[day - 6 : day + 1, who].mean(axis=0))
        before.extend(active[day - 49 : day - 35, who].mean(axis=0))
    assert least < np.mean(last_week) / np.mean(before) < most


def test_leavers_are_announced_by_less_activity_worse_scores_tickets_and_failed_payments(events, active):
    day = 120
    at_risk, churned = churn_at(active, day)
    stamp = pc.cast(events["event_time"], pa.date32())
    window = events.filter(pc.and_(pc.greater(stamp, pa.scalar(after(day - 30))), pc.less_equal(stamp, after(day))))
    leavers, stayers = np.isin(person(window), at_risk[churned]), np.isin(person(window), at_risk[~churned])

    def per_person(event_type, who, people):
        return np.sum(who & pc.equal(window["event_type"], event_type).to_numpy()) / len(people)

    month = active[day - 29 : day + 1]
    assert month[:, at_risk[churned]].mean() < 0.5 * month[:, at_risk[~churned]].mean()
    scores = window["quiz_score"].to_numpy()
    assert np.nanmean(scores[leavers]) < np.nanmean(scores[stayers]) - 3
    for sign in ("support_ticket", "payment_failed"):
        assert per_person(sign, leavers, at_risk[churned]) > 1.5 * per_person(sign, stayers, at_risk[~churned])


def test_some_come_back_after_more_than_a_month(active):
    gaps = [np.diff(np.flatnonzero(days)).max(initial=0) for days in active.T if days.sum() > 1]
    assert 0.02 < np.mean(np.array(gaps) > 30) < 0.35


class TestDrift:
    """A shift from day 100 on."""

    SHIFTED = dataclasses.replace(WORLD, drift=1.0, drift_from=after(100))

    @pytest.mark.parametrize("day", [0, 70, 99])
    def test_leaves_earlier_days_as_they_are(self, day):
        assert events_of(self.SHIFTED, after(day)).equals(events_of(WORLD, after(day)))
        assert users_as_of(self.SHIFTED, after(day)).equals(users_as_of(WORLD, after(day)))

    def test_leaves_those_who_signed_up_earlier_as_they_are(self):
        earlier = users_as_of(WORLD, after(99)).num_rows
        shifted = users_as_of(self.SHIFTED, after(180))
        assert shifted.slice(0, earlier).equals(users_as_of(WORLD, after(99)))
        assert shifted["signup_date"].equals(users_as_of(WORLD, after(180))["signup_date"])

    def test_brings_a_new_marketing_source_and_other_countries(self):
        earlier = users_as_of(WORLD, after(99)).num_rows
        usual = users_as_of(WORLD, after(180)).slice(earlier).to_pydict()
        shifted = users_as_of(self.SHIFTED, after(180)).slice(earlier).to_pydict()
        assert "influencer" not in usual["marketing_source"]
        assert shifted["marketing_source"].count("influencer") > 0.5 * len(shifted["user_id"])
        assert shifted["country"].count("BR") > 1.3 * usual["country"].count("BR")

    def test_moves_behaviour_and_outcome_in_proportion(self):
        def look(strength):
            world = dataclasses.replace(self.SHIFTED, drift=strength)
            days = pa.concat_tables([events_of(world, after(day)) for day in range(100, 130)])
            failed, paid = of_type(days, "payment_failed").num_rows, of_type(days, "payment_success").num_rows
            people = people_as_of(world, after(160))
            return {
                "events": days.num_rows,
                "minutes": pc.mean(days["watch_minutes"]).as_py(),
                "score": pc.mean(days["quiz_score"]).as_py(),
                "payments that go well": paid / (paid + failed),
                "still there": stays_on(world, people, after(160)).present.sum(),
            }

        none, half, full = look(0.0), look(0.5), look(1.0)
        for what, value in none.items():
            assert full[what] < half[what] < value, what
        assert full["events"] < 0.6 * none["events"]
        assert full["score"] < none["score"] - 10


@pytest.mark.parametrize("wrong", [{"users": 0}, {"drift": 1.5}, {"drift": -0.1}, {"drift": float("nan")}])
def test_an_impossible_world_is_refused_with_its_value(wrong):
    with pytest.raises(ValueError, match=str(*wrong.values())):
        World(epoch=EPOCH, **wrong)

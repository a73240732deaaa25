"""What can happen to the generated world: never before its day, the same in any order, and each thing by itself."""

import dataclasses
import datetime as dt
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.ingest.synthetic import World, events_of, users_as_of
from churn_assets.ingest.synthetic.lifecycle import stays_on
from churn_assets.ingest.synthetic.shift import Shift
from churn_assets.ingest.synthetic.world import people_as_of
from churn_assets.source_settings import Scenario

EPOCH = dt.date(2025, 1, 1)
FROM = 100
SCENARIOS = get_args(Scenario)
FEED_FAULTS = ("minutes_in_seconds", "half_missing")
WORLD = World(epoch=EPOCH, users=300)

scenarios = st.sampled_from(SCENARIOS)
strengths = st.floats(0.05, 1.0)
some = settings(max_examples=40, deadline=None)


def after(days):
    return EPOCH + dt.timedelta(days=days)


def shifted(scenario, drift=1.0, until=None, world=WORLD):
    last = None if until is None else after(until)
    return dataclasses.replace(world, scenario=scenario, drift=drift, drift_from=after(FROM), drift_until=last)


def span(world, first, last):
    return pa.concat_tables([events_of(world, after(day)) for day in range(first, last)])


def number_of(events):
    return pc.cast(pc.utf8_slice_codeunits(events["user_id"], 1), pa.int64()).to_numpy()


def count(events, event_type):
    return pc.sum(pc.equal(events["event_type"], event_type)).as_py()


def who(world, day):
    return people_as_of(world, after(day))


class TestLaws:
    """What holds for every scenario."""

    @given(scenario=scenarios, drift=strengths, day=st.integers(0, FROM - 1), length=st.none() | st.integers(0, 60))
    @some
    def test_days_before_the_first_are_the_same(self, scenario, drift, day, length):
        world = shifted(scenario, drift, None if length is None else FROM + length)
        assert events_of(world, after(day)).equals(events_of(WORLD, after(day)))
        assert users_as_of(world, after(day)).equals(users_as_of(WORLD, after(day)))

    @given(scenario=scenarios, day=st.integers(0, 400))
    @some
    def test_no_strength_is_no_shift(self, scenario, day):
        world = shifted(scenario, 0.0)
        assert events_of(world, after(day)).equals(events_of(WORLD, after(day)))
        assert users_as_of(world, after(day)).equals(users_as_of(WORLD, after(day)))

    @given(scenario=scenarios, drift=strengths, days=st.permutations([60, 99, 100, 101, 130, 190, 250]))
    @settings(max_examples=15, deadline=None)
    def test_a_day_is_the_same_in_any_order(self, scenario, drift, days):
        world = shifted(scenario, drift, until=180)
        in_order = {day: events_of(world, after(day)) for day in sorted(days)}
        assert all(events_of(dataclasses.replace(world), after(day)).equals(in_order[day]) for day in days)

    @given(scenario=scenarios, drift=strengths, first=st.integers(0, 250), later=st.integers(0, 100))
    @some
    def test_a_later_day_only_adds_users(self, scenario, drift, first, later):
        world = shifted(scenario, drift, until=150)
        before, now = users_as_of(world, after(first)), users_as_of(world, after(first + later))
        assert now.slice(0, before.num_rows).equals(before)

    @given(scenario=st.sampled_from([*FEED_FAULTS, "season"]), drift=strengths, day=st.integers(0, 100))
    @some
    def test_what_passes_leaves_no_trace(self, scenario, drift, day):
        world = shifted(scenario, drift, until=FROM + 20)
        later = after(FROM + 21 + day)
        assert events_of(world, later).equals(events_of(WORLD, later))

    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_something_happens(self, scenario):
        world, day = shifted(scenario), after(FROM + 60)
        assert not events_of(world, day).equals(events_of(WORLD, day))

    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_events_keep_the_contract(self, scenario):
        events = span(shifted(scenario), FROM, FROM + 40)
        most = 240.0 * (60 if scenario == "minutes_in_seconds" else 1)
        assert events.schema.equals(events_of(WORLD, EPOCH).schema)
        assert pc.count_distinct(events["event_id"]).as_py() == events.num_rows
        assert pc.max(events["watch_minutes"]).as_py() <= most
        assert 0 <= pc.min(events["quiz_score"]).as_py() <= pc.max(events["quiz_score"]).as_py() <= 100


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scenario": "earthquake"}, "one of behaviour, .*, not earthquake"),
        ({"drift_from": after(9), "drift_until": after(8)}, "2025-01-09, is before"),
        ({"drift_until": after(-1)}, "2024-12-31, is before"),
    ],
)
def test_an_impossible_scenario_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        World(epoch=EPOCH, **wrong)


class TestShift:
    """How strong, and how it hurries people on."""

    @given(begin=st.integers(0, 200), stay=st.floats(0, 900), strength=strengths)
    @some
    def test_what_is_left_of_a_stay_shrinks_by_the_strength(self, begin, stay, strength):
        shift = Shift(scenario="behaviour", strength=strength, first=FROM, last=None)
        usual = np.array([begin + stay])
        turn = max(begin, FROM)
        left = max(usual[0] - turn, 0.0) * (1.0 - 0.6 * strength)
        assert shift.ends(np.array([begin]), usual)[0] == pytest.approx(min(usual[0], turn) + left)

    @given(
        begin=st.integers(0, 300),
        stays=st.lists(st.floats(0, 900), min_size=2, max_size=8),
        strength=strengths,
        scenario=st.sampled_from(["behaviour", "gradual"]),
        last=st.none() | st.integers(FROM, 400),
    )
    @some
    def test_nobody_stays_longer_or_ends_before_beginning_or_overtakes(self, begin, stays, strength, scenario, last):
        usual = begin + np.sort(stays)
        shift = Shift(scenario=scenario, strength=strength, first=FROM, last=last)
        ends = shift.ends(np.full(len(usual), begin), usual)
        assert np.all(ends <= usual + 1e-6)
        assert np.all(ends >= np.minimum(begin, usual) - 1e-6)
        assert np.all(np.diff(ends) >= -1e-6)

    @given(strength=strengths, scenario=st.sampled_from(["behaviour", "gradual"]), last=st.integers(FROM, 300))
    @some
    def test_a_stay_that_begins_after_the_last_day_is_as_usual(self, strength, scenario, last):
        begin, usual = np.array([last + 1, last + 40]), np.array([last + 30.5, last + 400.25])
        shift = Shift(scenario=scenario, strength=strength, first=FROM, last=last)
        assert shift.ends(begin, usual) == pytest.approx(usual)

    def test_gradual_rises_for_ninety_days(self):
        shift = Shift(scenario="gradual", strength=0.8, first=FROM, last=FROM + 200)
        days = np.array([FROM - 1, FROM, FROM + 45, FROM + 90, FROM + 200, FROM + 201])
        assert shift.on(days, "gradual") == pytest.approx([0.0, 0.0, 0.4, 0.8, 0.8, 0.0])
        assert shift.on(days, "season") == pytest.approx(np.zeros(6))


def test_gradual_begins_unseen_and_ends_as_behaviour_does():
    usual, slow, abrupt = WORLD, shifted("gradual"), shifted("behaviour")

    def volume(world, day):
        return span(world, day, day + 7).num_rows

    shares = [volume(slow, day) / volume(usual, day) for day in (FROM, FROM + 30, FROM + 60, FROM + 90)]
    assert shares[0] > 0.9
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(volume(abrupt, FROM + 90) / volume(usual, FROM + 90), abs=0.15)


class TestNewcomers:
    """Scenarios that touch only those who sign up from their first day on."""

    @pytest.mark.parametrize(("scenario", "column"), [("countries", "country"), ("new_source", "marketing_source")])
    @pytest.mark.parametrize("day", [FROM, FROM + 50])
    def test_only_one_column_of_newcomers_moves(self, scenario, column, day):
        usual, now = users_as_of(WORLD, after(day)), users_as_of(shifted(scenario), after(day))
        assert now.drop_columns(column).equals(usual.drop_columns(column))
        earlier = len(who(WORLD, FROM - 1).number)
        assert now.slice(0, earlier).equals(usual.slice(0, earlier))

    @given(scenario=st.sampled_from(["countries", "new_source"]), drift=strengths, day=st.integers(FROM, 300))
    @some
    def test_everybody_else_does_what_they_did(self, scenario, drift, day):
        earlier = len(who(WORLD, FROM - 1).number)
        usual, now = (events_of(world, after(day)) for world in (WORLD, shifted(scenario, drift)))
        old, new = (table.filter(pa.array(number_of(table) < earlier)) for table in (usual, now))
        assert new.drop_columns("event_id").equals(old.drop_columns("event_id"))

    def test_newcomers_come_from_elsewhere_and_soon_matter(self):
        world = shifted("countries", world=dataclasses.replace(WORLD, users=2000))
        countries = users_as_of(world, after(FROM + 90))["country"].to_pylist()[len(who(world, FROM - 1).number) :]
        share = sum(country in {"BR", "NG"} for country in countries) / len(countries)
        usual = users_as_of(WORLD, after(FROM))["country"].to_pylist()
        assert share > 0.7
        assert sum(country in {"BR", "NG"} for country in usual) / len(usual) < 0.2

    def test_the_new_source_brings_many_who_soon_leave(self):
        world = shifted("new_source", world=dataclasses.replace(WORLD, users=2000))
        people = who(world, FROM + 60)
        new = people.signup >= world.shift.first
        brought = new & (people.source == 5)
        assert not np.any(people.source[~new] == 5)
        assert 0.5 < brought.sum() / new.sum() < 0.7
        there = stays_on(world, people, after(FROM + 60)).present
        assert there[brought].mean() < 0.7 * there[new & ~brought].mean()


class TestSeason:
    """A yearly swing of activity that changes nobody's stay."""

    WORLD = shifted("season")

    @given(drift=strengths, day=st.integers(0, 600))
    @some
    def test_who_is_there_is_the_same(self, drift, day):
        world = shifted("season", drift)
        usual, now = (stays_on(one, who(one, day), after(day)) for one in (WORLD, world))
        assert np.array_equal(now.present, usual.present)
        assert np.array_equal(now.left, usual.left)

    def test_it_begins_from_nothing_swings_both_ways_and_comes_again(self):
        def share(day):
            return span(self.WORLD, day, day + 7).num_rows / span(WORLD, day, day + 7).num_rows

        quarter = 91
        begin, high, middle, low, again = (share(FROM + 1 + turn * quarter) for turn in range(5))
        assert begin == pytest.approx(1.0, abs=0.03)
        assert middle == pytest.approx(1.0, abs=0.05)
        assert again == pytest.approx(1.0, abs=0.05)
        assert high > 1.15
        assert low < 0.75


class TestFeedFaults:
    """People do as always; what arrives is wrong."""

    @given(drift=strengths, day=st.integers(FROM, FROM + 100))
    @some
    def test_minutes_come_in_seconds_and_nothing_else_moves(self, drift, day):
        usual, now = events_of(WORLD, after(day)), events_of(shifted("minutes_in_seconds", drift), after(day))
        assert now["watch_minutes"].equals(pc.multiply(usual["watch_minutes"], 60.0))
        assert now.drop_columns("watch_minutes").equals(usual.drop_columns("watch_minutes"))

    @given(drift=strengths, day=st.integers(FROM, FROM + 100))
    @some
    def test_rows_go_missing_and_the_others_are_as_they_were(self, drift, day):
        usual, now = events_of(WORLD, after(day)), events_of(shifted("half_missing", drift), after(day))
        assert now.equals(usual.filter(pc.is_in(usual["event_id"], now["event_id"])))
        assert now.num_rows < usual.num_rows

    @given(weaker=strengths, stronger=strengths)
    @some
    def test_a_stronger_fault_loses_more_of_the_same(self, weaker, stronger):
        weaker, stronger = sorted([weaker, stronger])
        more, fewer = (events_of(shifted("half_missing", one), after(FROM + 1)) for one in (weaker, stronger))
        assert set(fewer["event_id"].to_pylist()) <= set(more["event_id"].to_pylist())

    @pytest.mark.parametrize(("drift", "kept"), [(1.0, 0.5), (0.4, 0.8)])
    def test_half_is_missing_of_every_type_and_for_everybody(self, drift, kept):
        usual, now = (span(world, FROM, FROM + 30) for world in (WORLD, shifted("half_missing", drift)))
        assert now.num_rows / usual.num_rows == pytest.approx(kept, abs=0.02)
        for event_type in ("login", "video_watch", "quiz_attempt"):
            assert count(now, event_type) / count(usual, event_type) == pytest.approx(kept, abs=0.05)
        before, after_it = (np.bincount(number_of(table), minlength=400) for table in (usual, now))
        often = before > 60
        assert np.std(after_it[often] / before[often]) < 0.1

    @pytest.mark.parametrize("scenario", FEED_FAULTS)
    def test_two_days_are_two_days(self, scenario):
        world = shifted(scenario, until=FROM + 1)
        touched = [
            day
            for day in range(FROM - 3, FROM + 6)
            if not events_of(world, after(day)).equals(events_of(WORLD, after(day)))
        ]
        assert touched == [FROM, FROM + 1]


USUAL = dataclasses.replace(WORLD, users=1500)
TURNED = shifted("concept", world=USUAL)
AS_OF = FROM + 60


@pytest.fixture(scope="module")
def months():
    """The thirty days up to the as-of date and the thirty after it, with and without a change of concept."""
    return {
        name: (span(world, AS_OF - 29, AS_OF + 1), span(world, AS_OF + 1, AS_OF + 31))
        for name, world in (("usual", USUAL), ("turned", TURNED))
    }


class TestConcept:
    """The same signs as before, to people who stay; leaving without any."""

    def split(self, months, name):
        """Who left and who stayed, of those active in the month before."""
        before, behind = (set(number_of(self.acts(table)).tolist()) for table in months[name])
        return np.array(sorted(before - behind)), np.array(sorted(before & behind))

    @staticmethod
    def acts(table):
        return table.filter(pc.invert(pc.starts_with(table["event_type"], "payment")))

    def per_person(self, months, name, event_type):
        before = months[name][0]
        rows = before.filter(pc.equal(before["event_type"], event_type))
        return tuple(np.isin(number_of(rows), people).sum() / len(people) for people in self.split(months, name))

    def test_what_can_be_seen_stays_as_it_was(self, months):
        usual, turned = months["usual"][0], months["turned"][0]
        assert turned.num_rows == pytest.approx(usual.num_rows, rel=0.1)
        for event_type in ("login", "video_watch", "quiz_attempt", "support_ticket", "payment_success"):
            assert count(turned, event_type) == pytest.approx(count(usual, event_type), rel=0.15), event_type
        assert count(turned, "payment_failed") == pytest.approx(count(usual, "payment_failed"), rel=0.3)
        for column in ("watch_minutes", "quiz_score"):
            assert pc.mean(turned[column]).as_py() == pytest.approx(pc.mean(usual[column]).as_py(), rel=0.03)

    def test_about_as_many_leave(self, months):
        shares = {}
        for name in months:
            left, stayed = self.split(months, name)
            shares[name] = len(left) / (len(left) + len(stayed))
        assert shares["turned"] == pytest.approx(shares["usual"], abs=0.04)

    @pytest.mark.parametrize("sign", ["support_ticket", "payment_failed"])
    def test_signs_no_longer_tell_who_leaves(self, months, sign):
        left, stayed = self.per_person(months, "usual", sign)
        assert left > 1.4 * stayed
        left, stayed = self.per_person(months, "turned", sign)
        assert left < 0.9 * stayed

    def test_worse_scores_no_longer_do_either(self, months):
        def gap(name):
            before = months[name][0]
            left, stayed = (np.isin(number_of(before), people) for people in self.split(months, name))
            scores = before["quiz_score"].to_numpy()
            return np.nanmean(scores[stayed]) - np.nanmean(scores[left])

        assert gap("usual") > 3.0
        assert gap("turned") < 1.0

    def test_half_the_strength_turns_half_of_the_people(self):
        people = who(USUAL, AS_OF)
        usual, half, full = (
            stays_on(world, people, after(AS_OF)) for world in (USUAL, dataclasses.replace(TURNED, drift=0.5), TURNED)
        )
        same = np.mean((half.left == usual.left) & (half.present == usual.present))
        none = np.mean((full.left == usual.left) & (full.present == usual.present))
        assert none < same < 1.0

    def test_after_its_last_day_signs_tell_again(self):
        world = dataclasses.replace(TURNED, drift_until=after(FROM + 20))
        later = after(FROM + 90)
        people = who(world, FROM + 90)
        new = people.signup > world.shift.last
        now, usual = stays_on(world, people, later), stays_on(USUAL, people, later)
        assert np.array_equal(now.left[new], usual.left[new])
        assert np.array_equal(now.present[new], usual.present[new])

"""Features and labels equal their plain definition, whatever the events, however they are computed."""

import functools
import random
from datetime import date, timedelta

import duckdb
import narwhals as nw
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from naive import Definition, Engagement, Event, History, User, assert_row, at_risk, churned, features

from churn_assets.features import panel as panels
from churn_assets.features.catalogue import feature_set
from churn_assets.features.panel import Users, load_panel
from churn_assets.features.user_daily import daily_activity
from churn_assets.features.windows import features_as_of, measures_needed
from churn_assets.ingest.source import EVENT_VALUES, Provided
from churn_assets.layout import cut_by_day
from churn_assets.settings import Settings

START = date(2024, 2, 10)
SPAN = 50
TYPES = (
    "login",
    "video_watch",
    "quiz_attempt",
    "enroll",
    "support_ticket",
    "payment_success",
    "payment_failed",
    "forum",
)


@functools.cache
def engine():
    """One engine for all examples."""
    return duckdb.connect()


class Case:
    """A history with both ways to compute its features."""

    def __init__(self, history, windows=(7, 14, 30), active_within=30, label_window=10):
        self.history = history
        self.settings = Settings.model_validate(
            {
                "events": {"types": {"forum": {"counts": "forum_posts"}}},
                "population": {"active_within_days": active_within},
                "features": {"windows_days": windows},
                "churn": {"window_days": label_window},
            }
        )
        provided = Provided(
            frozenset(TYPES),
            frozenset(EVENT_VALUES),
            frozenset({"plan", "is_paid"}),
            engagements=history.engagements is not None,
        )
        self.features = feature_set(self.settings, provided)
        vocabulary = self.settings.events.vocabulary
        self.definition = Definition(
            tuple(windows),
            active_within,
            label_window,
            {name: kind.counts for name, kind in vocabulary.items() if kind.counts},
            frozenset(name for name, kind in vocabulary.items() if kind.activity),
            ("active_days", "events", *(k.counts for k in vocabulary.values() if k.counts and k.activity),
             "watch_minutes"),
        )  # fmt: skip

    def daily(self, events, last):
        """`user_daily`, one table a day from the start to `last`."""
        schema = pa.schema(
            {
                "day": pa.date32(),
                "user_id": pa.string(),
                "event_type": pa.string(),
                "event_count": pa.int32(),
                "watch_minutes": pa.float64(),
                "quiz_score": pa.float64(),
            }
        )
        rows = [(e.day, e.user, e.type, e.number, e.minutes, e.score) for e in events]
        table = pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 6, schema=schema)
        relation = nw.from_native(engine().from_arrow(table))
        found = daily_activity(relation, self.settings.events.vocabulary).sort("day", "user_id")
        daily = found.to_native().to_arrow_table()
        days = [START + timedelta(days=n) for n in range((last - START).days + 1)]
        return dict(cut_by_day(daily, days))

    def panel(self, daily, first, last):
        """The days from `first` to `last` as arrays."""
        users = self.history.users
        table = pa.table(
            {
                "user_id": pa.array([user.id for user in users], pa.string()),
                "signup_date": pa.array([user.signup for user in users], pa.date32()),
                "plan": pa.array([user.plan for user in users], pa.string()),
                "is_paid": pa.array([user.paid for user in users], pa.bool_()),
            }
        )
        tables = [daily[first + timedelta(days=n)] for n in range((last - first).days + 1)]
        return load_panel(Users.of(table), first, tables, measures_needed(self.features), self._engagements())

    def _engagements(self):
        if self.history.engagements is None:
            return None
        rows = [(e.user, e.start, e.end, e.cancelled) for e in self.history.engagements]
        dates = [(name, pa.date32()) for name in ("started_on", "ended_on", "cancelled_on")]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
        return pa.table(columns, schema=pa.schema([("user_id", pa.string()), *dates]))

    def whole(self, dates, events=None, **options):
        """Features as of some dates, from all of history at once."""
        last = START + timedelta(days=SPAN - 1)
        daily = self.daily(self.history.events if events is None else events, last)
        return joined(features_as_of(self.panel(daily, START, last), dates, self.features, **options))

    def alone(self, day):
        """Features as of one date, from the days that they need."""
        first = max(START, day - timedelta(days=self.features.longest))
        daily = self.daily([event for event in self.history.events if event.day <= day], day)
        return joined(features_as_of(self.panel(daily, first, day), [day], self.features))

    def plain(self, dates):
        """The same by definition, as rows."""
        return [
            {
                "user_id": user.id,
                "as_of_date": day,
                "at_risk": at_risk(self.history, user, day, self.definition),
                "churned": int(churned(self.history, user, day, self.definition)),
                **features(self.history, user, day, self.definition),
            }
            for day in dates
            for user in sorted(self.history.users, key=lambda user: user.id)
            if user.signup <= day
        ]


def joined(parts):
    """One table, by date and user, its categories as text."""
    table = pa.concat_tables(list(parts)).unify_dictionaries()
    for name in table.column_names:
        if pa.types.is_dictionary(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, table.column(name).cast(pa.string()))
    return table.sort_by([("as_of_date", "ascending"), ("user_id", "ascending")]).combine_chunks()


def day(number):
    return START + timedelta(days=number)


def on_grid(largest):
    """Numbers as validation leaves them: multiples of 1/1024."""
    return st.none() | st.integers(0, largest * 1024).map(lambda n: n / 1024)


IDS = ("b", "a", "ü", "c")
DAY = st.integers(0, SPAN - 1).map(day)
EVENT = st.builds(
    Event,
    user=st.sampled_from(IDS),
    day=DAY,
    type=st.sampled_from(TYPES),
    number=st.integers(1, 3),
    minutes=on_grid(1440),
    score=on_grid(100),
)
AROUND = st.integers(-400, SPAN + 400).map(day)
ENGAGEMENT = st.builds(
    Engagement, user=st.sampled_from(IDS), start=AROUND, end=st.none() | AROUND, cancelled=st.none() | AROUND
)
WINDOWS = st.lists(st.integers(1, 33), min_size=1, max_size=3, unique=True).map(sorted)


@st.composite
def users(draw):
    """Four users in any order, some of them from long ago, some who sign up on the way."""
    order = draw(st.permutations(IDS))
    signups = st.integers(-500, SPAN + 5).map(day)
    plans, paid = st.sampled_from([None, "free", "pro"]), st.sampled_from([None, True, False])
    return [User(name, draw(signups), draw(plans), draw(paid)) for name in order]


@st.composite
def cases(draw):
    """Any history, and any windows."""
    known = draw(st.booleans())
    history = History(
        draw(users()),
        draw(st.lists(EVENT, max_size=60)),
        draw(st.lists(ENGAGEMENT, max_size=8)) if known else None,
    )
    return Case(history, draw(WINDOWS), draw(st.integers(1, 35)), draw(st.integers(1, 12)))


def assert_equal(found, expected):
    """Rows equal, ratios up to the last bits."""
    assert [(row["user_id"], row["as_of_date"]) for row in found] == [
        (row["user_id"], row["as_of_date"]) for row in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        assert_row(one, other)


@given(case=cases(), dates=st.lists(st.integers(0, SPAN - 13).map(day), min_size=1, max_size=6, unique=True))
@examples(max_examples=80)
def test_features_and_labels_are_as_defined(case, dates):
    dates.sort()
    found = case.whole(dates, labels=True)
    assert found.column_names == ["user_id", "as_of_date", "at_risk", "churned", *case.features.names]
    assert_equal(found.to_pylist(), case.plain(dates))


@given(case=cases(), number=st.integers(0, SPAN - 1))
@examples(max_examples=30)
def test_a_day_alone_is_that_day_of_the_whole_history_bit_for_bit(case, number):
    assert case.alone(day(number)).equals(case.whole([day(number)]))


@given(case=cases(), number=st.integers(0, SPAN - 2), later=st.lists(EVENT, min_size=1, max_size=20))
@examples(max_examples=30)
def test_later_events_change_nothing(case, number, later):
    dates = [day(n) for n in range(number + 1)]
    known = [event for event in case.history.events if event.day <= dates[-1]]
    after = [event for event in later if event.day > dates[-1]]
    assert case.whole(dates, known).equals(case.whole(dates, known + after))


@given(case=cases(), seed=st.integers(0, 2**32))
@examples(max_examples=20)
def test_the_order_of_events_users_and_engagements_does_not_matter(case, seed):
    shuffle = random.Random(seed).shuffle  # noqa: S311
    dates = [day(3), day(20), day(21)]
    expected = case.whole(dates, labels=True)
    for rows in (case.history.users, case.history.events, case.history.engagements or []):
        shuffle(rows)
    assert case.whole(dates, labels=True).equals(expected)


def many_users(seed, number=150):
    """A seeded history of more users than a block holds."""
    draw = random.Random(seed)  # noqa: S311
    people = [
        User(f"u{n:03d}", day(draw.randrange(-60, 40)), draw.choice(["free", "pro", None])) for n in range(number)
    ]
    scores = [None, 0.0, 62.5, 100.0]
    events = [
        Event(f"u{draw.randrange(number):03d}", day(draw.randrange(SPAN)), draw.choice(TYPES), 1,
              draw.randrange(90 * 1024) / 1024, draw.choice(scores))
        for _ in range(1500)
    ]  # fmt: skip
    courses = [Engagement(f"u{draw.randrange(number):03d}", day(draw.randrange(30)), None, None) for _ in range(120)]
    return Case(History(people, events, courses))


def test_blocks_of_users_are_computed_as_the_whole(monkeypatch):
    case = many_users(1)
    dates = [day(n) for n in range(0, 40, 3)]
    expected = case.whole(dates, labels=True)
    monkeypatch.setattr(panels, "BLOCK_CELLS", 1)
    daily = case.daily(case.history.events, day(SPAN - 1))
    parts = list(features_as_of(case.panel(daily, START, day(SPAN - 1)), dates, case.features, labels=True))
    assert len(parts) == 3
    assert joined(parts).equals(expected)
    assert_equal(expected.to_pylist()[:300], case.plain(dates)[:300])


def test_those_at_risk_are_a_selection_of_all():
    case = many_users(2)
    dates = [day(n) for n in range(38)]
    everybody = case.whole(dates, labels=True)
    selected = everybody.filter(everybody.column("at_risk"))
    assert 0 < selected.num_rows < everybody.num_rows
    assert case.whole(dates, labels=True, at_risk_only=True).equals(selected.combine_chunks())


def test_rows_of_unknown_users_are_left_out():
    event = Event("a", day(1), "login")
    case = Case(History([User("a", START)], [event]))
    assert case.whole([day(2)], [event, Event("stranger", day(1), "login")]).equals(case.whole([day(2)]))


@pytest.mark.parametrize("days", [1, 2])
def test_less_history_than_any_window(days):
    case = Case(History([User("a", START)], [Event("a", START, "quiz_attempt", score=50.0)]))
    last = day(days - 1)
    daily = case.daily(case.history.events, last)
    found = joined(features_as_of(case.panel(daily, START, last), [last], case.features)).to_pylist()[0]
    assert found["active_days_30d"] == 1
    assert found["days_since_last_activity"] == days - 1
    assert found["longest_gap_30d"] == 30 - days
    assert found["quiz_avg_score_7d"] == 50.0


def test_a_score_of_zero_is_not_a_missing_score():
    people = [User("a", START), User("b", START)]
    case = Case(History(people, [Event("a", START, "quiz_attempt", score=0.0), Event("b", START, "quiz_attempt")]))
    scored, unscored = case.whole([START]).to_pylist()
    assert (scored["quiz_avg_score_7d"], unscored["quiz_avg_score_7d"]) == (0.0, None)
    assert (scored["quiz_attempts_7d"], unscored["quiz_attempts_7d"]) == (1, 1)


def test_payments_are_no_activity():
    case = Case(History([User("a", START)], [Event("a", START, "payment_success")]))
    row = case.whole([START], labels=True).to_pylist()[0]
    assert (row["events_7d"], row["active_days_7d"], row["at_risk"], row["payment_success_7d"]) == (0, 0, False, 1)

"""Snapshots by user id: the very vectors that the scorer would make of the same values."""

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from artifact_factory import FEATURES, rows_of, table, tree_scorer
from hypothesis import given
from hypothesis import strategies as st
from online_tables import DAY, NOON, draft, publisher, same_bits, written

from churn_serving.encoding import UNSEEN, Encoder
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.publication import Publication
from churn_serving.online.snapshot import Binding, Snapshot
from churn_serving.schema import FeatureSpec

LEVELS = ("free", "pro", "gold", "", "é", "(missing)")


def coded(columns, levels):
    """Columns of values as a matrix of codes and numbers, `at_risk` before them."""
    rows = len(next(iter(columns.values()), []))
    cells = [np.ones(rows)]
    for name, values in columns.items():
        codes = {text: code for code, text in enumerate(levels.get(name, ()))}
        cells.append([math.nan if value is None else codes.get(value, value) for value in values])
    return np.array(cells, dtype=np.float64).T


def snapshot_of(path, columns, levels):
    """A snapshot of named columns; users are numbered."""
    matrix = coded(columns, levels)
    ids = [str(number) for number in range(len(matrix))]
    return Snapshot(written(path, ids, columns=("at_risk", *columns), levels=levels, matrix=matrix), NOON)


# --- the snapshot


@pytest.fixture
def snapshot(tmp_path):
    """Three users, the second not at risk."""
    matrix = [[1.0, 5.0], [0.0, 6.0], [1.0, math.nan]]
    return Snapshot(written(tmp_path / "three.keyed", matrix=matrix), NOON)


def test_users_are_found_and_known_to_be_at_risk_or_not(snapshot):
    assert [snapshot.at_risk(snapshot.find(user_id)) for user_id in "abc"] == [True, False, True]
    assert snapshot.find("d") == -1
    with pytest.raises(IndexError):
        snapshot.at_risk(-1)
    assert (snapshot.rows, snapshot.as_of_date, snapshot.created_at) == (3, DAY, NOON)


def test_age_counts_from_the_end_of_the_day(snapshot):
    midnight = datetime(2026, 1, 6, tzinfo=UTC)
    assert snapshot.age_seconds(midnight) == 0.0
    assert snapshot.age_seconds(midnight + timedelta(hours=2)) == 7200.0
    assert snapshot.age_seconds(midnight - timedelta(hours=2)) == 0.0
    assert snapshot.age_seconds(midnight.astimezone(timezone(timedelta(hours=9)))) == 0.0


def test_a_published_snapshot_keeps_its_times(tmp_path):
    publisher(tmp_path).publish(draft())
    found = Snapshot.of(Publication(tmp_path).poll())
    assert (found.as_of_date, found.created_at, found.rows) == (DAY, NOON, 3)


def test_a_table_that_does_not_say_who_is_at_risk_is_refused(tmp_path):
    with pytest.raises(OnlineStoreError, match="no column `at_risk`"):
        Snapshot(written(tmp_path / "t.keyed", columns=("x",)), NOON)


# --- vectors


NUMBERS = st.none() | st.floats(allow_nan=False)


@st.composite
def bindings(draw):
    """A model's features, and what a snapshot has of them: columns by name, and levels."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    rows = draw(st.integers(1, 5))
    features, columns, levels = [], {}, {}
    for name in names:
        kind = draw(st.sampled_from(["number", "flag", "category"]))
        is_text = kind == "category"
        known = draw(st.lists(st.sampled_from(LEVELS), unique=True, max_size=4)) if is_text else []
        features.append(FeatureSpec(name=name, kind=kind, meaning="Any.", categories=tuple(known)))
        if draw(st.integers(0, 4)):  # else the snapshot lacks it
            here = draw(st.lists(st.sampled_from(LEVELS), unique=True)) if is_text else []
            values = st.sampled_from([None, *here]) if is_text else NUMBERS
            columns[name] = draw(st.lists(values, min_size=rows, max_size=rows))
            levels |= {name: tuple(here)} if is_text else {}
    shuffled = draw(st.permutations(sorted(columns)))
    wider = {"more": [7.0] * rows} | {name: columns[name] for name in shuffled}
    return tuple(features), wider, levels


@given(case=bindings())
def test_vectors_are_what_the_encoder_gives_to_the_bit(tmp_path_factory, case):
    features, columns, levels = case
    snapshot = snapshot_of(tmp_path_factory.getbasetemp() / "binding.keyed", columns, levels)
    binding, encoder = Binding(snapshot, features), Encoder(features)
    names = [feature.name for feature in features]
    assert binding.absent == tuple(name for name in names if name not in columns)
    rows = [{name: columns[name][row] if name in columns else None for name in names} for row in range(snapshot.rows)]
    for row, values in enumerate(rows):
        assert same_bits(binding.vector(row), encoder.row(values))
        assert binding.values(row) == values
    everybody = {name: [values[name] for values in rows] for name in names}
    matrix = binding.matrix(range(snapshot.rows))
    if names:
        assert same_bits(matrix, encoder.columns(everybody))
    assert matrix.shape == (snapshot.rows, len(features))


@given(case=bindings())
def test_unseen_categories_are_those_that_the_model_does_not_list(tmp_path_factory, case):
    features, columns, levels = case
    binding = Binding(snapshot_of(tmp_path_factory.getbasetemp() / "unseen.keyed", columns, levels), features)
    for row in range(binding.snapshot.rows):
        expected = tuple(
            feature.name
            for feature in features
            if feature.name in levels
            and (value := columns[feature.name][row]) is not None
            and value not in feature.categories
        )
        assert binding.unseen(row) == expected


def test_scores_by_id_are_those_of_the_values(tmp_path):
    columns = {name: list(values) for name, values in table(200).items()}
    cleaned = {
        name: [None if isinstance(value, float) and math.isnan(value) else value for value in values]
        for name, values in columns.items()
    }
    levels = {"plan": ("enterprise", "team", "free", "pro")}
    snapshot = snapshot_of(tmp_path / "t.keyed", cleaned, levels)
    scorer = tree_scorer(3)
    binding = Binding(snapshot, scorer.features)
    for number, row in enumerate(rows_of(cleaned)):
        vector = binding.vector(snapshot.find(str(number)))
        assert scorer.score_row(vector) == scorer.score_row(scorer.encode_row(row))
    assert same_bits(scorer.score(binding.matrix(range(200))), scorer.score(scorer.encode_columns(columns)))
    assert UNSEEN in binding.matrix(range(200))[:, 3]


def test_a_vector_belongs_to_who_asked_for_it(tmp_path):
    binding = Binding(snapshot_of(tmp_path / "t.keyed", {"x": [1.0, 2.0]}, {}), (number("x"),))
    binding.vector(0)[:] = 9.0
    binding.matrix([0])[:] = 9.0
    assert binding.vector(0).tolist() == [1.0]


def test_strangers_have_no_vector(tmp_path):
    binding = Binding(snapshot_of(tmp_path / "t.keyed", {"x": [1.0, 2.0]}, {}), (number("x"),))
    for ask in (binding.vector, binding.values, binding.unseen, lambda row: binding.matrix([0, row])):
        for row in (-1, 2):
            with pytest.raises(IndexError):
                ask(row)


def test_no_rows_make_an_empty_matrix(tmp_path):
    snapshot = Snapshot(written(tmp_path / "t.keyed", [], columns=("at_risk", "plan"), levels={"plan": ()}), NOON)
    assert Binding(snapshot, FEATURES).matrix([]).shape == (0, 5)


def test_a_category_here_and_a_number_there_is_refused(tmp_path):
    snapshot = snapshot_of(tmp_path / "t.keyed", {"x": [1.0], "plan": ["free"]}, {"plan": ("free",)})
    with pytest.raises(OnlineStoreError, match=r"plan is a number to the model, and a category in .*: retrain"):
        Binding(snapshot, (number("plan"),))
    with pytest.raises(OnlineStoreError, match="x is a category to the model, and a number in"):
        Binding(snapshot, (FeatureSpec(name="x", kind="category", meaning="Any."),))


def test_impossible_codes_count_as_unseen(tmp_path):
    cells = [[1.0, code] for code in (0.0, 1.0, 2.0, -1.0, 0.5, 1e300, math.inf, -math.inf, math.nan)]
    ids = [str(row) for row in range(len(cells))]
    levels = {"plan": ("pro", "free")}
    found = written(tmp_path / "t.keyed", ids, columns=("at_risk", "plan"), levels=levels, matrix=cells)
    plan = FeatureSpec(name="plan", kind="category", meaning="Plan.", categories=("free", "pro"))
    binding = Binding(Snapshot(found, NOON), (plan,))
    expected = [1.0, 0.0, *[UNSEEN] * 6, math.nan]
    np.testing.assert_array_equal([binding.vector(row)[0] for row in range(9)], expected)
    np.testing.assert_array_equal(binding.matrix(range(9))[:, 0], expected)
    assert [binding.values(row)["plan"] for row in range(9)] == ["pro", "free", *[None] * 7]


def number(name):
    return FeatureSpec(name=name, kind="number", meaning="Any.")

import csv
import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from churn_assets.layout import Layout
from churn_assets.scoring import predictions
from churn_assets.scoring.predictions import COLUMNS, ScoringError, predict, write_predictions
from churn_serving.errors import EncodingError
from churn_serving.settings import Paths

DAY = dt.date(2026, 1, 5)
CONTRACT = (
    "user_id as_of_date plan is_paid country marketing_source days_since_signup days_since_last_activity churn_risk "
    "risk_rank risk_band model_version reason_1 reason_2 reason_3"
)


@pytest.fixture
def layout(tmp_path):
    return Layout(Paths(data=tmp_path / "data", artifacts=tmp_path / "artifacts"))


@pytest.fixture
def predicted(snapshot, scorer, bands):
    return predict(snapshot, scorer, bands, "candidate_hgb_20260105T030012Z", typical={"active_days_7d": 3.0})


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_of_the_contract(predicted):
    assert predicted.column_names == CONTRACT.split() == list(COLUMNS)


def test_exactly_those_at_risk_are_scored(predicted, snapshot):
    at_risk = snapshot.filter(snapshot["at_risk"])
    assert sorted(predicted["user_id"].to_pylist()) == sorted(at_risk["user_id"].to_pylist())


def test_highest_risk_first_and_ties_by_user(predicted):
    keys = [
        (-risk, user)
        for risk, user in zip(*(predicted[name].to_pylist() for name in ("churn_risk", "user_id")), strict=True)
    ]
    assert keys == sorted(keys)
    assert len(set(predicted["churn_risk"].to_pylist())) < predicted.num_rows
    assert predicted["risk_rank"].to_pylist() == list(range(1, predicted.num_rows + 1))


def test_scores_are_those_of_single_rows(predicted, snapshot, scorer):
    rows = {row["user_id"]: row for row in snapshot.to_pylist()}
    for user, risk in zip(
        predicted["user_id"].to_pylist()[::50], predicted["churn_risk"].to_pylist()[::50], strict=True
    ):
        assert scorer.score_row(scorer.encode_row(rows[user])) == risk


def test_missing_category_is_not_taken_for_a_known_one(scorer, bands, snapshot):
    whole = predict(snapshot, scorer, bands, "v")
    plain = snapshot.set_column(snapshot.column_names.index("plan"), "plan", snapshot["plan"].cast(pa.string()))
    assert whole.equals(predict(plain, scorer, bands, "v"))
    assert whole["plan"].null_count > 0


def test_bands_follow_the_risk(predicted, bands):
    for risk, band in zip(predicted["churn_risk"].to_pylist(), predicted["risk_band"].to_pylist(), strict=True):
        assert band == bands.of(risk)
    assert set(predicted["risk_band"].to_pylist()) == {"high", "medium", "low"}


def test_reasons_have_the_largest_contributions_and_their_sign(predicted, snapshot, scorer):
    rows = {row["user_id"]: row for row in snapshot.to_pylist()}
    phrases = [spec.phrase for spec in scorer.features]
    for row in predicted.slice(0, 400).to_pylist()[::20]:
        shares = scorer.contributions(scorer.encode_row(rows[row["user_id"]])[None, :])[0]
        order = np.argsort(-np.abs(shares))[:3]
        for place, text in zip(order, (row["reason_1"], row["reason_2"], row["reason_3"]), strict=True):
            assert text.startswith(phrases[place] + ": ")
            assert text.endswith("raises the risk" if shares[place] > 0 else "lowers the risk")


def test_typical_values_stand_in_the_reasons(predicted):
    said = [text for text in predicted["reason_1"].to_pylist() if text.startswith("active days")]
    assert said
    assert all("(typical 3)" in text for text in said)


def test_columns_that_the_source_lacks_are_empty(predicted):
    assert predicted["marketing_source"].null_count == predicted.num_rows


def test_order_and_blocks_change_nothing(snapshot, scorer, bands, predicted, monkeypatch):
    shuffled = snapshot.take(np.random.default_rng(1).permutation(snapshot.num_rows))
    monkeypatch.setattr(predictions, "BLOCK", 7)
    again = predict(shuffled, scorer, bands, "candidate_hgb_20260105T030012Z", typical={"active_days_7d": 3.0})
    assert again.equals(predicted)


@pytest.mark.parametrize("users", [0, 1])
def test_nobody_and_one_user(snapshot, scorer, bands, layout, users):
    at_risk = snapshot.filter(snapshot["at_risk"]).slice(0, users)
    table = predict(at_risk, scorer, bands, "v")
    assert table.num_rows == users
    for path in write_predictions(layout, DAY, table, 50):
        assert len(rows_of(path)) == users
        assert path.read_text(encoding="utf-8").startswith("user_id,as_of_date,plan,")


def test_a_feature_that_is_all_null_is_scored_as_missing(snapshot, scorer, bands):
    place = snapshot.column_names.index("quiz_avg_score_30d")
    empty = snapshot.set_column(place, "quiz_avg_score_30d", pa.nulls(snapshot.num_rows, pa.float64()))
    table = predict(empty, scorer, bands, "v")
    assert pc.all(pc.is_finite(table["churn_risk"])).as_py()


def test_a_feature_that_vanished_is_named(snapshot, scorer, bands):
    with pytest.raises(EncodingError, match="active_days_7d"):
        predict(snapshot.drop_columns("active_days_7d"), scorer, bands, "v")


def test_a_new_column_is_ignored(snapshot, scorer, bands):
    wider = snapshot.append_column("shoe_size", pa.array(np.full(snapshot.num_rows, 43.0)))
    assert predict(wider, scorer, bands, "v").equals(predict(snapshot, scorer, bands, "v"))


def test_no_finite_score_is_an_error_that_names_a_user(snapshot, scorer, bands):
    values = snapshot["active_days_7d"].to_numpy().copy()
    first = int(np.flatnonzero(snapshot["at_risk"].to_numpy())[0])
    values[first] = np.inf
    quiz = snapshot["quiz_avg_score_30d"].to_numpy().copy()
    quiz[first] = -np.inf
    places = [snapshot.column_names.index(name) for name in ("active_days_7d", "quiz_avg_score_30d")]
    broken = snapshot.set_column(places[0], "active_days_7d", pa.array(values))
    broken = broken.set_column(places[1], "quiz_avg_score_30d", pa.array(quiz, from_pandas=True))
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ScoringError, match=f"1 of .*{snapshot['user_id'][first].as_py()}.*infinite"),
    ):
        predict(broken, scorer, bands, "v")


def test_files_hold_what_was_predicted(predicted, layout):
    whole, top, latest = write_predictions(layout, DAY, predicted, 50)
    assert whole.name == "churn_predictions_2026-01-05.csv"
    assert top.name == "churn_top_50_2026-01-05.csv"
    assert latest.name == "batch_predictions_latest.csv"
    rows = rows_of(whole)
    assert list(rows[0]) == CONTRACT.split()
    assert [float(row["churn_risk"]) for row in rows] == predicted["churn_risk"].to_pylist()
    assert [row["user_id"] for row in rows] == predicted["user_id"].to_pylist()
    assert {row["is_paid"] for row in rows} == {"0", "1", ""}
    assert {row["country"] for row in rows} == {"NO", 'say "hi", IN'}
    assert {row["marketing_source"] for row in rows} == {""}
    assert rows_of(top) == rows[:50]
    assert latest.read_bytes() == whole.read_bytes()


def test_writing_twice_gives_the_same_bytes(snapshot, scorer, bands, layout):
    first = [path.read_bytes() for path in write_predictions(layout, DAY, predict(snapshot, scorer, bands, "v"), 10)]
    again = [path.read_bytes() for path in write_predictions(layout, DAY, predict(snapshot, scorer, bands, "v"), 10)]
    assert first == again


def test_an_older_day_leaves_the_newest_copy_alone(predicted, layout):
    write_predictions(layout, DAY, predicted, 50)
    before = layout.latest_predictions.read_bytes()
    files = write_predictions(layout, DAY - dt.timedelta(days=1), predicted.slice(0, 5), 50)
    assert layout.latest_predictions not in files
    assert layout.latest_predictions.read_bytes() == before
    write_predictions(layout, DAY + dt.timedelta(days=1), predicted.slice(0, 5), 50)
    assert len(rows_of(layout.latest_predictions)) == 5


def test_a_full_disk_leaves_the_old_list(predicted, layout, monkeypatch):
    write_predictions(layout, DAY, predicted, 50)
    before = {path: path.read_bytes() for path in layout.predictions.iterdir()}

    def full(_table, part, _options):
        part.write_bytes(b"half a li")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.csv.write_csv", full)
    with pytest.raises(OSError, match="No space"):
        write_predictions(layout, DAY, predicted.slice(0, 5), 50)
    assert {path: path.read_bytes() for path in layout.predictions.iterdir()} == before

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from churn_assets.monitoring.served import SCHEMA, served_predictions, served_summary
from churn_serving.logs.prediction_log import PredictionLog, features_digest

DAY = dt.date(2026, 1, 5)
NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
VECTOR = np.array([1.0, np.nan])


def write(folder, rows, host="pod-1"):
    """Log rows of `(user id, version, score, hours after noon)`."""
    now = [0.0]
    log = PredictionLog(folder, interval=3600, clock=lambda: now[0], host=host)
    for number, (user, version, score, hours) in enumerate(rows):
        now[0] = NOON.timestamp() + 3600 * hours
        log.record(f"r{number}", user, version, score, VECTOR, DAY if number % 2 else None, by_id=bool(number % 2))
    assert log.close()
    assert log.dropped == 0


def test_a_day_of_two_pods_is_one_table_in_order_of_time(tmp_path):
    write(tmp_path, [("a", "v1", 0.1, 0), ("b", "v1", 0.2, 2), ("tomorrow", "v1", 0.9, 12)], "pod-1")
    write(tmp_path, [("yesterday", "v1", 0.9, -13), ("c", "v2", 0.3, 1), ("d", "v2", 0.4, 3)], "pod-2")
    table = served_predictions(tmp_path, DAY)
    assert table.schema.equals(SCHEMA)
    assert table["user_id"].to_pylist() == ["a", "c", "b", "d"]
    assert table.slice(1, 1).to_pylist() == [
        {
            "id": "r1",
            "time": NOON + dt.timedelta(hours=1),
            "user_id": "c",
            "model_version": "v2",
            "score": 0.3,
            "features": features_digest(VECTOR),
            "as_of_date": DAY,
            "source": "id",
        }
    ]
    assert table["as_of_date"].null_count == 2
    assert served_predictions(tmp_path, DAY + dt.timedelta(1))["user_id"].to_pylist() == ["tomorrow"]


def test_a_day_without_a_log_is_an_empty_table(tmp_path):
    table = served_predictions(tmp_path / "absent", DAY)
    assert table.num_rows == 0
    assert table.schema.equals(SCHEMA)


def test_the_summary_is_of_all_and_of_each_model(tmp_path):
    scores = np.linspace(0.0, 1.0, 101)
    write(tmp_path, [(f"u{n % 50}", "v2" if n > 50 else "v1", float(scores[n]), 0) for n in range(101)])
    found = served_summary(served_predictions(tmp_path, DAY))
    assert (found["rows"], found["users"]) == (101, 50)
    assert [found[key] for key in ("mean", "p50", "p90", "p99")] == pytest.approx([0.5, 0.5, 0.9, 0.99])
    assert {version: part["rows"] for version, part in found["by_model_version"].items()} == {"v1": 51, "v2": 50}
    assert found["by_model_version"]["v1"]["mean"] == pytest.approx(0.25)
    assert found["by_model_version"]["v2"]["p99"] == pytest.approx(np.quantile(scores[51:], 0.99))
    assert (found["broken_lines"], found["cut_off_lines"]) == (0, 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("table", [SCHEMA.empty_table(), pa.table([[]] * len(SCHEMA), schema=SCHEMA)])
def test_nobody_is_null_and_not_nan(table):
    found = served_summary(table)
    assert (found["rows"], found["users"]) == (0, 0)
    assert found["mean"] is found["p50"] is found["p90"] is found["p99"] is None
    assert found["by_model_version"] == {}
    json.dumps(found, allow_nan=False)


def test_what_could_not_be_read_is_counted_and_costs_no_other_row(tmp_path):
    write(tmp_path, [(f"u{n}", "v1", 0.5, 0) for n in range(5)])
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\0" * 30 + b"\n"
    lines[4] = lines[4][:20]
    path.write_bytes(b"".join(lines))
    table = served_predictions(tmp_path, DAY)
    assert table["user_id"].to_pylist() == ["u0", "u2", "u3"]
    found = served_summary(table)
    assert (found["rows"], found["broken_lines"], found["cut_off_lines"]) == (3, 1, 1)

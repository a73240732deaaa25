"""From `user_features` to what the service finds by id: the same numbers, the newest day, nothing else."""

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import DAYS, Export, changed, files_of, run

from churn_assets.features import publish
from churn_assets.features.build import build_snapshot
from churn_assets.features.publish import ids_of, publish_newest
from churn_assets.layout import Layout
from churn_serving.encoding import Encoder
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.keyed_writer import Ids
from churn_serving.online.publication import Publication
from churn_serving.online.snapshot import Binding, Snapshot
from churn_serving.schema import FeatureSpec
from churn_serving.settings import Paths

DAY = date(2026, 1, 5)
ODD = (math.nan, -0.0, 5e-324, 1.7e308, math.inf, 0.1)
NAMES = ("active_days_7d", "plan", "quiz", "is_paid", "channel")
MODEL = tuple(
    FeatureSpec(name=name, kind="category" if name in {"plan", "channel"} else "number", meaning="Any.",
                categories={"plan": ("pro", "free"), "channel": ("x",)}.get(name, ()))
    for name in reversed(NAMES)
)  # fmt: skip


@pytest.fixture
def layout(tmp_path):
    return Layout(Paths(data=tmp_path / "data", artifacts=tmp_path / "artifacts"))


def features_of(users, seed=0):
    """A table as the feature layer writes it: missing values, a category that is new to the model, one all null."""
    random = np.random.default_rng(seed)
    plans = random.choice(np.array(["free", "pro", "gold", None], dtype=object), users)
    return pa.table(
        {
            "user_id": [f"ü{number}" for number in random.permutation(users)],
            "as_of_date": pa.array([DAY] * users, pa.date32()),
            "at_risk": pa.array(random.random(users) < 0.6, mask=random.random(users) < 0.1),
            "active_days_7d": random.choice(np.array(ODD), users),
            "plan": pa.array(plans, pa.string()).dictionary_encode(),
            "quiz": pa.array(random.normal(size=users), mask=random.random(users) < 0.3),
            "is_paid": pa.array(random.integers(0, 2, users).astype(float), mask=random.random(users) < 0.2),
            "channel": pa.nulls(users, pa.string()).dictionary_encode(),
        }
    )


def served(layout):
    return Snapshot.of(Publication(layout.online_features).poll())


@pytest.mark.parametrize("users", [0, 1, 500])
def test_everybody_is_served_as_the_batch_would_encode_them(layout, monkeypatch, users):
    monkeypatch.setattr(publish, "BLOCK", 64)
    table = features_of(users)
    layout.user_features.write(DAY, table)
    publish_newest(layout)
    snapshot = served(layout)
    binding, encoder = Binding(snapshot, MODEL), Encoder(MODEL)
    expected = encoder.columns(table)
    assert snapshot.table.columns == ("at_risk", *NAMES)
    assert (snapshot.rows, snapshot.as_of_date, binding.absent) == (users, DAY, ())
    rows = [snapshot.find(user_id) for user_id in table["user_id"].to_pylist()]
    assert binding.matrix(rows).tobytes() == expected.tobytes()
    for row, vector, values in zip(rows, expected, table.to_pylist(), strict=True):
        assert binding.vector(row).tobytes() == vector.tobytes() == encoder.row(values).tobytes()
        assert snapshot.at_risk(row) == bool(values["at_risk"])
        assert binding.values(row)["plan"] == values["plan"]


def test_a_snapshot_in_several_row_groups_with_dictionaries_of_their_own(layout):
    table = features_of(300)
    parts = [table.slice(start, 100) for start in range(0, 300, 100)]
    parts[1] = parts[1].set_column(4, "plan", pa.array(["new"] * 100).dictionary_encode())
    layout.user_features.folder.mkdir(parents=True)
    with pq.ParquetWriter(layout.user_features.path(DAY), table.schema) as writer:
        for part in parts:
            writer.write_table(part)
    publish_newest(layout)
    snapshot = served(layout)
    found = [Binding(snapshot, MODEL).values(row)["plan"] for row in range(300)]
    assert found == [plan for part in parts for plan in part["plan"].to_pylist()]


def test_the_newest_day_is_published_whichever_was_built(layout):
    assert publish_newest(layout) is None
    layout.user_features.write(DAY, features_of(20))
    layout.user_features.write(DAY - timedelta(days=1), features_of(10, seed=1))
    assert publish_newest(layout).as_of_date == DAY
    assert served(layout).rows == 20


def test_an_older_day_never_replaces_a_newer_one(layout):
    layout.user_features.write(DAY, features_of(20))
    publish_newest(layout)
    layout.user_features.path(DAY).unlink()
    layout.user_features.write(DAY - timedelta(days=1), features_of(10, seed=1))
    assert publish_newest(layout) is None
    assert served(layout).as_of_date == DAY


def test_the_same_day_again_changes_nothing_and_a_corrected_day_is_served(layout):
    layout.user_features.write(DAY, features_of(20))
    publish_newest(layout)
    before = files_of(layout.online_features)
    publish_newest(layout)
    assert changed(before, files_of(layout.online_features)) == set()
    reader = Publication(layout.online_features)
    reader.poll()
    layout.user_features.write(DAY, features_of(21))
    publish_newest(layout)
    assert len(reader.poll().table) == 21


def test_users_that_cannot_be_told_apart_are_refused_and_the_old_day_is_served(layout):
    layout.user_features.write(DAY, features_of(20))
    publish_newest(layout)
    for ids, reason in ((["a", "a"], "'a' stands twice"), (["a", None], "1 of 2 users have no id")):
        wrong = features_of(2).set_column(0, "user_id", pa.array(ids, pa.string()))
        layout.user_features.write(DAY + timedelta(days=1), wrong)
        with pytest.raises(OnlineStoreError, match=reason):
            publish_newest(layout)
        assert served(layout).rows == 20


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_ids_come_from_any_column_of_text(kind):
    names = ["a", "", "é", "日本語", "b" * 100]
    whole = pa.chunked_array([names[:2], [], names[2:]], pa.string())
    for column in (whole.cast(kind), whole.cast(kind).slice(1, 3), whole.cast(kind).slice(5)):
        ids, expected = ids_of(column), Ids.of(column.to_pylist())
        assert ids.offsets.tolist() == expected.offsets.tolist()
        assert bytes(ids.content) == bytes(expected.content)
    assert len(ids_of(pa.chunked_array([], kind))) == 0


def test_from_an_export_to_the_service(tmp_path):
    export = Export(tmp_path)
    export.users("anna,2023-12-01,free,false,DE,organic", "böb,2024-01-08,,true,GB,email")
    export.events("anna,2024-01-02 08:00:00,video_watch,12.5,,", "anna,2024-01-07 08:00:00,login,,,")
    workspace = run(export).workspace
    for day in DAYS[-2:]:
        table = build_snapshot(workspace, day)
    publish_newest(workspace.layout)
    snapshot = served(workspace.layout)
    binding = Binding(snapshot, workspace.features.specs)
    assert (snapshot.as_of_date, snapshot.rows) == (DAYS[-1], 2)
    assert snapshot.age_seconds(datetime(2024, 1, 9, 1, tzinfo=UTC)) == 3600.0
    for values in table.to_pylist():
        row = snapshot.find(values["user_id"])
        assert binding.values(row) == {name: values[name] for name in workspace.features.names}
        assert snapshot.at_risk(row) == values["at_risk"]
    assert binding.values(snapshot.find("böb"))["plan"] is None
    assert binding.unseen(snapshot.find("anna")) == ("plan", "country", "marketing_source")

import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from builders import changed, files_of
from performance_world import WINDOW, World, after

from churn_assets.monitoring.performance.outcomes import (
    SCHEMA,
    SCORED,
    Tally,
    UnreadablePredictionsError,
    bring_up_to_date,
    join,
    outcomes_table,
    read_list,
    served_of,
    tally_of,
)
from churn_serving.published import Published

DAY = after(10)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, users=30)


def scored(*pairs):
    rows = [{"user_id": user, "model_version": "v1", "score": score} for user, score in pairs]
    return pa.Table.from_pylist(rows, SCORED)


def labels(**churned):
    return pa.table({"user_id": pa.array(churned, pa.string()), "churned": pa.array(churned.values(), pa.int8())})


def outcomes(world, day=DAY):
    return outcomes_table(world.layout).read(day)


def noon(day, hours=0):
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(hours=hours)


def test_what_meets_a_label_is_kept_and_what_does_not_is_counted():
    table = join(scored(("b", 0.2), ("a", 0.9), ("stranger", 0.4)), scored(("a", 0.8)), labels(a=1, b=0, c=1))
    assert table.schema.equals(SCHEMA)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("a", "v1", 0.9, 1, "batch"),
        ("b", "v1", 0.2, 0, "batch"),
        ("a", "v1", 0.8, 1, "http"),
    ]
    assert tally_of(table) == Tally(batch_unlabelled=1, http_unlabelled=0, unscored=1)


@pytest.mark.parametrize("batch", [scored(), scored(("x", 0.5))])
@pytest.mark.parametrize("known", [labels(), labels(a=1)])
def test_nothing_on_either_side_is_an_empty_day(batch, known):
    table = join(batch, scored(), known)
    assert table.num_rows == 0
    assert tally_of(table) == Tally(batch_unlabelled=batch.num_rows, unscored=known.num_rows)


def test_a_list_is_read_as_it_was_written(world):
    world.score(DAY)
    table = read_list(world.layout.predictions_file(DAY))
    assert table.schema.equals(SCORED)
    assert table.num_rows == 30
    assert table["score"].to_pylist() == sorted(table["score"].to_pylist(), reverse=True)


def test_ids_that_look_like_numbers_or_nothing_stay_text(world):
    path = world.layout.predictions_file(DAY)
    path.parent.mkdir(parents=True)
    path.write_text('user_id,churn_risk,model_version\n"007",0.5,"v1"\n"NA","1","v1"\n')
    assert read_list(path)["user_id"].to_pylist() == ["007", "NA"]


@pytest.mark.parametrize(
    "text",
    ["", "user_id,churn_risk\na,0.5\n", "user_id,churn_risk,model_version\na,much,v1\n",
     "user_id,churn_risk,model_version\na,,v1\n", "user_id,churn_risk,model_version\na,1.5,v1\n",
     "user_id,churn_risk,model_version\na,nan,v1\n"],
)  # fmt: skip
def test_a_damaged_list_is_refused_by_name_and_stops_nothing(world, text):
    path = world.layout.predictions_file(DAY)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UnreadablePredictionsError, match=path.name):
        read_list(path)
    world.mature(DAY)
    done, problems = bring_up_to_date(world.workspace, DAY, DAY)
    assert done == []
    assert path.name in problems[0]


def test_the_last_answer_of_a_user_counts_for_the_day_of_its_features(world):
    yesterday = DAY - timedelta(days=1)
    world.serve(
        [
            ("a", 0.1, noon(DAY, 20), DAY),
            ("a", 0.2, noon(DAY, 30), DAY),
            ("b", 0.3, noon(DAY, 30), yesterday),
            ("c", 0.4, noon(DAY, 1), None),
            ("d", 0.5, noon(DAY, 24), None),
        ]
    )
    folder = Published(world.workspace.settings.paths).prediction_log
    found = {row["user_id"]: row["score"] for row in served_of(folder, DAY).to_pylist()}
    assert found == {"a": 0.2, "c": 0.4}
    assert served_of(folder / "absent", DAY).num_rows == 0


def test_answers_stand_beside_the_list(world):
    world.score(DAY, rows=20)
    world.mature(DAY, rows=25)
    world.serve([("u0003", 0.7, noon(DAY, 20), DAY), ("stranger", 0.7, noon(DAY, 20), DAY)])
    bring_up_to_date(world.workspace, DAY, DAY)
    table = outcomes(world)
    assert table["source"].to_pylist() == ["batch"] * 20 + ["http"]
    assert tally_of(table) == Tally(batch_unlabelled=0, http_unlabelled=1, unscored=5)


def test_a_day_that_only_the_service_scored_is_joined(world):
    world.mature(DAY)
    world.serve([("u0003", 0.7, noon(DAY, 20), DAY)])
    assert bring_up_to_date(world.workspace, DAY, DAY) == ([DAY], [])
    assert outcomes(world)["source"].to_pylist() == ["http"]


def test_answers_whose_lines_were_cleaned_up_stay_when_labels_come_late(world):
    world.mature(DAY)
    world.serve([("u0003", 0.7, noon(DAY, 20), DAY)])
    bring_up_to_date(world.workspace, DAY, DAY)
    for path in Published(world.workspace.settings.paths).prediction_log.iterdir():
        path.unlink()
    world.serve([("u0004", 0.2, noon(DAY, 44), DAY)])
    world.mature(DAY, left=True)
    assert bring_up_to_date(world.workspace, DAY, DAY)[0] == [DAY]
    found = {row["user_id"]: (row["score"], row["churned"]) for row in outcomes(world).to_pylist()}
    assert found == {"u0003": (0.7, 1), "u0004": (0.2, 1)}


def test_only_what_is_new_or_changed_is_joined_again(world):
    world.live(8, 12)
    first, last = after(8), after(12)
    assert bring_up_to_date(world.workspace, first, last)[0] == [after(n) for n in range(8, 13)]
    before = files_of(world.folder)
    assert bring_up_to_date(world.workspace, first, last) == ([], [])
    assert changed(before, files_of(world.folder)) == set()
    world.mature(DAY, left=True)
    assert bring_up_to_date(world.workspace, first, last)[0] == [DAY]
    assert set(outcomes(world)["churned"].to_pylist()) == {1}


def test_a_run_that_died_before_it_noted_its_work_is_made_up_for(world):
    world.live(10, 10)
    bring_up_to_date(world.workspace, DAY, DAY)
    (outcomes_table(world.layout).folder / "built_from.json").unlink()
    assert bring_up_to_date(world.workspace, DAY, DAY)[0] == [DAY]
    assert bring_up_to_date(world.workspace, DAY, DAY)[0] == []


def test_outcomes_that_were_lost_are_made_again(world):
    world.live(10, 10)
    bring_up_to_date(world.workspace, DAY, DAY)
    outcomes_table(world.layout).path(DAY).unlink()
    assert bring_up_to_date(world.workspace, DAY, DAY)[0] == [DAY]


def test_a_list_rewritten_with_the_same_content_changes_no_outcome(world):
    world.live(10, 10)
    bring_up_to_date(world.workspace, DAY, DAY)
    before = outcomes_table(world.layout).stamp(DAY)
    os.utime(world.layout.predictions_file(DAY), (1, 1))
    assert bring_up_to_date(world.workspace, DAY, DAY)[0] == [DAY]
    assert outcomes_table(world.layout).stamp(DAY) == before


def test_predictions_wait_for_labels_and_labels_for_predictions(world):
    world.score(DAY)
    world.mature(after(11))
    assert bring_up_to_date(world.workspace, DAY, after(11)) == ([], [])
    world.mature(DAY)
    assert bring_up_to_date(world.workspace, DAY, after(11))[0] == [DAY]


def test_what_was_joined_outlives_the_list(world):
    world.live(10, 10)
    bring_up_to_date(world.workspace, DAY, DAY)
    scores = outcomes(world)["score"]
    world.layout.predictions_file(DAY).unlink()
    world.mature(DAY, left=True)
    assert bring_up_to_date(world.workspace, DAY, DAY)[0] == [DAY]
    assert outcomes(world)["score"].equals(scores)
    assert set(outcomes(world)["churned"].to_pylist()) == {1}


def test_labels_are_those_of_the_as_of_date(world):
    world.score(DAY)
    world.mature(DAY - timedelta(days=WINDOW))
    assert bring_up_to_date(world.workspace, DAY, DAY) == ([], [])

"""The history of a user's scores, from tables that are published, replaced and dropped."""

import threading
from datetime import timedelta

import pytest
from online_tables import DAY, Clock, draft, publisher, visible

from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.pointer import NothingPublishedError
from churn_serving.online.scores import COLUMNS, DayScore, ScoreHistory


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "online"


def publish(folder, number, scores, version="v1", *, keep=90, clock=None):
    """Publish the scores of day `number`, given by user; ranks count from 1 in their order."""
    matrix = [[risk, rank] for rank, risk in enumerate(scores.values(), 1)]
    table = draft(
        list(scores),
        columns=COLUMNS,
        matrix=matrix,
        day=DAY + timedelta(days=number),
        metadata={"model_version": version},
    )
    return publisher(folder, keep, clock, stem="scores").publish(table)


def days(*numbers):
    return tuple(DAY + timedelta(days=number) for number in numbers)


def test_a_user_s_scores_come_oldest_first(folder):
    publish(folder, 1, {"b": 0.75, "a": 0.5}, "v2")
    publish(folder, 0, {"a": 0.9, "c": 0.1}, "v1")
    history = ScoreHistory(folder)
    assert history.of("a") == []
    assert history.refresh() is True
    assert history.of("a") == [DayScore(DAY, 0.9, 1, 2, "v1"), DayScore(days(1)[0], 0.5, 2, 2, "v2")]
    assert history.of("c") == [DayScore(DAY, 0.1, 2, 2, "v1")]
    assert history.of("d") == history.of("\ud800") == []
    assert history.dates == days(0, 1)


def test_nothing_new_is_no_change(folder):
    publish(folder, 0, {"a": 0.9})
    history = ScoreHistory(folder)
    assert [history.refresh() for _ in range(3)] == [True, False, False]
    publish(folder, 0, {"a": 0.9})
    assert history.refresh() is False


def test_a_day_scored_again_is_replaced_and_others_are_not_opened_again(folder):
    publish(folder, 0, {"a": 0.9})
    publish(folder, 1, {"a": 0.8})
    history = ScoreHistory(folder)
    history.refresh()
    before = {day.entry.as_of_date: day.table for day in history._days}
    publish(folder, 1, {"a": 0.4}, "v2")
    assert history.refresh() is True
    assert [(score.churn_risk, score.model_version) for score in history.of("a")] == [(0.9, "v1"), (0.4, "v2")]
    assert history._days[0].table is before[DAY]
    assert before[days(1)[0]].row(0).tolist() == [0.8, 1.0]


def test_days_that_are_too_old_are_dropped_and_their_files_later(folder):
    clock = Clock()
    history = ScoreHistory(folder)
    for number in range(8):
        publish(folder, number, {"a": number / 10}, keep=3, clock=clock)
        history.refresh()
        clock.forward(days=1)
    assert history.dates == days(5, 6, 7)
    assert len(visible(folder)) == 3 + 2
    assert publish(folder, 2, {"a": 0.2}, keep=3, clock=clock) is None


def test_a_missing_day_may_be_filled_in_later(folder):
    for number in (0, 3, 1):
        publish(folder, number, {"a": number / 10})
    history = ScoreHistory(folder)
    history.refresh()
    assert history.dates == days(0, 1, 3)


def test_many_days_scored_again_at_once_keep_their_old_files_for_a_while(folder):
    clock = Clock()
    for version in ("v1", "v2"):
        for number in range(6):
            publish(folder, number, {"a": 0.5}, version, clock=clock)
    assert len(visible(folder)) == 12
    clock.forward(hours=1)
    publish(folder, 6, {"a": 0.5}, "v2", clock=clock)
    assert len(visible(folder)) == 7 + 2


def test_a_broken_day_is_named_and_the_others_are_there(folder):
    publish(folder, 0, {"a": 0.9})
    publish(folder, 2, {"a": 0.7})
    broken = folder / publish(folder, 1, {"a": 0.8}).file
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1])
    history = ScoreHistory(folder)
    for _ in range(2):
        with pytest.raises(OnlineStoreError, match=broken.name):
            history.refresh()
        assert history.dates == days(0, 2)
    broken.write_bytes(whole)
    assert history.refresh() is True
    assert history.dates == days(0, 1, 2)


def test_a_day_whose_new_scores_are_broken_keeps_the_old_ones(folder):
    publish(folder, 0, {"a": 0.9})
    history = ScoreHistory(folder)
    history.refresh()
    (folder / publish(folder, 0, {"a": 0.4}).file).write_bytes(b"cut")
    with pytest.raises(OnlineStoreError, match="publish it again"):
        history.refresh()
    assert [score.churn_risk for score in history.of("a")] == [0.9]


def test_another_kind_of_table_is_refused(folder):
    publisher(folder, 90).publish(draft())
    with pytest.raises(OnlineStoreError, match="no table of scores"):
        ScoreHistory(folder).refresh()


def test_nothing_published_yet_is_an_error_of_its_own(folder):
    with pytest.raises(NothingPublishedError):
        ScoreHistory(folder).refresh()


def test_readers_see_all_days_of_one_refresh(folder):
    for number in range(3):
        publish(folder, number, {"a": 0.0})
    history, stop = ScoreHistory(folder), threading.Event()
    history.refresh()
    seen = []

    def read():
        while not stop.is_set():
            seen.append([score.churn_risk for score in history.of("a")])

    reader = threading.Thread(target=read)
    reader.start()
    for risk in (0.1, 0.2):
        for number in range(3):
            publish(folder, number, {"a": risk})
        history.refresh()
    stop.set()
    reader.join()
    seen.append([score.churn_risk for score in history.of("a")])
    assert {tuple(risks) for risks in seen} <= {(risk,) * 3 for risk in (0.0, 0.1, 0.2)}
    assert seen[-1] == [0.2] * 3

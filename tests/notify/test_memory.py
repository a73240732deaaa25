"""What was told is not told again; what still holds is, after a while."""

import logging
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.notify.memory import KEPT_DAYS, Memory, is_due, pruned
from churn_assets.notify.messages import STANDING, Kind, Message

DAY = date(2026, 3, 10)
DAYS = st.dates(date(2024, 1, 1), date(2028, 1, 1))
KINDS = st.sampled_from(Kind.__args__)


def message(kind="run_failed", subject="1"):
    return Message(kind, subject, "title", "body")


@given(kind=KINDS, last=DAYS, days=st.integers(-1, 500), repeat=st.integers(1, 60))
def test_a_message_is_due_if_it_stands_and_was_told_long_ago(kind, last, days, repeat):
    due = is_due(message(kind), last, last + timedelta(days), repeat)
    assert due == (kind in STANDING and days >= repeat)


@given(kind=KINDS, today=DAYS, repeat=st.integers(1, 60))
def test_what_was_never_told_is_due(kind, today, repeat):
    assert is_due(message(kind), None, today, repeat)


@given(ahead=st.integers(2, 4000))
def test_a_clock_that_was_far_ahead_does_not_silence_what_stands(ahead):
    assert is_due(message("disk_low"), DAY + timedelta(ahead), DAY, 7)
    assert not is_due(message("run_failed"), DAY + timedelta(ahead), DAY, 7)


@given(told=st.dictionaries(st.tuples(KINDS, st.text()), DAYS), today=DAYS)
def test_pruning_leaves_out_what_is_old_and_nothing_else(told, today):
    kept = pruned(told, today)
    assert kept.items() <= told.items()
    assert all(on < today - timedelta(KEPT_DAYS) for key, on in told.items() if key not in kept)
    assert all(on >= today - timedelta(KEPT_DAYS) for on in kept.values())
    assert pruned(kept, today) == kept


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(KINDS, st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.booleans())))
def test_the_file_holds_what_a_dictionary_would(tmp_path_factory, steps):
    memory, model = Memory(tmp_path_factory.mktemp("memory") / "told.json"), {}
    for kind, subject, is_told in steps:
        if is_told:
            assert memory.remember(message(kind, subject), DAY)
            model[kind, subject] = DAY
        else:
            assert memory.forget(kind, subject)
            model.pop((kind, subject), None)
    assert memory.read() == model
    before = memory.path.read_bytes() if steps else b""
    for kind, subject in model:
        assert memory.last(kind, subject) == DAY
        memory.remember(message(kind, subject), DAY)
    assert not model or memory.path.read_bytes() == before


def test_old_entries_leave_when_something_is_told(tmp_path):
    memory = Memory(tmp_path / "told.json")
    memory.remember(message(subject="old"), DAY)
    memory.remember(message(subject="new"), DAY + timedelta(KEPT_DAYS + 1))
    assert list(memory.read()) == [("run_failed", "new")]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1}', b'[{"kind": "stale"}]', b'[["a", "b", "c"]]'])
def test_a_file_that_makes_no_sense_counts_as_empty_and_is_replaced(tmp_path, caplog, content):
    memory = Memory(tmp_path / "told.json")
    memory.path.write_bytes(content)
    assert memory.read() == {}
    assert "cannot be read" in caplog.text
    assert memory.remember(message(), DAY)
    assert memory.read() == {("run_failed", "1"): DAY}


def test_a_kind_of_a_later_release_is_kept(tmp_path):
    memory = Memory(tmp_path / "told.json")
    memory.path.write_text('[{"kind": "moon_full", "subject": "x", "on": "2026-03-01", "by": "us"}]')
    memory.remember(message(), DAY)
    assert ("moon_full", "x") in memory.read()


def test_a_place_that_cannot_be_written_is_told_and_raises_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    memory = Memory(tmp_path / "file" / "told.json")
    with caplog.at_level(logging.WARNING), memory.held() as alone:
        assert alone
        assert not memory.remember(message(), DAY)
    assert "told twice" in caplog.text


def test_who_waits_too_long_for_another_process_is_told_so(tmp_path):
    memory = Memory(tmp_path / "told.json", lock_seconds=0.05)
    with memory.held() as first:
        assert first
        with Memory(memory.path, lock_seconds=0.05).held() as second:
            assert not second
    with memory.held() as again:
        assert again

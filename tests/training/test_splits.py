from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from churn_assets.training.splits import NotEnoughHistory, as_of_dates_for_training, held_back_users, split_dates

FIRST = dt.date(2026, 1, 1)
FIXED = settings(deadline=None, derandomize=True)


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def weekly(count: int) -> list[dt.date]:
    return [day(7 * i) for i in range(count)]


def label_days(dates: tuple[dt.date, ...], window: int) -> set[dt.date]:
    return {date + dt.timedelta(days=ahead) for date in dates for ahead in range(1, window + 1)}


histories = st.lists(st.integers(0, 700), min_size=1, max_size=80, unique=True)


@given(histories, st.integers(1, 60), st.sampled_from([0.1, 0.25, 0.4]), st.sampled_from([0.1, 0.15, 0.3]))
@FIXED
def test_labels_of_a_part_have_come_true_before_the_next_part_begins(days, window, test_share, calibration_share):
    try:
        split = split_dates(
            map(day, days), window_days=window, test_share=test_share, calibration_share=calibration_share
        )
    except NotEnoughHistory:
        reject()
    pairs = [(split.training, split.test), (split.calibration, split.test)]
    if split.calibration_by == "date":
        pairs.append((split.training, split.calibration))
    for earlier, later in pairs:
        assert max(label_days(earlier, window)) <= later[0]
        assert not label_days(earlier, window) & label_days(later, window)
    assert split.training
    assert split.test[-1] == day(max(days))
    assert {*split.training, *split.calibration, *split.test} <= {day(d) for d in days}


@given(histories, st.integers(1, 60))
@FIXED
def test_no_row_is_in_two_parts_and_no_user_both_teaches_and_calibrates_a_short_history(days, window):
    try:
        split = split_dates(map(day, days), window_days=window)
    except NotEnoughHistory:
        reject()
    users = [f"u{i}" for i in range(40)]
    frame = pd.DataFrame([(user, day(d)) for user in users for d in days], columns=["user_id", "as_of_date"])
    masks = split.masks(frame["as_of_date"], frame["user_id"])
    assert (masks.training.astype(int) + masks.calibration + masks.test).max() == 1
    if split.calibration_by == "user":
        teaching, calibrating = (set(frame["user_id"][mask]) for mask in (masks.training, masks.calibration))
        assert not teaching & calibrating
    assert set(frame["as_of_date"][masks.test]) == set(split.test)


def test_a_long_history_is_cut_by_date_in_the_shares_asked_for():
    split = split_dates(weekly(52), window_days=30)
    assert (split.calibration_by, split.degraded, split.calibration_user_share) == ("date", False, 0.0)
    assert (len(split.test), len(split.calibration)) == (13, 8)
    assert split.calibration[0] - split.training[-1] == dt.timedelta(days=35)
    assert split.test[0] - split.calibration[-1] == dt.timedelta(days=35)


def test_an_embargo_of_exactly_the_label_window_is_enough():
    split = split_dates(weekly(40), window_days=28)
    assert split.test[0] - split.calibration[-1] == dt.timedelta(days=28)


def test_150_days_calibrate_by_users_and_say_so():
    dates = as_of_dates_for_training(day(0), day(149), windows=[7, 14, 30], label_window=30)
    assert (dates[0], dates[-1], len(dates)) == (day(35), day(119), 13)
    split = split_dates(dates, window_days=30)
    assert split.calibration_by == "user"
    assert split.calibration == split.training == tuple(day(d) for d in (35, 42, 49, 56, 63, 70))
    assert split.test == (day(105), day(112), day(119))
    assert split.calibration_user_share == pytest.approx(0.2)
    assert "20% of the users" in split.note


def test_too_short_a_history_says_how_many_days_there_are_and_are_needed():
    with pytest.raises(NotEnoughHistory, match=r"span 15 days and about 43 are needed") as error:
        split_dates(weekly(3), window_days=30)
    assert split_dates(weekly((error.value.days_needed - 1) // 7 + 1), window_days=30).training


def test_no_dates_at_all_is_too_short():
    with pytest.raises(NotEnoughHistory):
        split_dates([], window_days=30)


def test_sampled_dates_need_a_full_window_and_a_complete_label():
    assert as_of_dates_for_training(day(0), day(59), windows=[7, 30], label_window=30) == (day(29),)
    with pytest.raises(NotEnoughHistory, match="59 days of data and 60 are needed"):
        as_of_dates_for_training(day(0), day(58), windows=[7, 30], label_window=30)


@given(st.integers(0, 400), st.integers(1, 40), st.integers(1, 40), st.integers(1, 10))
@FIXED
def test_sampled_dates_stay_within_the_data_and_are_as_many_as_fit(last, window, label, every):
    if last + 1 < window + label:
        with pytest.raises(NotEnoughHistory, match=f"There are {last + 1} days"):
            as_of_dates_for_training(day(0), day(last), windows=[window], label_window=label, every_days=every)
        return
    dates = as_of_dates_for_training(day(0), day(last), windows=[window], label_window=label, every_days=every)
    assert dates[-1] == day(last - label)
    assert day(window - 1) <= dates[0] < day(window - 1 + every)
    assert {(b - a).days for a, b in itertools.pairwise(dates)} <= {every}


@pytest.mark.parametrize("wrong", [{"window_days": 0}, {"test_share": 0.0}, {"test_share": 0.9}])
def test_impossible_splits_are_refused(wrong):
    with pytest.raises(ValueError, match="impossible split"):
        split_dates(weekly(50), **{"window_days": 30, **wrong})


def test_the_same_users_are_held_back_whatever_the_order_and_about_as_many_as_asked_for():
    users = pd.Series([f"u{i}" for i in range(2000)])
    held = held_back_users(users, 0.2)
    assert 0.17 < held.mean() < 0.23
    assert np.array_equal(held_back_users(users[::-1], 0.2)[::-1], held)
    assert not held_back_users(users, 0.0).any()
    assert held_back_users(users, 1.0).all()

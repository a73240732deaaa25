"""Which rows teach, which calibrate and which judge: by date, with an embargo between.

The law of the embargo: the label of an as-of date D covers the days D+1 to D+w, and the features of a later as-of
date D' cover days up to and including D'. Two parts are apart when D + w <= D' for every D of the earlier and every
D' of the later one. Then each label day of the earlier part has passed when the later part begins, so the earlier
model could really have been trained by the end of day D'; and as D' is labelled by D'+1 to D'+w, no day labels both.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

Dates = tuple[dt.date, ...]


class NotEnoughHistory(ValueError):  # noqa: N818 - it names what is lacking
    """The days of data do not suffice for training and testing a label window apart.

    Attributes:
        days_there: Days that there are.
        days_needed: Days that the same request would need.
    """

    def __init__(self, message: str, *, days_there: int, days_needed: int) -> None:
        super().__init__(message)
        self.days_there = days_there
        self.days_needed = days_needed


@dataclass(frozen=True, kw_only=True)
class DateSplit:
    """Three parts of the history. Later parts never share a label day with earlier ones, except where told.

    Attributes:
        training: As-of dates that the classifier learns from, ascending.
        calibration: As-of dates of the calibration slice; the training dates themselves if it is cut by users.
        test: As-of dates of the holdout, the newest ones.
        embargo_days: Days that must lie between the as-of dates of two parts: the label window.
        calibration_by: `date`: a later period of all users. `user`: the training period of users held back.
        calibration_user_share: Share of the users held back (0 when by date).
        note: In one sentence, how the history was cut and, if it was short, what that cost.
    """

    training: Dates
    calibration: Dates
    test: Dates
    embargo_days: int
    calibration_by: Literal["date", "user"]
    calibration_user_share: float
    note: str

    @property
    def degraded(self) -> bool:
        """Whether the history was too short for the intended cut."""
        return self.calibration_by == "user"

    def masks(self, as_of_dates: pd.Series, user_ids: pd.Series) -> SplitMasks:
        """Say for each row which part it is in; rows of the embargo are in none.

        Args:
            as_of_dates: As-of date a row (dates or datetimes).
            user_ids: User a row, same length.

        Returns:
            Three masks, disjoint, one entry a row.
        """
        days = as_days(as_of_dates)
        training, calibration, test = (_is_among(days, part) for part in (self.training, self.calibration, self.test))
        if self.calibration_by == "user":
            held_back = held_back_users(user_ids, self.calibration_user_share)
            training, calibration = training & ~held_back, calibration & held_back
        return SplitMasks(training=training, calibration=calibration, test=test)


@dataclass(frozen=True, kw_only=True)
class SplitMasks:
    """Row masks of the three parts, each of shape (n_rows,)."""

    training: Mask
    calibration: Mask
    test: Mask


def as_of_dates_for_training(
    first_day: dt.date, last_day: dt.date, *, windows: Sequence[int], label_window: int, every_days: int = 7
) -> Dates:
    """Sample the as-of dates that have both full features and a complete label.

    The newest is `last_day - label_window`; from there backwards every `every_days` days, down to the first date whose
    longest feature window (which includes the as-of day) lies within the data. A week's step keeps the weekday, so
    the weekly rhythm is no difference between dates.

    Args:
        first_day: First day with data.
        last_day: Last complete day with data.
        windows: Feature windows in days.
        label_window: Label window in days.
        every_days: Days between as-of dates.

    Returns:
        The dates, ascending; at least one.

    Raises:
        NotEnoughHistory: Not one date has full features and a complete label.
        ValueError: A window or step is not positive.
    """
    longest = max(windows, default=1)
    if min(longest, label_window, every_days) < 1:
        raise ValueError(f"windows and steps are at least 1 day: {windows=}, {label_window=}, {every_days=}")
    there, needed = (last_day - first_day).days + 1, longest + label_window
    if there < needed:
        raise NotEnoughHistory(
            f"There are {max(there, 0)} days of data and {needed} are needed: {longest} for the longest feature window "
            f"and {label_window} more for the label. Bring more history, or shorten features.windows_days or "
            "churn.window_days.",
            days_there=max(there, 0),
            days_needed=needed,
        )
    newest = last_day - dt.timedelta(days=label_window)
    count = (there - needed) // every_days + 1
    return tuple(newest - dt.timedelta(days=every_days * back) for back in reversed(range(count)))


def split_dates(
    as_of_dates: Iterable[dt.date], *, window_days: int, test_share: float = 0.25, calibration_share: float = 0.15
) -> DateSplit:
    """Cut the as-of dates into training, calibration and test, in this order of time, whole dates only.

    Test takes the newest dates, calibration the dates before it, each after an embargo of `window_days` (the law is
    in this module's head). Two embargoes are dear when the history is short, so there is one defined way down:

    1. by date, as long as that leaves at least as many training dates as test dates;
    2. else calibration is a slice of the *users* of the training period, in no other part before the test; the
       embargo before the test stays. `DateSplit.note` says so;
    3. else, without one training date, `NotEnoughHistory`.

    Args:
        as_of_dates: The dates there are, in any order, repeated or not.
        window_days: Label window in days.
        test_share: Share of the dates for the test, in (0, 1).
        calibration_share: Share of the dates for calibration, in (0, 1 - `test_share`).

    Returns:
        The split.

    Raises:
        NotEnoughHistory: Nothing is left to train on; says how many days there are and are needed.
        ValueError: Shares or window are impossible.
    """
    if not (0 < test_share < 1 and 0 < calibration_share < 1 - test_share and window_days >= 1):
        raise ValueError(f"impossible split: {window_days=}, {test_share=}, {calibration_share=}")
    dates = tuple(sorted(set(as_of_dates)))
    test = dates[len(dates) - _share_of(len(dates), test_share) :]
    before_test = _apart_from(dates, test, window_days)
    if not before_test:
        raise _too_short(dates, window_days, test_share)
    calibration = before_test[-_share_of(len(dates), calibration_share) :]
    training = _apart_from(before_test, calibration, window_days)
    if len(training) >= len(test):
        note = f"Each part begins {window_days} days or more after the one before."
        return DateSplit(
            training=training,
            calibration=calibration,
            test=test,
            embargo_days=window_days,
            calibration_by="date",
            calibration_user_share=0.0,
            note=note,
        )
    return _split_by_users(before_test, test, window_days, calibration_share / (1 - test_share))


def held_back_users(user_ids: pd.Series, share: float) -> Mask:
    """Mark the rows of a fixed pseudo-random share of the users, by a hash of the id: the same users on every machine.

    Args:
        user_ids: User a row.
        share: Share of the users to mark, in [0, 1].

    Returns:
        Mask of shape (n_rows,); all rows of a user have the same value.
    """
    import pandas as pd

    codes, users = pd.factorize(user_ids)
    limit = math.floor(share * 2**64)
    held = np.fromiter((_hash64(str(user)) < limit for user in users), dtype=np.bool_, count=len(users))
    return held[codes]


def as_days(as_of_dates: pd.Series) -> NDArray[np.datetime64]:
    """Return dates or datetimes as `datetime64[D]` of shape (n_rows,)."""
    import pandas as pd

    return pd.to_datetime(as_of_dates).to_numpy().astype("datetime64[D]")


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"calibration").digest(), "big")


def _is_among(days: NDArray[np.datetime64], part: Dates) -> Mask:
    return np.isin(days, np.array(part, dtype="datetime64[D]"))


def _share_of(count: int, share: float) -> int:
    return max(1, round(count * share))


def _apart_from(dates: Dates, later: Dates, window_days: int) -> Dates:
    """Return those of `dates` whose label is complete on the first day of `later`."""
    if not later:
        return ()
    last = later[0] - dt.timedelta(days=window_days)
    return tuple(date for date in dates if date <= last)


def _split_by_users(training: Dates, test: Dates, window_days: int, share: float) -> DateSplit:
    note = (
        f"The history is too short for a calibration period of its own between two embargoes of {window_days} days: "
        f"{share:.0%} of the users of the training period are held back for calibration instead. "
        f"The embargo of {window_days} days before the test stands."
    )
    return DateSplit(
        training=training,
        calibration=training,
        test=test,
        embargo_days=window_days,
        calibration_by="user",
        calibration_user_share=share,
        note=note,
    )


def _too_short(dates: Dates, window_days: int, test_share: float) -> NotEnoughHistory:
    there = (dates[-1] - dates[0]).days + 1 if dates else 0
    gaps = np.diff(np.array(dates, dtype="datetime64[D]")).astype(int)
    step = int(np.median(gaps)) if len(gaps) else 7
    count = 2
    while (count - _share_of(count, test_share)) * step < window_days:
        count += 1
    needed = max((count - 1) * step + 1, there + 1)
    return NotEnoughHistory(
        f"The {len(dates)} as-of dates span {there} days and about {needed} are needed: the test takes the newest "
        f"{test_share:.0%}, and training has to end a label window of {window_days} days before it. "
        f"Bring {needed - there} more days of history, or shorten churn.window_days.",
        days_there=there,
        days_needed=needed,
    )

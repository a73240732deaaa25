"""Features as of a date: one function for history, for the day and for training.

Sums over windows are differences of cumulative sums along the days. A window of w days ends with the as-of date and
includes it. Everything is computed from what was known on that date; later events change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from churn_assets.features.catalogue import FAIL_RATE_DAYS, MAX_TENURE_DAYS, FeatureSet
from churn_assets.features.panel import Block, Engagements, Panel, ordinal
from churn_assets.features.user_daily import QUIZ_COUNT, QUIZ_SUM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Grid = npt.NDArray[Any]
    Mask = npt.NDArray[np.bool_]

LARGEST = np.iinfo(np.int32).max


def measures_needed(features: FeatureSet) -> tuple[str, ...]:
    """The columns of `user_daily` that these features are made of."""
    sums = [measure.name for measure in features.measures if measure.name != "active_days"]
    return (*sums, QUIZ_SUM, QUIZ_COUNT) if features.quiz_scores else tuple(sums)


def features_as_of(
    panel: Panel, as_of_dates: Sequence[date], features: FeatureSet, *, at_risk_only: bool = False, labels: bool = False
) -> Iterator[pa.Table]:
    """Compute features (and labels) of every user on every as-of date.

    Args:
        panel: Daily activity from at least `features.longest` days before the first date (or the start of history) to
            the last date; with `labels`, `features.label_window` days further.
        as_of_dates: Ascending, within the panel.
        features: What to compute.
        at_risk_only: Leave out who is not at risk.
        labels: Add `churned`: 1 if there is no activity in the label window after the date.

    Yields:
        A table a block of users: `user_id`, `as_of_date`, `at_risk`, `churned` if asked for, then the features, in the
        catalogue's order. Users who have not signed up by the date are left out.
    """
    dates = np.array([ordinal(day) for day in as_of_dates], dtype=np.int64)
    for block in panel.blocks():
        yield _Windows(block, dates, features).table(at_risk_only=at_risk_only, labels=labels)


def labels_as_of(panel: Panel, as_of_dates: Sequence[date], features: FeatureSet) -> Iterator[pa.Table]:
    """Compute the labels alone, of everybody at risk on every as-of date.

    Args:
        panel: As `features_as_of` needs it for labels; the measure `events` is enough.
        as_of_dates: Ascending, within the panel.
        features: Who is at risk, and how far ahead the label looks.

    Yields:
        A table a block of users: `user_id`, `as_of_date`, `churned`.
    """
    dates = np.array([ordinal(day) for day in as_of_dates], dtype=np.int64)
    for block in panel.blocks():
        yield _Windows(block, dates, features).labels()


@dataclass
class _Windows:
    """One block of users on all dates. Arrays are (dates, users) unless said otherwise."""

    block: Block
    dates: Integers
    features: FeatureSet
    _kept: dict[str, Grid] = field(default_factory=dict)

    def table(self, *, at_risk_only: bool, labels: bool) -> pa.Table:
        """The block's features as a table of its users at risk, or of all who have signed up."""
        at_risk = self._at_risk()
        rows = at_risk if at_risk_only else self._signed_up()
        date_of, user_of = np.nonzero(rows)
        columns: dict[str, pa.Array] = {
            "user_id": self.block.panel.users.ids.take(pa.array(user_of + self.block.low)),
            "as_of_date": pa.array(self.dates[date_of].astype(np.int32)).cast(pa.date32()),
            "at_risk": pa.array(at_risk[rows]),
        }
        if labels:
            columns["churned"] = pa.array((self._active_ahead() == 0)[rows].astype(np.int8))
        numbers = self._numbers()
        for spec in self.features.specs:
            columns[spec.name] = self._column(spec.name, numbers, rows, user_of)
        return pa.table(columns)

    def labels(self) -> pa.Table:
        """The block's labels."""
        at_risk = self._at_risk()
        date_of, user_of = np.nonzero(at_risk)
        return pa.table(
            {
                "user_id": self.block.panel.users.ids.take(pa.array(user_of + self.block.low)),
                "as_of_date": pa.array(self.dates[date_of].astype(np.int32)).cast(pa.date32()),
                "churned": pa.array((self._active_ahead() == 0)[at_risk].astype(np.int8)),
            }
        )

    def _column(self, name: str, numbers: dict[str, Grid], rows: Mask, user_of: Integers) -> pa.Array:
        if name in numbers:
            values = numbers.pop(name)[rows]
            return pa.array(values.astype(np.float64, copy=False), mask=_missing(values))
        trait = self.block.panel.users.traits[name].take(pa.array(user_of + self.block.low))
        return trait.cast(pa.int8()).cast(pa.float64()) if name == "is_paid" else trait.dictionary_encode()

    def _numbers(self) -> dict[str, Grid]:
        found: dict[str, Grid] = {}
        for measure in self.features.measures:
            for days in self.features.windows:
                found[f"{measure.name}_{days}d"] = self._sum(measure.name, days)
        if self.features.quiz_scores:
            found |= self._quiz()
        if self.features.payments:
            failed = self._sum("payment_failed", FAIL_RATE_DAYS)
            paid = self._sum("payment_success", FAIL_RATE_DAYS)
            found[f"payment_fail_rate_{FAIL_RATE_DAYS}d"] = _ratio(failed, failed + paid)
        found |= self._trends() | self._times()
        if self.block.panel.engagements is not None:
            found |= self._engaged()
        return found

    def _quiz(self) -> dict[str, Grid]:
        found: dict[str, Grid] = {
            f"quiz_avg_score_{days}d": _ratio(self._sum(QUIZ_SUM, days), self._sum(QUIZ_COUNT, days))
            for days in self.features.windows
        }
        if self.features.trend_windows:
            recent, longer = self.features.trend_windows
            name = f"quiz_avg_score_trend_{recent}d_{longer}d"
            found[name] = found[f"quiz_avg_score_{recent}d"] - found[f"quiz_avg_score_{longer}d"]
        return found

    def _trends(self) -> dict[str, Grid]:
        if self.features.trend_windows is None:
            return {}
        recent, longer = self.features.trend_windows
        return {
            f"{measure.name}_trend_{recent}d_{longer}d": _ratio(
                self._sum(measure.name, recent) * (longer / recent), self._sum(measure.name, longer)
            )
            for measure in self.features.measures
            if measure.trend
        }

    def _times(self) -> dict[str, Grid]:
        longest = self.features.longest
        before = np.zeros((longest - 1, self.block.high - self.block.low), dtype=np.bool_)
        active = np.concatenate([before, self.block.active()])
        since, until = _idle_days(active), _idle_days(active[::-1])[::-1]
        tenure = self.dates[:, None] - self._signup()[None, :]
        return {
            "days_since_last_activity": np.minimum(since[longest - 1 :][self._rows()], longest),
            f"longest_gap_{longest}d": _longest_run(since, until, longest)[self._rows()],
            "days_since_signup": np.minimum(tenure, MAX_TENURE_DAYS),
        }

    def _engaged(self) -> dict[str, Grid]:
        engagements = self._engagements()
        running = _running(engagements, self.dates)
        day = self.dates[:, None]
        age = np.where(running, day - engagements.start, LARGEST)
        left = np.where(running & (engagements.end < LARGEST), engagements.end - day, -1)
        newest = self._by_user(np.minimum, age, LARGEST)
        last = self._by_user(np.maximum, left, -1)
        return {
            "engagements_running": self._by_user(np.add, running, 0),
            "days_since_engagement_start": np.where(newest < LARGEST, np.minimum(newest, MAX_TENURE_DAYS), np.nan),
            "days_to_engagement_end": np.where(last >= 0, np.minimum(last, MAX_TENURE_DAYS), np.nan),
        }

    def _by_user(self, combine: np.ufunc, values: Grid, start: int) -> Grid:
        """(dates, engagements) combined to (dates, users)."""
        found = np.full((self.block.high - self.block.low, len(self.dates)), start, dtype=np.int64)
        combine.at(found, self._engagements().user, values.T)
        return found.T

    def _at_risk(self) -> Mask:
        """Signed up, active of late and, where that is known, expected to be active through the label window."""
        at_risk: Mask = self._signed_up() & (self._sum("active_days", self.features.active_within) > 0)
        if self.block.panel.engagements is None:
            return at_risk
        engagements = self._engagements()
        last_needed = self.dates[:, None] + self.features.label_window
        expected = _running(engagements, self.dates) & (engagements.end > last_needed)
        return at_risk & (self._by_user(np.add, expected, 0) > 0)

    def _signed_up(self) -> Mask:
        return self._signup()[None, :] <= self.dates[:, None]

    def _signup(self) -> npt.NDArray[np.int32]:
        return self.block.panel.users.signup[self.block.low : self.block.high]

    def _engagements(self) -> Engagements:
        whole = self.block.panel.engagements
        if whole is None:
            raise ValueError("this panel has no engagements")
        return whole.within(self.block.low, self.block.high)

    def _rows(self) -> Integers:
        """Where the dates stand among the panel's days."""
        return self.dates - self.block.panel.first_day

    def _sum(self, measure: str, days: int) -> Grid:
        """The sum over the window that ends with each date, that date included."""
        total = self._cumulative(measure)
        stop = self._rows() + 1
        found: Grid = _rows_of(total, stop) - _rows_of(total, np.maximum(stop - days, 0))
        return found

    def _active_ahead(self) -> Grid:
        total = self._cumulative("active_days")
        stop = self._rows() + 1
        found: Grid = total[stop + self.features.label_window] - total[stop]
        return found

    def _cumulative(self, measure: str) -> Grid:
        """(days + 1, users): the sum over all days before."""
        if measure not in self._kept:
            self._kept[measure] = self.block.cumulative(measure)
        return self._kept[measure]


def _running(engagements: Engagements, dates: Integers) -> Mask:
    """(dates, engagements): begun, not ended, not cancelled."""
    day = dates[:, None]
    running: Mask = (engagements.start <= day) & (day <= engagements.end) & (engagements.cancelled > day)
    return running


def _ratio(part: Grid, whole: Grid) -> Floats:
    """`part` / `whole`, NaN where there is nothing to divide by."""
    found = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _missing(values: Grid) -> Mask | None:
    """Where a number is NaN; None if it is so nowhere."""
    if values.dtype.kind != "f":
        return None
    missing: Mask = np.isnan(values)
    return missing if missing.any() else None


def _rows_of(total: Grid, rows: Integers) -> Grid:
    """Rows of a matrix; a view where they are consecutive, which they are for a whole history."""
    if len(rows) > 1 and (np.diff(rows) == 1).all():
        return total[rows[0] : rows[-1] + 1]
    return total[rows]


def _idle_days(active: Mask) -> npt.NDArray[np.int16]:
    """(days, users): how many days without activity end with each day, counted from the first."""
    day = np.arange(1, len(active) + 1, dtype=np.int16)[:, None]
    last = np.where(active, day, np.int16(0))
    np.maximum.accumulate(last, axis=0, out=last)
    return np.subtract(day, last, out=last)


def _longest_run(since: npt.NDArray[np.int16], until: npt.NDArray[np.int16], window: int) -> npt.NDArray[np.int16]:
    """The longest run of idle days in every window, by doubling the window.

    The longest run in two windows together is that of either, or the one that crosses from the first to the second.

    Args:
        since: (days, users), idle days that end with each day.
        until: (days, users), idle days that begin with each day.
        window: Days.

    Returns:
        (days - window + 1, users): one row a window, in order.
    """
    longest, reach = np.minimum(since, np.int16(1)), 1
    while reach < window:
        step = min(reach, window - reach)
        windows = len(longest) - step
        crossing = np.minimum(until[reach : reach + windows], step)
        crossing += np.minimum(since[reach - 1 : reach - 1 + windows], reach)
        np.maximum(crossing, longest[:-step], out=crossing)
        longest = np.maximum(crossing, longest[step:], out=crossing)
        reach += step
    return longest

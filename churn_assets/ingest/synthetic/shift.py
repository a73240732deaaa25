"""What happens to the generated world: a scenario, how strong it is on each day, and how it hurries people on.

- `behaviour`: shorter stays, less activity, worse scores, failed payments, other newcomers; at once.
- `gradual`: the same, rising from nothing to its full strength over 90 days.
- `countries`: newcomers come from other countries; each country's people stay what they are.
- `new_source`: a marketing source that nobody has seen before brings newcomers who soon leave.
- `season`: a strong yearly swing of activity; who leaves, and when, stays the same.
- `concept`: signs that announced leaving announce nothing any more, and people leave without one; what can be seen of
  people stays nearly the same.
- `minutes_in_seconds`, `half_missing`: people do as always, and the feed is broken.

No shift touches a day before its first: whatever it does depends on the day that is made, the day somebody signed up or
the day a stay ends, and only from the first shifted day on.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from churn_assets.ingest.synthetic.draws import Flags, Floats, Ints
    from churn_assets.source_settings import Scenario

BEHAVIOUR: tuple[Scenario, ...] = ("behaviour", "gradual")
"""Scenarios in which people change: shorter stays, less activity, worse scores, failed payments, other newcomers."""

_RAMP = 90  # days until a gradual shift is whole
_HURRY = 0.6  # by how much full strength shortens what is left of a stay
_FOREVER = 1_000_000  # days


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A change of the world.

    Attributes:
        scenario: What happens.
        strength: How strong, 0 (not at all) to 1.
        first: Its first day, days since 1970-01-01.
        last: Its last day; None if it stays.
    """

    scenario: Scenario
    strength: float
    first: int
    last: int | None

    def on(self, days: Ints, *scenarios: Scenario) -> Floats:
        """Return the strength on each of `days` (days since 1970-01-01); 0 unless it is one of the scenarios."""
        if not self.strength or self.scenario not in scenarios:
            return np.zeros(days.shape)
        ramp = np.minimum((days - self.first) / _RAMP, 1.0) if self.scenario == "gradual" else 1.0
        return np.where(self._covers(days), self.strength * ramp, 0.0)

    def on_day(self, day: int, *scenarios: Scenario) -> float:
        """Return the strength on one day."""
        return float(self.on(np.array([day]), *scenarios)[0])

    def ends(self, begin: Ints, usual: Floats) -> Floats:
        """Return when stays end that would usually end on `usual`: a shift in behaviour makes time run faster.

        Time runs at 1 / (1 - 0.6 × strength) of its usual speed on each day, so what is left of a stay shrinks by
        that much, whether it began before the shift or in it.

        Args:
            begin: First day of each stay, days since 1970-01-01.
            usual: Its last day without a shift, with fractions.
        """
        if not self.strength or self.scenario not in BEHAVIOUR:
            return usual
        days, clock = self._clock()
        ends: Floats = np.interp(np.interp(begin, days, clock) + (usual - begin), clock, days)
        return np.where(usual > self.first, ends, usual)

    def _covers(self, days: Ints) -> Flags:
        return (days >= self.first) & (days <= (self.first + _FOREVER if self.last is None else self.last))

    def _clock(self) -> tuple[Floats, Floats]:
        """Days at which the speed of time changes, and what the clock shows then."""
        ramp = np.arange(_RAMP) if self.scenario == "gradual" else np.zeros(0, dtype=np.int64)
        end = [] if self.last is None else [self.last + 1]
        changes = np.unique(np.concatenate([self.first + ramp, [self.first, self.first + _RAMP, *end]]))
        days = np.concatenate([changes, [self.first + _FOREVER]]).astype(np.float64)
        slow = 1.0 - _HURRY * self.on(days[:-1].astype(np.int64), *BEHAVIOUR)
        clock = self.first + np.concatenate([[0.0], np.cumsum(np.diff(days) / slow)])
        earlier = float(self.first - _FOREVER)
        return np.concatenate([[earlier], days]), np.concatenate([[earlier], clock])


def day_number(day: dt.date) -> int:
    """Return the days from 1970-01-01 to `day`."""
    return day.toordinal() - dt.date(1970, 1, 1).toordinal()

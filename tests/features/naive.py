"""Features and labels by their plain definition: one user, one day, loops over events. Slow, and easy to check."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest

MAX_TENURE = 365
FAIL_RATE_DAYS = 30


@dataclass(frozen=True)
class Event:
    """What somebody did on a day; `number` is how many events it stands for."""

    user: str
    day: date
    type: str
    number: int = 1
    minutes: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class Engagement:
    """A course or contract: its first day, last planned day (None: open), and the day it was given up, if it was."""

    user: str
    start: date
    end: date | None
    cancelled: date | None


@dataclass(frozen=True)
class User:
    """Somebody who signed up."""

    id: str
    signup: date
    plan: str | None = None
    paid: bool | None = None


@dataclass(frozen=True)
class Definition:
    """What is computed: windows in days, event types by their count, the types that are activity."""

    windows: tuple[int, ...]
    active_within: int
    label_window: int
    counts: dict[str, str]
    activity: frozenset[str]
    trends: tuple[str, ...]

    @property
    def longest(self):
        """The longest span that anything looks back."""
        return max(*self.windows, self.active_within, FAIL_RATE_DAYS)


@dataclass
class History:
    """Everything that happened; `engagements` is None where nobody knows of any."""

    users: list[User]
    events: list[Event]
    engagements: list[Engagement] | None = None
    _by_user: dict[str, list[Event]] = field(default_factory=dict)

    def __post_init__(self):
        """Sort events by user."""
        for event in self.events:
            self._by_user.setdefault(event.user, []).append(event)

    def of(self, user):
        """One user's events."""
        return self._by_user.get(user.id, [])

    def engaged(self, user, day):
        """The engagements of a user that run on a day."""
        return [
            found
            for found in self.engagements or []
            if found.user == user.id
            and found.start <= day
            and (found.end is None or day <= found.end)
            and (found.cancelled is None or day < found.cancelled)
        ]


def window(events, day, days):
    """Events of the `days` days that end with `day`."""
    return [event for event in events if day - timedelta(days=days) < event.day <= day]


def active_days(events, definition):
    """The days on which the user did something."""
    return {event.day for event in events if event.type in definition.activity}


def mean(numbers):
    """The mean, or None of nothing."""
    return sum(numbers) / len(numbers) if numbers else None


def sums(events, definition):
    """Every summed measure of some events."""
    found = {
        "active_days": len(active_days(events, definition)),
        "events": sum(event.number for event in events if event.type in definition.activity),
        "watch_minutes": sum(event.minutes or 0 for event in events),
    }
    for kind, name in definition.counts.items():
        found[name] = sum(event.number for event in events if event.type == kind)
    return found


def longest_gap(events, day, definition):
    """The longest run of days without activity among the longest window's days."""
    active, longest, run = active_days(events, definition), 0, 0
    for back in reversed(range(definition.longest)):
        run = 0 if day - timedelta(days=back) in active else run + 1
        longest = max(longest, run)
    return longest


def features(history, user, day, definition):
    """Every feature of a user as of a day, by name."""
    events, found = history.of(user), {}
    for days in definition.windows:
        inside = window(events, day, days)
        found |= {f"{name}_{days}d": value for name, value in sums(inside, definition).items()}
        found[f"quiz_avg_score_{days}d"] = mean([event.score for event in inside if event.score is not None])
    payments = sums(window(events, day, FAIL_RATE_DAYS), definition)
    paid, failed = payments["payment_success"], payments["payment_failed"]
    found["payment_fail_rate_30d"] = failed / (paid + failed) if paid + failed else None
    past = [active for active in active_days(events, definition) if active <= day]
    found["days_since_last_activity"] = min((day - max(past)).days, definition.longest) if past else definition.longest
    found[f"longest_gap_{definition.longest}d"] = longest_gap(events, day, definition)
    found["days_since_signup"] = min((day - user.signup).days, MAX_TENURE)
    found |= {"plan": user.plan, "is_paid": None if user.paid is None else float(user.paid)}
    return found | trends(found, definition) | engaged(history, user, day)


def trends(found, definition):
    """The first window against the last."""
    if len(definition.windows) == 1:
        return {}
    recent, longer = definition.windows[0], definition.windows[-1]
    result = {}
    for name in definition.trends:
        few, all_of = found[f"{name}_{recent}d"], found[f"{name}_{longer}d"]
        result[f"{name}_trend_{recent}d_{longer}d"] = (few / recent) / (all_of / longer) if all_of else None
    few, all_of = found[f"quiz_avg_score_{recent}d"], found[f"quiz_avg_score_{longer}d"]
    result[f"quiz_avg_score_trend_{recent}d_{longer}d"] = None if few is None else few - all_of
    return result


def engaged(history, user, day):
    """What is known of a user's running engagements."""
    if history.engagements is None:
        return {}
    running = history.engaged(user, day)
    ends = [found.end for found in running if found.end is not None]
    return {
        "engagements_running": len(running),
        "days_since_engagement_start": min((day - max(e.start for e in running)).days, MAX_TENURE) if running else None,
        "days_to_engagement_end": min((max(ends) - day).days, MAX_TENURE) if ends else None,
    }


def at_risk(history, user, day, definition):
    """Whether the user is one of those who may churn: active of late, and expected through the label window."""
    if user.signup > day or not active_days(window(history.of(user), day, definition.active_within), definition):
        return False
    if history.engagements is None:
        return True
    until = day + timedelta(days=definition.label_window)
    return any(found.end is None or found.end > until for found in history.engaged(user, day))


def churned(history, user, day, definition):
    """Whether the user does nothing in the label window after the day."""
    until = day + timedelta(days=definition.label_window)
    return not any(day < active <= until for active in active_days(history.of(user), definition))


def assert_row(found, expected):
    """Every expected value equals the one found; ratios of ratios up to the last bits."""
    for name, value in expected.items():
        close = "_trend_" in name and value is not None
        assert found[name] == (pytest.approx(value, rel=1e-12, abs=1e-9) if close else value), (name, found)

"""Whether a day's feed can be trusted: its own verdict, and spoilt days that features still reach back to.

A day on which events are missing takes its share from sums over a month, and is forgiven once the feed is whole again;
so is a holiday, which looks the same. Another unit, or values that are gone, spoil every sum that they are part of.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from churn_assets.layout import days_between
from churn_assets.monitoring.drift_words import SOUND, Feed
from churn_assets.monitoring.feed_profile import profiles
from churn_assets.monitoring.quality import DAYS_WANTED, judge_feed, remembered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from churn_assets.monitoring.feed_profile import FeedProfile
    from churn_assets.monitoring.quality import FeedVerdict
    from churn_assets.workspace import Workspace

SPOILS = frozenset({"scale", "nulls", "duplicates", "empty"})
"""Findings that count for as long as features reach back to their day."""


def feed_of(workspace: Workspace, day: date, *, reaching_back: bool) -> Feed:
    """Judge the feed of a day.

    Args:
        workspace: Where.
        day: The day.
        reaching_back: Whether a spoilt day within the longest feature window counts as well.
    """
    layout = workspace.layout
    there = set(layout.raw_events.days())
    if day not in there:
        return SOUND
    window = workspace.features.longest if reaching_back else 1
    first = day - timedelta(days=DAYS_WANTED + window)
    known = profiles(workspace, [one for one in days_between(first, day) if one in there])
    verdicts = _verdicts(workspace, known, day - timedelta(days=window - 1))
    today = verdicts[-1]
    if today.status == "FAULT":
        return Feed(status="FAULT", findings=[f"{one.words} {one.what_to_do}" for one in today.findings])
    spoilt = [one for one in verdicts if any(finding.kind in SPOILS for finding in one.findings)]
    tainted = remembered(spoilt, day, window)
    if not tainted:
        return SOUND
    span = f"{tainted[0]}" if len(tainted) == 1 else f"{tainted[0]} to {tainted[-1]}"
    until = tainted[-1] + timedelta(days=window)
    return Feed(
        status="FAULT", findings=[f"The feed was broken on {span}, and features reach back to that until {until}."]
    )


def _verdicts(workspace: Workspace, known: Sequence[FeedProfile], first: date) -> list[FeedVerdict]:
    """The verdicts of the days from `first` on, each as of its day."""
    settings = workspace.settings.quality
    found = []
    for place, profile in enumerate(known):
        if profile.day >= first:
            found.append(judge_feed(profile, known[max(0, place - DAYS_WANTED) : place], settings))
    return found

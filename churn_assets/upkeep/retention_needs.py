"""What the coming runs read: days of files that no clean-up may take away, and why.

The next daily run builds the newest whole day or a later one, so everything is counted from there. A list is needed
until it has been joined with what happened; a snapshot for as long as a new production model is judged on it; events
for as long as the feed of the coming days is compared with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from churn_assets.monitoring.alert import Alarming
from churn_assets.monitoring.performance.outcomes import ANSWERED_DAYS, outcomes_table
from churn_assets.monitoring.performance.weeks import monday_of
from churn_assets.monitoring.quality import DAYS_WANTED

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.monitoring.alert import Alert
    from churn_assets.workspace import Workspace

NOT_KNOWN = "what happened is not known yet"
NOT_JOINED = "not joined with what happened yet"
JUDGED = "a new production model is judged on it"
FEED = "the feed of the coming days is compared with it"
REPORTED = "the next performance report tells of it"


@dataclass(frozen=True)
class Needs:
    """From which day on files are needed.

    Attributes:
        known_until: Newest as-of date whose labels the report of the newest whole day knows.
        judged_from: First as-of date that reports judge, or that a drift alert counts.
        told_from: First as-of date that performance reports tell of.
        feed_from: First day that feeds are compared with.
        joined: As-of dates whose predictions have met their labels.
        drift: The drift alert that stands, if one does.
        performance: The performance alert that stands, if one does.
    """

    known_until: date
    judged_from: date
    told_from: date
    feed_from: date
    joined: frozenset[date]
    drift: Alert | None
    performance: Alert | None

    @classmethod
    def of(cls, workspace: Workspace) -> Needs:
        """Return what a deployment needs.

        Raises:
            SourceError: The source is not described.
        """
        settings, features, layout = workspace.settings, workspace.features, workspace.layout
        yesterday = settings.yesterday
        known_until = yesterday - timedelta(days=features.label_window)
        judged_from = known_until - timedelta(days=settings.performance.judged_days - 1)
        told_from = monday_of(known_until) - timedelta(weeks=settings.performance.weeks - 1)
        return cls(
            known_until=known_until,
            judged_from=min(judged_from, yesterday - timedelta(days=settings.drift.consecutive_days)),
            told_from=min(told_from, judged_from),
            feed_from=yesterday - timedelta(days=DAYS_WANTED + features.longest),
            joined=frozenset(outcomes_table(layout).days()),
            drift=_alert(layout.latest_drift),
            performance=_alert(layout.latest_performance),
        )

    def of_list(self, day: date) -> str:
        """Why the predictions as of a day are needed; empty if they are not."""
        if day > self.known_until:
            return NOT_KNOWN
        return NOT_JOINED if day >= self.told_from and day not in self.joined else ""

    def of_log(self, day: date) -> str:
        """Why what the service scored on a day is needed: it may have been asked as of the days before."""
        reasons = (self.of_list(day - timedelta(days=back)) for back in range(ANSWERED_DAYS + 1))
        return next((reason for reason in reasons if reason), "")

    def of_snapshot(self, day: date) -> str:
        """Why the features as of a day are needed."""
        return JUDGED if day >= self.judged_from else ""

    def of_events(self, day: date) -> str:
        """Why the events of a day, or what their feed looked like, are needed."""
        return FEED if day >= self.feed_from else ""

    def of_outcomes(self, day: date) -> str:
        """Why what came of the predictions as of a day is needed."""
        return REPORTED if day >= self.told_from else ""

    def of_drift_report(self, day: date) -> str:
        """Why the drift report of a day is needed."""
        return _of_alert(self.drift, day)

    def of_performance_report(self, day: date) -> str:
        """Why the performance report of a day is needed."""
        return _of_alert(self.performance, day)


def versions_alarmed(layout: Layout) -> list[str]:
    """The versions that an alert stands about."""
    found = []
    for latest in (layout.latest_drift, layout.latest_performance):
        report = Alarming.read(latest)
        if report and report.alert:
            found += [report.alert.id.partition("@")[0], report.model_version or ""]
    return [version for version in found if version]


def _alert(latest: Path) -> Alert | None:
    report = Alarming.read(latest)
    return report.alert if report else None


def _of_alert(alert: Alert | None, day: date) -> str:
    return f"an alert stands since {alert.since}" if alert and day >= alert.since else ""

"""Daily partitions, in UTC, from the first day of history to yesterday."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from churn_assets.ingest.source import SourceError
from churn_assets.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

FALLBACK_DAYS = 365
"""Days of partitions that are shown while the source cannot be read: the error comes when it is materialized."""


def daily_partitions() -> dg.DailyPartitionsDefinition:
    """The partitions of this deployment."""
    workspace = Workspace.load()
    try:
        start = workspace.history_start
    except SourceError:
        start = workspace.settings.today - timedelta(days=FALLBACK_DAYS)
    end = workspace.settings.clock.today
    return dg.DailyPartitionsDefinition(start.isoformat(), end_date=end.isoformat() if end else None)


def days_of(keys: Sequence[str]) -> list[date]:
    """Partition keys as days."""
    return [date.fromisoformat(key) for key in keys]


DAILY = daily_partitions()
SINGLE_RUN = dg.BackfillPolicy.single_run()

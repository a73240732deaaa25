"""Daily partitions, in UTC, from the first day of history to yesterday, and what daily assets have in common."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from churn_assets.ingest.source import SourceError
from churn_assets.resources import load_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.layout import Built

# Single-run backfills carry this label in 1.13; every process would print it for every asset.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
"""Tags of a run over a range of days."""

FALLBACK_DAYS = 365
"""Days of partitions that are shown while the source cannot be read: the error comes when it is materialized."""


def daily_partitions() -> dg.DailyPartitionsDefinition:
    """The partitions of this deployment."""
    workspace = load_workspace()
    try:
        start = workspace.history_start
    except SourceError:
        start = workspace.settings.today - timedelta(days=FALLBACK_DAYS)
    pretended = workspace.settings.clock.today
    if pretended is None:
        return dg.DailyPartitionsDefinition(start.isoformat())
    ahead = max((pretended - datetime.now(UTC).date()).days, 0)
    return dg.DailyPartitionsDefinition(start.isoformat(), end_date=pretended.isoformat(), end_offset=ahead)


def days_of(keys: Sequence[str]) -> list[date]:
    """Partition keys as days."""
    return [date.fromisoformat(key) for key in keys]


def log_late(context: dg.AssetExecutionContext, built: Built) -> None:
    """Record days that were rebuilt although nobody asked: late rows had changed what they are made of."""
    for day in built.late:
        context.log.info("%s rebuilt: rows for it came late", day)
        context.log_event(
            dg.AssetMaterialization(
                context.asset_key, partition=day.isoformat(), metadata={"why": "rows for this day came late"}
            )
        )


def built_metadata(built: Built, folder: object) -> dict[str, dg.MetadataValue]:
    """What every daily asset says of a run."""
    return {
        "dagster/row_count": dg.MetadataValue.int(built.rows),
        "days": dg.MetadataValue.int(len(built.days)),
        "late days rebuilt": dg.MetadataValue.int(len(built.late)),
        "folder": dg.MetadataValue.path(str(folder)),
    }


DAILY = daily_partitions()
ALL_DAYS = dg.AllPartitionMapping()
SINGLE_RUN = dg.BackfillPolicy.single_run()

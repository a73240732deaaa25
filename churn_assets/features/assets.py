"""Daily activity, features and labels in Dagster."""

import dagster as dg
import pyarrow.compute as pc

from churn_assets.features import build, publish
from churn_assets.ingest.assets import validated_events, validated_users
from churn_assets.ingest.source import SourceError
from churn_assets.layout import Built, MissingTableError
from churn_assets.partitions import DAILY, SINGLE_RUN, built_metadata, days_of, log_late
from churn_assets.resources import ChurnWorkspace, clear_failure
from churn_serving.online.keyed_format import OnlineStoreError

GROUP = "features"
OWNERS = ["team:data"]


@dg.asset(
    deps=[validated_events],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"duckdb", "parquet"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
)
def user_daily(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """One row a user and day: counts by kind of event, minutes watched, quiz scores. The one heavy group-by."""
    workspace = churn.get()
    with clear_failure(SourceError, MissingTableError):
        built = build.build_user_daily(workspace, days_of(context.partition_keys), context.log.info)
    log_late(context, built)
    return dg.MaterializeResult(metadata=built_metadata(built, workspace.layout.user_daily.folder))


@dg.asset(
    deps=[
        dg.AssetDep(user_daily, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-60, end_offset=0)),
        validated_users,
    ],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"numpy", "parquet"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
)
def churn_labels(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Labels that are known since each day: who, at risk a label window before, has not been active since."""
    workspace = churn.get()
    with clear_failure(SourceError, MissingTableError):
        built = build.build_labels(workspace, days_of(context.partition_keys))
    log_late(context, built)
    return dg.MaterializeResult(metadata=built_metadata(built, workspace.layout.labels.folder))


@dg.asset(
    deps=[
        dg.AssetDep(user_daily, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-30, end_offset=0)),
        validated_users,
    ],
    group_name=GROUP,
    owners=["team:machine-learning"],
    kinds={"numpy", "parquet"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
)
def user_features(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """The features of everybody as of each day: what is scored, served and compared for drift."""
    workspace = churn.get()
    built, at_risk = Built(), 0
    for day in days_of(context.partition_keys):
        with clear_failure(SourceError, MissingTableError):
            table = build.build_snapshot(workspace, day)
        built.add(day, table.num_rows)
        at_risk = pc.sum(table.column("at_risk")).as_py() or 0
    with clear_failure(OnlineStoreError):
        published = publish.publish_newest(workspace.layout)
    metadata = built_metadata(built, workspace.layout.user_features.folder)
    metadata["users at risk, last day"] = dg.MetadataValue.int(at_risk)
    metadata["features"] = dg.MetadataValue.int(len(workspace.features.names))
    metadata["absent features"] = dg.MetadataValue.text(", ".join(workspace.features.absent) or "none")
    metadata["served by id"] = dg.MetadataValue.text(f"as of {published.as_of_date}" if published else "none")
    return dg.MaterializeResult(metadata=metadata)

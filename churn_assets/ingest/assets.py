"""Raw and validated tables in Dagster."""

import dagster as dg

from churn_assets.ingest import build, contract
from churn_assets.ingest.source import SourceError
from churn_assets.ingest.validation import Tally, as_markdown, rule_table
from churn_assets.layout import MissingTableError
from churn_assets.partitions import DAILY, SINGLE_RUN, built_metadata, days_of, log_late
from churn_assets.resources import ChurnWorkspace, clear_failure
from churn_assets.workspace import Workspace

GROUP = "ingest"
OWNERS = ["team:data"]


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"source", "parquet"})
def raw_users(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Everybody who signed up, as the source has them; with engagements, where the source knows any."""
    workspace = churn.get()
    with clear_failure(SourceError, MissingTableError):
        rows = build.ingest_users(workspace, context.log.info)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "source": workspace.settings.source.kind,
            "path": dg.MetadataValue.path(workspace.layout.raw_users.path),
        }
    )


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"source", "parquet"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
)
def raw_events(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """What users did on each day (UTC), as the source has it. Days that late rows touch are read again."""
    workspace = churn.get()
    with clear_failure(SourceError, MissingTableError):
        built = build.ingest_events(workspace, days_of(context.partition_keys), context.log.info)
    log_late(context, built)
    return dg.MaterializeResult(metadata=built_metadata(built, workspace.layout.raw_events.folder))


@dg.asset(
    deps=[raw_users],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"duckdb", "parquet"},
    check_specs=[
        dg.AssetCheckSpec(
            "within_contract",
            asset="validated_users",
            blocking=True,
            description="No more users and engagements break the contract of raw data than `max_reject_share` allows.",
        )
    ],
)
def validated_users(churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Users (and engagements) that keep the contract of raw data; the others are in the quarantine, with the reason."""
    workspace = churn.get()
    with clear_failure(SourceError, MissingTableError):
        tallies = build.validate_users(workspace)
    passed = all(build.within_limit(workspace, tally) for tally in tallies.values())
    rules = contract.user_rules(workspace.settings.today)
    metadata = {
        name: value
        for table, tally in tallies.items()
        for name, value in _gate_metadata(workspace, tally, rules, prefix=f"{table}: ").items()
    }
    return dg.MaterializeResult(
        metadata={"dagster/row_count": tallies["users"].rows - tallies["users"].rejects},
        check_results=[dg.AssetCheckResult(passed=passed, check_name="within_contract", metadata=metadata)],
    )


@dg.asset(
    deps=[raw_events, validated_users],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"duckdb", "parquet"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    check_specs=[
        dg.AssetCheckSpec(
            "within_contract",
            asset="validated_events",
            blocking=True,
            description="No more events break the contract of raw data than `max_reject_share` allows.",
        )
    ],
)
def validated_events(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Events that keep the contract of raw data; the others are in the quarantine, with the rule that they break."""
    workspace = churn.get()
    days = days_of(context.partition_keys)
    with clear_failure(SourceError, MissingTableError):
        built, tally = build.validate_events(workspace, days, context.log.info)
    log_late(context, built)
    rules = contract.event_rules(workspace.settings, contract.EVENT_NUMBERS)
    return dg.MaterializeResult(
        metadata=built_metadata(built, workspace.layout.events.folder),
        check_results=[
            dg.AssetCheckResult(
                passed=build.within_limit(workspace, tally),
                check_name="within_contract",
                metadata=_gate_metadata(workspace, tally, rules),
            )
        ],
    )


def _gate_metadata(
    workspace: Workspace, tally: Tally, rules: list[contract.Rule], prefix: str = ""
) -> dict[str, dg.MetadataValue]:
    return {
        f"{prefix}rows": dg.MetadataValue.int(tally.rows),
        f"{prefix}rejected": dg.MetadataValue.int(tally.rejects),
        f"{prefix}rejected share": dg.MetadataValue.float(round(tally.share, 6)),
        f"{prefix}allowed share": dg.MetadataValue.float(workspace.settings.validation.max_reject_share),
        f"{prefix}rejects by rule": dg.MetadataValue.md(rule_table(tally.by_rule, rules)),
        f"{prefix}sample": dg.MetadataValue.md(as_markdown(tally.samples)),
        f"{prefix}quarantine": dg.MetadataValue.path(workspace.layout.quarantine),
    }

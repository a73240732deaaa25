"""The daily list in Dagster."""

import dagster as dg

from churn_assets.features.assets import user_features
from churn_assets.ingest.validation import as_markdown
from churn_assets.layout import MissingTableError
from churn_assets.partitions import DAILY, SINGLE_RUN, days_of
from churn_assets.resources import ChurnWorkspace, clear_failure
from churn_assets.scoring import build
from churn_assets.scoring.predictions import ScoringError
from churn_assets.training.assets import production_model
from churn_serving.errors import ArtifactError
from churn_serving.online.keyed_format import OnlineStoreError

SHOWN = 10


@dg.asset(
    deps=[user_features, production_model],
    group_name="scoring",
    owners=["team:retention"],
    kinds={"numpy", "csv"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
)
def churn_predictions(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Everybody at risk, most at risk first, each with three reasons: the retention team's list."""
    workspace = churn.get()
    for day in days_of(context.partition_keys):
        with clear_failure(MissingTableError, ArtifactError, ScoringError, OnlineStoreError):
            scored = build.score_day(workspace, day)
    scores = scored.scores
    columns = ["risk_rank", "user_id", "churn_risk", "risk_band", "reason_1", "reason_2"]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(scores),
            "model": scored.model.version,
            "mean risk": float(scores.mean()) if len(scores) else 0.0,
            "high risk": int((scores >= scored.model.manifest.bands.high).sum()),
            "most at risk": dg.MetadataValue.md(as_markdown(scored.table.select(columns).slice(0, SHOWN).to_pylist())),
            "files": dg.MetadataValue.md("\n".join(f"- `{path}`" for path in scored.files)),
        }
    )

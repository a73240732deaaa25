"""Which assets are built together."""

from __future__ import annotations

import dagster as dg

HISTORY_KEYS = [
    dg.AssetKey(name)
    for name in ("raw_users", "raw_events", "validated_users", "validated_events", "user_daily", "churn_labels")
]
HISTORY = dg.AssetSelection.assets(*HISTORY_KEYS)
LISTS = [dg.AssetKey(name) for name in ("churn_predictions", "score_proxy", "performance_report")]
SNAPSHOT = HISTORY | dg.AssetSelection.assets("user_features")
MODELS = dg.AssetSelection.assets("training_set", "baseline_model", "candidate_model", "production_model")

ONE_AT_A_TIME = {"churn/retrain": "one at a time"}
"""The queue starts no second run with this tag: see `dagster.yaml`."""

DAYS_ONE_AT_A_TIME = {"churn/days": "one at a time"}
"""The same for runs that ingest: two of them would read and write the same days."""

history_job = dg.define_asset_job(
    "history_job",
    HISTORY,
    tags=DAYS_ONE_AT_A_TIME,
    description="Days of history: raw data, validation, daily activity, labels. A range of days is one run.",
)
seed_job = dg.define_asset_job(
    "seed_job",
    dg.AssetSelection.all(),
    tags=ONE_AT_A_TIME,
    description="Everything, for one day: from raw data to a promoted model, predictions and a drift report.",
)
daily_job = dg.define_asset_job(
    "daily_job",
    SNAPSHOT | dg.AssetSelection.assets(*LISTS),
    tags=DAYS_ONE_AT_A_TIME,
    description="One day: ingest, features, predictions, and whether those of a label window ago came true.",
)
drift_job = dg.define_asset_job(
    "drift_job",
    SNAPSHOT | dg.AssetSelection.assets("drift_report"),
    tags=DAYS_ONE_AT_A_TIME,
    description="One day: ingest, features, and whether the model still knows this population.",
)
retrain_job = dg.define_asset_job(
    "retrain_job",
    MODELS,
    tags=ONE_AT_A_TIME,
    description="Train both models on what is there, judge them against production, promote the winner.",
)

JOBS = (seed_job, history_job, daily_job, drift_job, retrain_job)

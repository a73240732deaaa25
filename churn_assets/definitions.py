"""The code location: everything that Dagster knows of this project."""

from __future__ import annotations

import dagster as dg

from churn_assets.automation.cleaning import clean_job, clean_weekly
from churn_assets.automation.jobs import JOBS
from churn_assets.automation.progress import progress
from churn_assets.automation.schedules import SCHEDULES
from churn_assets.automation.sensors import SENSORS
from churn_assets.features import assets as features
from churn_assets.ingest import assets as ingest
from churn_assets.monitoring import assets as monitoring
from churn_assets.monitoring.performance import assets as performance
from churn_assets.resources import ChurnWorkspace
from churn_assets.scoring import assets as scoring
from churn_assets.training import assets as training

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([ingest, features, training, scoring, monitoring, performance]),
    jobs=[*JOBS, clean_job],
    schedules=[*SCHEDULES, clean_weekly],
    sensors=SENSORS,
    resources={"churn": ChurnWorkspace()},
    # A step costs seconds of start-up in a process of its own; on a cluster the run itself is the isolated pod.
    executor=dg.in_process_executor,
    loggers={"console": dg.colored_console_logger, "progress": progress},
)

"""How the last run of each job ended, written down for those who cannot ask Dagster: the service tells Prometheus."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_assets.automation.jobs import JOBS
from churn_serving import atomic

if TYPE_CHECKING:
    from pathlib import Path

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]

_log = logging.getLogger(__name__)


def note_outcomes(instance: dg.DagsterInstance, path: Path, now: datetime) -> None:
    """Write down how the last run of each job ended, and that somebody looked. One indexed query a job.

    A full disk is told by others, so it ends nothing here.

    Args:
        instance: Where runs are recorded.
        path: The file: `jobs` by name, each with `failed` and `ended_at`; `seen_at`.
        now: The time, UTC.
    """
    jobs = {job.name: found for job in JOBS if (found := _last(instance, job.name))}
    try:
        atomic.write_json(path, {"seen_at": now.isoformat(), "jobs": jobs})
    except OSError as error:
        _log.warning("%s cannot be written (%s)", path, error.strerror)


def _last(instance: dg.DagsterInstance, job: str) -> dict[str, Any] | None:
    """How the newest finished run of a job ended; None if none has."""
    asked = dg.RunsFilter(job_name=job, statuses=ENDED)
    for record in instance.get_run_records(asked, limit=1):
        at = datetime.fromtimestamp(record.end_time, UTC).isoformat() if record.end_time else None
        return {"failed": record.dagster_run.status is dg.DagsterRunStatus.FAILURE, "ended_at": at}
    return None

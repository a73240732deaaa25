"""How the last run of each job ended, written down for those who cannot ask Dagster: the service tells Prometheus."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import msgspec

from churn_assets.automation.jobs import JOBS
from churn_serving import atomic

if TYPE_CHECKING:
    from pathlib import Path

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]

_log = logging.getLogger(__name__)


class Noted(msgspec.Struct, frozen=True):
    """What the last look found.

    Attributes:
        newest: The run that had ended last.
        jobs: How the last run of each job ended.
    """

    newest: str | None = None
    jobs: dict[str, dict[str, Any]] = {}


def note_outcomes(instance: dg.DagsterInstance, path: Path, now: datetime) -> None:
    """Write down how the last run of each job ended, and that somebody looked.

    One query says whether any run has ended since; only then each job is asked for. A full disk is told by others, so
    it ends nothing here.

    Args:
        instance: Where runs are recorded.
        path: The file: `jobs` by name, each with `failed` and `ended_at`; `newest`, the run that ended last; `seen_at`.
        now: The time, UTC.
    """
    newest, noted = _newest(instance), _noted(path)
    if newest is None or noted.newest != newest:
        noted = Noted(newest, {job.name: found for job in JOBS if (found := _last(instance, job.name))})
    try:
        atomic.write_json(path, {"seen_at": now.isoformat(), **msgspec.to_builtins(noted)})
    except OSError as error:
        _log.warning("%s cannot be written (%s)", path, error.strerror)


def _newest(instance: dg.DagsterInstance) -> str | None:
    """The run that ended last, and when anything about it last changed; None if none has."""
    ended = dg.RunsFilter(statuses=ENDED)
    for record in instance.get_run_records(ended, limit=1, order_by="update_timestamp", ascending=False):
        return f"{record.dagster_run.run_id} {record.update_timestamp.isoformat()}"
    return None


def _noted(path: Path) -> Noted:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Noted)
    except (OSError, msgspec.DecodeError):
        return Noted()


def _last(instance: dg.DagsterInstance, job: str) -> dict[str, Any] | None:
    """How the newest finished run of a job ended; None if none has."""
    asked = dg.RunsFilter(job_name=job, statuses=ENDED)
    for record in instance.get_run_records(asked, limit=1):
        at = datetime.fromtimestamp(record.end_time, UTC).isoformat() if record.end_time else None
        return {"failed": record.dagster_run.status is dg.DagsterRunStatus.FAILURE, "ended_at": at}
    return None

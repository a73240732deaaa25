"""Run a job here and now, as a Dagster run that the UI shows."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from churn_assets.automation.dagster_home import instance
from churn_assets.partitions import RANGE_END, RANGE_START

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

REPOSITORY = ".dagster/repository"
"""The UI counts a run among a job's runs if it carries this tag."""

PROCESS = "churn/process"
"""Host and process of a run that a command has started; nobody else looks after such a run."""

LOCATION = "churn"


class RunFailedError(RuntimeError):
    """A run failed; the message says where and why, and how to look at it."""


@dataclass(frozen=True)
class Outcome:
    """A run that succeeded.

    Attributes:
        run_id: As the UI shows it.
        job: Its name.
        seconds: How long it took.
    """

    run_id: str
    job: str
    seconds: float


def run_job(
    name: str, days: tuple[date, date] | None = None, *, assets: Sequence[str] | None = None, trigger: str = "churn"
) -> Outcome:
    """Run a job in this process and wait for it.

    Args:
        name: The job.
        days: First and last day, for jobs that are partitioned by day.
        assets: Only these of its assets.
        trigger: What asked for it; the run carries it as the tag `churn/trigger`.

    Raises:
        RunFailedError: A step failed; the message is the first failure's.
    """
    from churn_assets.definitions import defs

    tags = {"churn/trigger": trigger, REPOSITORY: f"__repository__@{LOCATION}", PROCESS: _process(os.getpid())}
    partition_key = None
    if days is not None and days[0] == days[1]:
        partition_key = days[0].isoformat()
    elif days is not None:
        tags |= {RANGE_START: days[0].isoformat(), RANGE_END: days[1].isoformat()}
    with instance() as running:
        _end_orphans(running)
        result = defs.resolve_job_def(name).execute_in_process(
            instance=running,
            partition_key=partition_key,
            tags=tags,
            run_config={"loggers": {"progress": {}}},
            asset_selection=[dg.AssetKey(asset) for asset in assets] if assets else None,
            raise_on_error=False,
        )
        if not result.success:
            raise RunFailedError(_explain(result))
        record = running.get_run_record_by_id(result.run_id)
        seconds = (record.end_time or 0) - (record.start_time or 0) if record else 0.0
    return Outcome(result.run_id, name, seconds)


def _explain(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            text = _failed_check(result, event.step_key) or _cause(event)
            return f"{event.step_key}: {text.strip()}\n(run {result.run_id}; `make ui` shows it)"
    return f"run {result.run_id} failed before its first step"


def _failed_check(result: dg.ExecuteInProcessResult, step: str | None) -> str:
    """The blocking check that stopped a step, with its figures; empty if it was none."""
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.asset_key.to_user_string() == step:
            figures = [f"{name} {data.value}" for name, data in check.metadata.items() if _is_number(data.value)]
            return f"the check `{check.check_name}` failed: {', '.join(figures)}"
    return ""


def _cause(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data:
        return data.user_failure_data.description or ""
    return (data.error.cause or data.error).message if data.error else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _process(number: int) -> str:
    return f"{socket.gethostname()}:{number}"


def _end_orphans(running: dg.DagsterInstance) -> None:
    """Mark runs of commands that were killed as failed; else they would hold the retrain queue for hours."""
    for run in running.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, number = run.tags.get(PROCESS, "").rpartition(":")
        if host == socket.gethostname() and not Path(f"/proc/{number}").exists() and Path("/proc/self").exists():
            running.report_run_failed(run, "the command that ran this was killed")

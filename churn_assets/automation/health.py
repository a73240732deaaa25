"""What Dagster's instance knows of the loop: what is switched on, whether a daemon lives, what succeeded last.

It is looked at without being made: where no instance has ever run, none appears.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import dagster as dg
import yaml
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

from churn_assets.automation.dagster_home import HOME
from churn_assets.automation.schedules import next_tick
from churn_assets.automation.sensors import TRIGGER

Timing = Literal["schedule", "sensor"]

SCHEDULED, SENSED = "dagster/schedule_name", "dagster/sensor_name"
"""Dagster's tags of what asked for a run."""

LOOKED_AT = 50
"""Successful runs of a job that are looked at for one that nobody asked for by hand."""

JOBS = ("drift_job", "daily_job", "retrain_job", "seed_job")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A check of an asset; if it blocks, nothing is built from what fails it."""

    asset: str
    check: str
    blocking: bool


@dataclass(frozen=True, kw_only=True)
class Timer:
    """A schedule or a sensor.

    Attributes:
        name: As the UI has it.
        timing: Which of the two.
        is_on: Whether it ticks.
        next_tick: When a schedule is due next; None for a sensor.
    """

    name: str
    timing: Timing
    is_on: bool
    next_tick: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One of the daemon's tasks.

    Attributes:
        task: Its name.
        is_alive: Whether it has reported in time.
        at: When it reported last, UTC; None if never.
    """

    task: str
    is_alive: bool
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Success:
    """A run that succeeded.

    Attributes:
        job: Its job.
        at: When it ended, UTC.
        asked_by: What asked for it; empty if that is not known.
        by_itself: Whether that was a schedule or a sensor.
    """

    job: str
    at: datetime
    asked_by: str
    by_itself: bool


@dataclass(frozen=True)
class Health:
    """All of it.

    Attributes:
        home: Where the instance is, or would be.
        exists: Whether there is one.
        gates: The checks of assets.
        timers: Schedules and sensors; without an instance, as the code has them.
        beats: The daemon's tasks; none without an instance.
        successes: The newest of each job, and the newest of each that nobody asked for by hand; newest first.
    """

    home: Path
    exists: bool
    gates: tuple[Gate, ...]
    timers: tuple[Timer, ...]
    beats: tuple[Beat, ...] = ()
    successes: tuple[Success, ...] = ()


def take_pulse() -> Health:
    """Look at the code location and at the instance of this deployment.

    Raises:
        Exception: The instance is there and cannot be opened, or its database does not answer.
    """
    home = Path(os.environ.get(HOME) or ".dagster").resolve()
    gates = tuple(_gates())
    if not _has_instance(home):
        return Health(home, exists=False, gates=gates, timers=_timers([]))
    os.environ[HOME] = str(home)
    with dg.DagsterInstance.get() as running:
        return Health(
            home,
            exists=True,
            gates=gates,
            timers=_timers(running.all_instigator_state()),
            beats=tuple(_beats(running)),
            successes=tuple(sorted(_successes(running), key=lambda run: run.at, reverse=True)),
        )


def _has_instance(home: Path) -> bool:
    """Whether opening it would make nothing: its files are there, or it lives in a database elsewhere."""
    if (home / "history" / "runs.db").exists():
        return True
    try:
        configured = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return isinstance(configured, dict) and bool({"storage", "run_storage"} & configured.keys())


def _gates() -> Iterator[Gate]:
    from churn_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    for key in graph.asset_check_keys:
        yield Gate(asset=key.asset_key.to_user_string(), check=key.name, blocking=graph.get_check_spec(key).blocking)


def _timers(states: Sequence[InstigatorState]) -> tuple[Timer, ...]:
    from churn_assets.definitions import defs

    stopped = {state.name for state in states if state.status is InstigatorStatus.STOPPED}
    started = {state.name for state in states if state.status is InstigatorStatus.RUNNING} - stopped
    found = [*(defs.schedules or ()), *(defs.sensors or ())]
    now = datetime.now(UTC)
    return tuple(
        Timer(
            name=one.name,
            timing="schedule" if isinstance(one, dg.ScheduleDefinition) else "sensor",
            is_on=one.name not in stopped and (one.name in started or one.default_status.value == "RUNNING"),
            next_tick=next_tick(one, now) if isinstance(one, dg.ScheduleDefinition) else None,
        )
        for one in found
    )


def _beats(running: dg.DagsterInstance) -> Iterator[Beat]:
    for status in running.get_daemon_statuses().values():
        beat = status.last_heartbeat
        at = datetime.fromtimestamp(beat.timestamp, UTC) if beat else None
        yield Beat(task=status.daemon_type, is_alive=bool(status.healthy), at=at)


def _successes(running: dg.DagsterInstance) -> Iterator[Success]:
    for job in JOBS:
        asked = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
        found = [_success(job, record) for record in running.get_run_records(asked, limit=LOOKED_AT)]
        yield from found[:1]
        yield from [run for run in found[1:] if run.by_itself and not found[0].by_itself][:1]


def _success(job: str, record: dg.RunRecord) -> Success:
    tags = record.dagster_run.tags
    itself = tags.get(SCHEDULED) or tags.get(SENSED)
    at = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
    asked_by = itself or tags.get(TRIGGER, "")
    return Success(job=job, at=at.replace(tzinfo=UTC), asked_by=asked_by, by_itself=bool(itself))

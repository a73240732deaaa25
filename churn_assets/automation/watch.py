"""Tells people of failed runs, stale predictions and a disk that fills up.

The sensor looks and tells; it starts nothing. A failed run is told once; if no channel can be reached it waits, and is
told when one can. Only then is anything heavy imported.
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import msgspec

from churn_assets.automation.run_outcomes import note_outcomes
from churn_assets.notify import messages
from churn_assets.notify.messages import Message, first_line
from churn_assets.notify.notifier import Notifier
from churn_assets.resources import load_workspace
from churn_serving.published import Published

if TYPE_CHECKING:
    from churn_assets.settings import NotifySettings
    from churn_assets.workspace import Workspace

OVERLAP = timedelta(minutes=2)
"""How far back a tick looks beyond what it has seen: two processes end runs with two clocks, in no fixed order."""

REST = timedelta(minutes=10)
"""How long channels are left alone after none could be reached."""

MOST_AT_ONCE = 20
"""Failed runs that one tick looks at; the others wait for the next."""

BUDGET_SECONDS = 15.0
"""A tick that has told for so long leaves the rest to the next: Dagster ends ticks after a minute."""

ROOM_AGAIN = 1.5
"""A disk is no longer low at this multiple of the limit; about the limit itself it would be news again and again."""

CHOSEN = "__ASSET_JOB"
"""What Dagster calls the job of assets that somebody chose in the UI."""

_log = logging.getLogger(__name__)


class Cursor(msgspec.Struct, frozen=True):
    """Where the sensor is.

    Attributes:
        after: Runs that failed before are done with.
        told: Runs that failed after it and are done with as well, with when.
        rest_until: Channels are left alone until then.
    """

    after: datetime
    told: dict[str, datetime] = {}
    rest_until: datetime | None = None

    def with_told(self, run_id: str, at: datetime) -> Cursor:
        """One more run is done with."""
        after = max(self.after, at - OVERLAP)
        told = {run: when for run, when in {**self.told, run_id: at}.items() if when > after}
        return Cursor(after, told)

    def rests(self, now: datetime) -> bool:
        """Whether channels are left alone."""
        return self.rest_until is not None and now < self.rest_until <= now + REST


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        run_id: As the UI shows it.
        job: Its job.
        at: When, UTC.
    """

    run_id: str
    job: str
    at: datetime


@dataclass(frozen=True)
class State:
    """What a tick sees beside the runs.

    Attributes:
        newest: The newest day that was scored; None if nobody has been scored yet.
        behind: How many days that is behind the newest whole day.
        free: Bytes left, by a folder on each disk.
    """

    newest: date | None
    behind: int
    free: Mapping[Path, int]

    def standing(self, limits: NotifySettings) -> list[Message]:
        """What people should know of it."""
        found = []
        if self.newest is not None and self.behind >= limits.stale_after_days:
            found.append(messages.stale(self.behind, self.newest))
        low = limits.min_free_gb * 1e9
        return found + [messages.disk_low(free, path) for path, free in self.free.items() if free < low]

    def settled(self, limits: NotifySettings) -> list[tuple[messages.Kind, str]]:
        """What certainly does not hold: kind and subject. Between this and `standing` nothing is said."""
        found: list[tuple[messages.Kind, str]] = []
        if self.newest is not None and self.behind <= 0:
            found.append(("stale", messages.PREDICTIONS))
        enough = limits.min_free_gb * 1e9 * ROOM_AGAIN
        return found + [("disk_low", str(path)) for path, free in self.free.items() if free >= enough]

    def in_words(self) -> str:
        """One line."""
        scored = f"predictions as of {self.newest}, {self.behind} days behind" if self.newest else "no predictions yet"
        return f"{scored}; {' and '.join(f'{free / 1e9:.1f} GB' for free in self.free.values())} free"


@dataclass
class Done:
    """What a tick has told.

    Attributes:
        failures: Runs that are done with.
        sent: How many messages went out.
        rest: Whether to leave the channels alone for a while: none could be reached, or what was told could not be
            written down and would be told every minute.
    """

    failures: list[Failure] = field(default_factory=list)
    sent: int = 0
    rest: bool = False


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people of failed runs, of stale predictions and of a disk that fills up; once each.",
)
def run_failure_alert(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tells people of failed runs, of stale predictions and of a disk that fills up; once each."""
    workspace, now = load_workspace(), datetime.now(UTC)
    note_outcomes(context.instance, Published(workspace.settings.paths).runs, now)
    cursor, said = watch(context.instance, workspace, context.cursor, now)
    context.update_cursor(cursor)
    return dg.SkipReason(said)


def watch(instance: dg.DagsterInstance, workspace: Workspace, text: str | None, now: datetime) -> tuple[str, str]:
    """Look once, and tell what is new.

    Args:
        instance: Where runs are recorded.
        workspace: The deployment.
        text: The cursor that the last tick left; None before the first, which tells of nothing that failed before it.
        now: The time, UTC.

    Returns:
        The cursor for the next tick, and what was seen, in a line.
    """
    cursor = read_cursor(text, now)
    if cursor.rests(now):
        resting = f"rests until {cursor.rest_until:%H:%M} UTC: the last message could not be sent or noted"
        return written(cursor), resting
    notifier, state = Notifier.of(workspace), look(workspace)
    failures, limits = failures_since(instance, cursor), workspace.settings.notify
    for kind, subject in state.settled(limits):
        notifier.settle(kind, subject)
    news = itertools.chain(
        ((message_of(instance, failure), failure) for failure in failures),
        ((message, None) for message in state.standing(limits) if notifier.channels),
    )
    done = _tell(notifier, news, workspace.settings.today)
    for failure in done.failures:
        cursor = cursor.with_told(failure.run_id, failure.at)
    cursor = msgspec.structs.replace(cursor, rest_until=now + REST if done.rest else None)
    heard = f"{done.sent} messages sent" if notifier.channels else "nobody to tell: `notify.urls` is empty"
    failed = "; the last message could not be sent or noted" if done.rest else ""
    return written(cursor), f"{len(failures)} newly failed runs; {state.in_words()}; {heard}{failed}"


def read_cursor(text: str | None, now: datetime) -> Cursor:
    """The cursor that a tick left. None, or what no cursor looks like, starts at this moment: no flood of old news."""
    if text:
        try:
            return msgspec.json.decode(text, type=Cursor)
        except msgspec.MsgspecError as error:
            _log.warning("the cursor of run_failure_alert cannot be read (%s); it starts at %s", error, now)
    return Cursor(now)


def written(cursor: Cursor) -> str:
    """The cursor as Dagster keeps it."""
    return msgspec.json.encode(cursor).decode()


def failures_since(instance: dg.DagsterInstance, cursor: Cursor) -> list[Failure]:
    """Runs that failed and are not done with, oldest first, at most `MOST_AT_ONCE`. One indexed query."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=cursor.after),
        limit=MOST_AT_ONCE + len(cursor.told),
        order_by="update_timestamp",
        ascending=True,
    )
    found = [Failure(one.dagster_run.run_id, one.dagster_run.job_name, one.update_timestamp) for one in records]
    return [failure for failure in found if failure.run_id not in cursor.told][:MOST_AT_ONCE]


def message_of(instance: dg.DagsterInstance, failure: Failure) -> Message:
    """What people are told of a failed run: its first failed step, else why it never came to one. One query."""
    types = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(failure.run_id, of_type=types, limit=1).records
    event = records[0].event_log_entry.dagster_event if records else None
    job = "a choice of assets" if failure.job.startswith(CHOSEN) else failure.job
    step = event.step_key if event else None
    return messages.run_failed(job, failure.run_id, step, first_line(_error_of(event)) if event else "")


def look(workspace: Workspace) -> State:
    """How old predictions are, and how full the disks."""
    newest = _newest_scored(workspace.layout.latest_score_proxy)
    behind = (workspace.settings.yesterday - newest).days if newest else 0
    return State(newest, behind, _free_bytes((workspace.layout.data, workspace.layout.artifacts)))


def _tell(notifier: Notifier, news: Iterable[tuple[Message, Failure | None]], today: date) -> Done:
    """Tell as much as there is time for; stop if no channel can be reached."""
    done, end = Done(), time.monotonic() + BUDGET_SECONDS
    for message, failure in news:
        told = notifier.tell(message, today=today)
        if not told.is_over:
            done.rest = told.outcome == "failed"
            break
        done.sent += told.outcome == "sent"
        if failure:
            done.failures.append(failure)
        else:
            done.rest |= told.outcome == "sent" and not told.remembered
        if time.monotonic() > end:
            break
    return done


def _error_of(event: dg.DagsterEvent) -> str:
    """Why a step, or a run without any, failed: as the step says it, else the error below Dagster's own."""
    if not event.is_step_failure:
        return event.message or ""
    data = event.step_failure_data
    if data.user_failure_data:
        return data.user_failure_data.description or ""
    return (data.error.cause or data.error).message if data.error else ""


def _newest_scored(path: Path) -> date | None:
    try:
        return date.fromisoformat(json.loads(path.read_text())["as_of_date"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s does not say how new predictions are: %r", path, error)
        return None


def _free_bytes(folders: Sequence[Path]) -> dict[Path, int]:
    """Bytes left, one folder a disk."""
    disks: dict[int, tuple[Path, int]] = {}
    for folder in folders:
        absolute = folder.absolute()
        existing = next(place for place in (absolute, *absolute.parents) if place.exists())
        disks.setdefault(existing.stat().st_dev, (absolute, shutil.disk_usage(existing).free))
    return dict(disks.values())

"""The clean-up: what is old goes, what is needed stays, and both are told.

Everything is planned first, in the same way whether it is then removed or only shown. Kinds are independent of each
other: where one cannot be cleaned, the others are. Plain files go first, since a full disk has no room for the history
that the registry writes, nor for what a database does before it deletes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from churn_assets.upkeep import retention_files as files
from churn_assets.upkeep.backup_files import Places
from churn_assets.upkeep.exclusive import LOCK, UpkeepBusyError, exclusive
from churn_assets.upkeep.restore_swap import refuse_if_interrupted
from churn_assets.upkeep.retention import CleanError, Item, Limits, Plan
from churn_assets.upkeep.retention_leftovers import plan_leftovers
from churn_assets.upkeep.retention_models import plan_models
from churn_assets.upkeep.retention_needs import Needs
from churn_assets.upkeep.retention_outcome import Cleaned, Cleared
from churn_serving.errors import ArtifactError
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.published import Published

if TYPE_CHECKING:
    from churn_assets.layout import Layout
    from churn_assets.workspace import Workspace

Planner = tuple[str, Callable[[], Plan]]
"""A kind, and what plans it."""

Tell = Callable[[str], None]

TOLD_EVERY = 100
"""Items after which progress is told."""

WAIT_SECONDS = 10.0
FULL = {errno.ENOSPC, errno.EDQUOT}
EXPECTED = (OSError, ArtifactError, OnlineStoreError, CleanError)
"""What may go wrong with a kind, and does not keep the others from being cleaned."""


def _silent(_line: str) -> None:
    pass


def clean(  # noqa: PLR0913 - three of them by name, with defaults
    workspace: Workspace,
    limits: Limits,
    now: datetime,
    *,
    actor: str = "churn clean",
    dry_run: bool = False,
    tell: Tell = _silent,
    also: Sequence[Planner] = (),
) -> Cleaned:
    """Remove what is beyond its limit and not needed.

    Args:
        workspace: Where.
        limits: What is kept.
        now: The time, UTC. Files with a day in their name count to `settings.today`.
        actor: Who does it, for the registry's history.
        dry_run: Change nothing, not even a lock; say what would be removed.
        tell: Told of progress.
        also: Further kinds.

    Returns:
        What was removed and what stays. What could not be removed is a problem of its kind, and does not stop others.

    Raises:
        SourceError: The source is not described.
        UpkeepBusyError: Another clean-up, a backup, a restore or an erasure is under way.
        CleanError: The lock cannot be taken.
        BackupError: A restore was cut off; it has to be finished first.
    """
    with contextlib.nullcontext() if dry_run else _alone(workspace.layout):
        refuse_if_interrupted(Places.of(workspace))
        planned = [_planned(planner) for planner in [*_planners(workspace, limits, now, actor), *also]]
        settle = _foreseen if dry_run else functools.partial(_removed, tell=tell)
        return Cleaned(
            is_dry=dry_run, kinds=tuple(plan if isinstance(plan, Cleared) else settle(plan) for plan in planned)
        )


def _planners(workspace: Workspace, limits: Limits, now: datetime, actor: str) -> list[Planner]:
    layout, today, kept, needs = workspace.layout, workspace.settings.today, limits.retention, Needs.of(workspace)
    log = Published(workspace.settings.paths).prediction_log
    kinds: list[tuple[str, int | None, Callable[[int], Plan]]] = [
        ("leftovers", 1 if limits.leftovers else None, lambda _: plan_leftovers(layout, now)),
        (
            "prediction log",
            kept.prediction_log_days,
            lambda days: files.plan_prediction_log(log, needs, days, today, now),
        ),
        ("predictions", kept.predictions_days, lambda days: files.plan_predictions(layout, needs, days, today, now)),
        ("reports", kept.reports_days, lambda days: files.plan_reports(layout, needs, days, today)),
        ("quarantine", kept.quarantine_days, lambda days: files.plan_quarantine(layout, days, today)),
        ("features", kept.features_days, lambda days: files.plan_features(layout, needs, days, today, now)),
        ("raw", kept.raw_days, lambda days: files.plan_raw(layout, needs, days, today)),
        ("models", kept.models_count, lambda count: plan_models(workspace, count, actor)),
    ]
    return [(kind, functools.partial(plan, limit)) for kind, limit, plan in kinds if limit is not None]


def _planned(planner: Planner) -> Plan | Cleared:
    """The plan of a kind, or why there is none."""
    kind, plan = planner
    try:
        return plan()
    except EXPECTED as error:
        return Cleared(kind, "", 0, 0, None, None, (), _why(error))


def _foreseen(plan: Plan) -> Cleared:
    return Cleared.of(plan, plan.items)


def _removed(plan: Plan, tell: Tell) -> Cleared:
    """Carry a plan out, as far as it goes."""
    done: list[Item] = []
    try:
        for item in plan.items:
            if len(done) % TOLD_EVERY == 0:
                tell(f"{plan.kind}: {len(done):,} of {len(plan.items):,} removed")
            plan.remove(item)
            done.append(item)
        if plan.finish:
            plan.finish(done)
    except EXPECTED as error:
        return Cleared.of(plan, done, _why(error))
    return Cleared.of(plan, done)


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Keep other upkeep out."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(layout, "cleaning up", timeout=WAIT_SECONDS))
        except OSError as error:
            if error.errno not in FULL:
                raise CleanError(f"nothing was cleaned: {_why(error)}") from error
            stack.enter_context(_unnamed_lock(layout))
        yield


@contextlib.contextmanager
def _unnamed_lock(layout: Layout) -> Iterator[None]:
    """The same lock without its holder's name: a full disk has no room for that, and is what a clean-up is for."""
    lock = FileLock(layout.artifacts / LOCK, timeout=WAIT_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise UpkeepBusyError("cleaning up has to wait for another upkeep; try again when it is done") from None
    try:
        yield
    finally:
        lock.release()


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}. Mend that and clean again: the rest is removed then"
    return str(error)

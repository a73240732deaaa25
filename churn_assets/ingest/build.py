"""Raw and validated tables, built day by day; late days are found and rebuilt."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from churn_assets.engine import connect
from churn_assets.ingest import validation
from churn_assets.ingest.source import SourceError
from churn_assets.ingest.tombstones import sieve
from churn_assets.layout import Built, DayTable, cut_by_day, with_day
from churn_serving.atomic import remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from churn_assets.workspace import Workspace

ROWS_PER_QUERY = 400_000


def _say_nothing(_line: str) -> None:
    """Progress that nobody reads."""


def ingest_users(workspace: Workspace, tell: Callable[[str], None] = _say_nothing) -> int:
    """Read users (and engagements) from the source, without who was forgotten. Returns the number of users.

    Raises:
        SourceError: The source cannot be read, or holds no user.
    """
    workspace.pin_history()
    remove_leftovers(workspace.layout.data)
    remove_leftovers(workspace.layout.reports)
    users = workspace.source.users(workspace.settings.yesterday)
    if not users.num_rows:
        raise SourceError("the source holds no user: nothing can be built")
    engagements = workspace.source.engagements()
    with sieve(workspace) as known:
        users = known.users(users)
        if engagements is not None:
            workspace.layout.raw_engagements.write(known.engagements(engagements))
    workspace.layout.raw_users.write(users)
    if known.told:
        tell(known.told)
    return int(users.num_rows)


def ingest_events(workspace: Workspace, days: Sequence[date], tell: Callable[[str], None]) -> Built:
    """Read the events of `days`, and of days built before for which rows have come since; without who was forgotten.

    Raises:
        SourceError: The source cannot be read.
    """
    workspace.pin_history()
    source, raw = workspace.source, workspace.layout.raw_events
    wanted = set(days)
    late = [day for day in source.late_days(raw.days()) if day not in wanted]
    built = Built(late=late)
    with sieve(workspace) as known:
        for number, (day, given) in enumerate(source.events(sorted(wanted | set(late))), start=1):
            table = known.events(given)
            raw.write(day, table)
            built.add(day, table.num_rows)
            if number % 50 == 0:
                tell(f"{number} of {len(wanted) + len(late)} days read, up to {day}")
    if known.told:
        tell(known.told)
    source.acknowledge()
    return built


def validate_users(workspace: Workspace) -> dict[str, validation.Tally]:
    """Hold users and engagements against the contract; write what keeps it if not too much breaks it.

    Returns:
        A tally a table. Where `within_limit` is false, nothing was replaced.
    """
    layout, settings = workspace.layout, workspace.settings
    tallies: dict[str, validation.Tally] = {}
    with connect(layout.temporary) as connection:
        users = validation.validate_users(connection, layout.raw_users.read(), settings)
        tallies["users"] = _settle(workspace, "users", users)
        if within_limit(workspace, tallies["users"]):
            layout.users.write(users.clean)
            if workspace.features.engagements:
                raw = layout.raw_engagements.read()
                engagements = validation.validate_engagements(connection, raw, users.clean)
                tallies["engagements"] = _settle(workspace, "engagements", engagements)
                if within_limit(workspace, tallies["engagements"]):
                    layout.engagements.write(engagements.clean)
    return tallies


def validate_events(
    workspace: Workspace, days: Sequence[date], tell: Callable[[str], None]
) -> tuple[Built, validation.Tally]:
    """Hold the raw events of `days`, and of days whose raw rows were replaced, against the contract.

    Rejected rows go to the quarantine in any case. The days are replaced only if the share of rejects over all of them
    is within the limit.

    Returns:
        What was built (nothing, if too much was rejected), and the tally.

    Raises:
        MissingTableError: `raw_events` lacks one of the days.
    """
    layout, settings = workspace.layout, workspace.settings
    late = [day for day in layout.events.stale_days(layout.raw_events.stamp) if day not in set(days)]
    wanted = sorted({*days, *late})
    layout.raw_events.existing(wanted)
    tally = validation.Tally()
    users = layout.users.read(["user_id", "signup_date"])
    with _staging(workspace) as staging, connect(layout.temporary) as connection:
        for chunk, raw in _chunks(workspace, wanted):
            outcome = validation.validate_events(connection, raw, users, settings)
            tally.add(outcome, settings.validation.sample_rows)
            for day, rejected in cut_by_day(outcome.rejected.sort_by("day"), chunk):
                validation.quarantine(layout.quarantine_file("events", day), rejected)
            for day, clean in cut_by_day(outcome.clean, chunk):
                staging.write(day, clean)
            tell(f"days validated up to {chunk[-1]}, {tally.rejects} of {tally.rows} rows rejected so far")
        if not within_limit(workspace, tally):
            return Built(), tally
        for day in wanted:
            layout.events.adopt(day, staging)
    layout.events.record(wanted, layout.raw_events.stamp)
    return Built(wanted, late, tally.rows - tally.rejects), tally


def within_limit(workspace: Workspace, tally: validation.Tally) -> bool:
    """Whether few enough rows were rejected, and not all of them."""
    limit = workspace.settings.validation.max_reject_share
    return tally.share <= limit and (tally.rejects < tally.rows or not tally.rows)


@contextlib.contextmanager
def _staging(workspace: Workspace) -> Iterator[DayTable]:
    """A table aside: its days are taken over only when all have been judged."""
    workspace.layout.temporary.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.layout.temporary) as folder:
        yield DayTable(Path(folder), "validated_events")


def _settle(workspace: Workspace, table: str, outcome: validation.Validated) -> validation.Tally:
    validation.quarantine(workspace.layout.quarantine_file(table), outcome.rejected)
    tally = validation.Tally()
    tally.add(outcome, workspace.settings.validation.sample_rows)
    return tally


def _chunks(workspace: Workspace, days: Sequence[date]) -> Iterator[tuple[list[date], pa.Table]]:
    """Consecutive days with their raw rows, as many as make a query worth while."""
    chunk: list[date] = []
    tables: list[pa.Table] = []
    for day in days:
        chunk.append(day)
        tables.append(with_day(workspace.layout.raw_events.read(day), day))
        if sum(table.num_rows for table in tables) >= ROWS_PER_QUERY or day == days[-1]:
            yield chunk, pa.concat_tables(tables, promote_options="permissive")
            chunk, tables = [], []

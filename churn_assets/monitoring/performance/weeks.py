"""Performance by ISO week of as-of dates. A week that is over is kept, so a report need not read its rows again."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec
import pyarrow.compute as pc

from churn_assets.layout import days_between
from churn_assets.monitoring.performance.outcomes import Tally, outcomes_table, tally_of
from churn_assets.monitoring.performance.realised import Performance, Rows, Source, measure
from churn_serving.atomic import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from churn_assets.layout import DayTable, Layout

FORM = 1
"""Of kept weeks; another number means that they are computed again."""


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """The predictions of a week and how they came true.

    Attributes:
        week: ISO week, such as `2026-W03`.
        first_date: Its Monday.
        last_date: Its Sunday.
        days: As-of dates of it with outcomes.
        is_complete: Whether the labels of its last day are known.
        batch: The daily lists.
        by_version: The same by model version, in order of their names.
        http: What the service scored; None if nothing.
        tally: What found no partner.
    """

    week: str
    first_date: date
    last_date: date
    days: int
    is_complete: bool
    batch: Performance
    by_version: list[Performance]
    http: Performance | None
    tally: Tally


class _Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A week on disk, with the files that it was made of: day, size and time of each."""

    form: int
    made_of: list[tuple[date, int, int]]
    week: Week


def performance_by_week(layout: Layout, first: date, last: date) -> list[Week]:
    """Return the weeks that have outcomes, oldest first.

    Args:
        layout: Where.
        first: A Monday, the first as-of date.
        last: Last as-of date whose labels count as known.
    """
    mondays = days_between(first, last)[::7]
    weeks = (_week_of(layout, monday, last) for monday in mondays)
    return [week for week in weeks if week is not None]


def monday_of(day: date) -> date:
    """The Monday of a day's ISO week."""
    return day - timedelta(days=day.weekday())


def rows_of(tables: Sequence[pa.Table], source: Source, version: str | None = None) -> Rows:
    """One source's predictions in tables of outcomes, a table a day; those of one model if `version` is given."""
    chosen = [table.filter(pc.equal(table["source"], source)) for table in tables]
    if version is not None:
        chosen = [table.filter(pc.equal(table["model_version"], version)) for table in chosen]
    return Rows.of(chosen)


def served_performance(tables: Sequence[pa.Table]) -> Performance | None:
    """How the service's answers came true, in tables of outcomes, a table a day; None if there are none."""
    rows = rows_of(tables, "http")
    return measure(rows, "http") if len(rows.scores) else None


def versions_of(tables: Sequence[pa.Table], source: Source) -> list[str]:
    """The models that predicted, by name."""
    found: set[str] = set()
    for table in tables:
        found.update(pc.unique(table.filter(pc.equal(table["source"], source))["model_version"]).to_pylist())
    return sorted(found)


def tally_over(tables: Sequence[pa.Table]) -> Tally:
    """What found no partner on several days."""
    return sum(map(tally_of, tables), Tally())


def _week_of(layout: Layout, monday: date, last: date) -> Week | None:
    table, sunday = outcomes_table(layout), monday + timedelta(days=6)
    stamps = {day: table.stamp(day) for day in days_between(monday, min(sunday, last))}
    made_of = [(day, stamp[0], stamp[1]) for day, stamp in stamps.items() if stamp is not None]
    if not made_of:
        return None
    is_over = sunday <= last
    path = _path(table, monday)
    kept = _read(path) if is_over else None
    if kept is not None and (kept.form, kept.made_of) == (FORM, made_of):
        return kept.week
    week = _measured(table, [day for day, _, _ in made_of], monday, is_complete=is_over)
    if is_over:
        write_bytes(path, msgspec.json.encode(_Kept(form=FORM, made_of=made_of, week=week)))
    return week


def _measured(table: DayTable, days: Sequence[date], monday: date, *, is_complete: bool) -> Week:
    tables = [table.read(day) for day in days]
    batch = measure(rows_of(tables, "batch"))
    year, number, _ = monday.isocalendar()
    return Week(
        week=f"{year}-W{number:02d}",
        first_date=monday,
        last_date=monday + timedelta(days=6),
        days=len(days),
        is_complete=is_complete,
        batch=batch,
        by_version=_by_version(tables, batch),
        http=served_performance(tables),
        tally=tally_over(tables),
    )


def _by_version(tables: Sequence[pa.Table], whole: Performance) -> list[Performance]:
    versions = versions_of(tables, "batch")
    if len(versions) == 1:
        return [msgspec.structs.replace(whole, model_version=versions[0])]
    return [measure(rows_of(tables, "batch", version), "batch", version) for version in versions]


def _path(table: DayTable, monday: date) -> Path:
    return table.folder / "weeks" / f"{monday.isoformat()}.json"


def _read(path: Path) -> _Kept | None:
    """A kept week; None if there is none, or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None

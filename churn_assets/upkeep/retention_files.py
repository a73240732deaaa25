"""Files that carry their day in their name: lists, snapshots, events, rejected rows, reports, the prediction log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.layout import DATED
from churn_assets.monitoring.performance.outcomes import outcomes_table
from churn_assets.upkeep.retention import Item, Plan, plan_by_age
from churn_assets.upkeep.retention_online import published_items, remove_unpublished
from churn_serving.logs.prediction_log import PREFIX
from churn_serving.logs.rotated_file import files_of_days

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from churn_assets.layout import Layout
    from churn_assets.upkeep.retention_needs import Needs

DAY_LENGTH = len("2026-01-05")

STANDS = "the newest there is"
BEFORE_NEWEST = "the newest is compared with it"


def _nothing(_day: date) -> str:
    return ""


@dataclass(frozen=True)
class Dated:
    """Files of one kind in one folder.

    Attributes:
        folder: Where; need not exist.
        name: Of a file, as a pattern with `{day}`.
        needed: Why a day's file is needed; empty if it is not.
        newest: So many of the newest days are needed in any case.
    """

    folder: Path
    name: str
    needed: Callable[[date], str] = _nothing
    newest: int = 1

    def items(self) -> list[Item]:
        """The files, oldest first; what has no possible day in its name is not ours."""
        found = sorted(
            (day, path)
            for path in self.folder.glob(self.name.format(day=DATED))
            if (day := self._day(path.name)) is not None
        )
        newest = sorted({day for day, _ in found}, reverse=True)[: self.newest]
        reasons = {day: BEFORE_NEWEST if place else STANDS for place, day in enumerate(newest)}
        items = (item_of(path, day, reasons.get(day) or self.needed(day)) for day, path in found)
        return [item for item in items if item is not None]

    def _day(self, name: str) -> date | None:
        end = len(name) - len(self.name.partition("{day}")[2])
        try:
            return date.fromisoformat(name[end - DAY_LENGTH : end])
        except ValueError:
            return None


def item_of(path: Path, day: date, needed: str = "") -> Item | None:
    """A file as an item; None if it has gone meanwhile."""
    try:
        return Item(str(path), day, path.stat().st_size, needed)
    except FileNotFoundError:
        return None


def remove_file(item: Item) -> None:
    """Remove the file that an item is.

    Raises:
        OSError: It cannot be removed.
    """
    Path(item.name).unlink(missing_ok=True)


def plan_predictions(layout: Layout, needs: Needs, days: int, today: date, now: datetime) -> Plan:
    """Daily lists, short lists, and tables of scores that are no longer published. The newest is kept in any case."""
    lists = Dated(layout.predictions, "churn_predictions_{day}.csv", needs.of_list)
    files = _in_order([Dated(layout.predictions, "churn_top_*_{day}.csv", needs.of_list), lists])
    return plan_by_age(
        "predictions",
        [*files, *published_items(layout.online_scores, now, "a user's history of scores shows it")],
        days=days,
        today=today,
        remove=lambda item: _remove_or_unpublish(item, layout.online_scores),
        finish=lambda _: _note_lists_gone(layout),
    )


def plan_features(layout: Layout, needs: Needs, days: int, today: date, now: datetime) -> Plan:
    """Daily snapshots, and tables of features that are no longer published; never `user_daily`, never labels."""
    snapshots = Dated(layout.user_features.folder, "{day}.parquet", needs.of_snapshot)
    return plan_by_age(
        "features",
        [*_in_order([snapshots]), *published_items(layout.online_features, now, "served by user id")],
        days=days,
        today=today,
        remove=lambda item: _remove_or_unpublish(item, layout.online_features),
    )


def plan_raw(layout: Layout, needs: Needs, days: int, today: date) -> Plan:
    """Raw and validated events by day. What they add up to, `user_daily`, stays; users and engagements do too."""
    tables = [Dated(table.folder, "{day}.parquet", needs.of_events) for table in (layout.events, layout.raw_events)]
    return plan_by_age("raw", _in_order(tables), days=days, today=today, remove=remove_file)


def plan_quarantine(layout: Layout, days: int, today: date) -> Plan:
    """Rejected events by day."""
    rejected = Dated(layout.quarantine, "events_{day}.csv", newest=0)
    return plan_by_age("quarantine", _in_order([rejected]), days=days, today=today, remove=remove_file)


def plan_reports(layout: Layout, needs: Needs, days: int, today: date) -> Plan:
    """Reports by day, their pages, and what they were made from. A page goes before what it leads to."""
    outcomes = outcomes_table(layout).folder
    drift, performance = needs.of_drift_report, needs.of_performance_report
    files = [
        Dated(layout.reports, "drift_{day}.html", drift, newest=2),
        Dated(layout.reports, "drift_{day}_evidently.html", drift, newest=2),
        Dated(layout.metrics, "data_drift_{day}.json", drift, newest=2),
        Dated(layout.reports, "performance_{day}.html", performance, newest=2),
        Dated(layout.metrics, "performance_{day}.json", performance, newest=2),
        Dated(layout.metrics, "score_proxy_{day}.json"),
        Dated(layout.feed_profile(today).parent, "{day}.json", needs.of_events),
        Dated(outcomes / "weeks", "{day}.json", needs.of_outcomes, newest=0),
        Dated(outcomes / "rescored", "{day}.parquet", needs.of_outcomes, newest=0),
        Dated(outcomes, "{day}.parquet", needs.of_outcomes, newest=0),
    ]
    return plan_by_age("reports", _in_order(files), days=days, today=today, remove=remove_file)


def plan_prediction_log(folder: Path, needs: Needs, days: int, today: date, now: datetime) -> Plan:
    """What the service has answered. Its files bear real days, so of a pretended today and the real one the earlier."""
    start = len(PREFIX) + 1
    found = [
        (datetime.strptime(path.name[start : start + 8], "%Y%m%d").replace(tzinfo=UTC).date(), path)
        for path in files_of_days(folder, PREFIX, date(1970, 1, 1), date(9999, 12, 31))
    ]
    items = (item_of(path, day, needs.of_log(day)) for day, path in found)
    return plan_by_age(
        "prediction log",
        [item for item in items if item],
        days=days,
        today=min(today, now.date()),
        remove=remove_file,
    )


def _in_order(files: Iterable[Dated]) -> list[Item]:
    """All items by day; those of a day in the order in which their kinds are named."""
    return sorted((item for dated in files for item in dated.items()), key=lambda item: item.day)


def _remove_or_unpublish(item: Item, folder: Path) -> None:
    path = Path(item.name)
    if path.parent == folder:
        remove_unpublished(path)
    else:
        remove_file(item)


GONE = [0, 0]
"""The stamp of a list that was removed."""


def _note_lists_gone(layout: Layout) -> None:
    """Write down that outcomes are as they were joined, although their lists are gone.

    Else they would be joined anew, with what is left of the prediction log.
    """
    table = outcomes_table(layout)
    try:
        recorded = json.loads((table.folder / "built_from.json").read_text())
    except FileNotFoundError:
        return
    days = (date.fromisoformat(day) for day, stamp in sorted(recorded.items()) if stamp[:2] != GONE)
    gone = [day for day in days if not layout.predictions_file(day).exists()]
    if gone:
        table.record(gone, lambda day: [*GONE, *recorded[day.isoformat()][2:]])

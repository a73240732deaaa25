"""A person in Dagster's event log: among the rejected rows that a check of raw data shows as an example."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from churn_assets.ingest.tombstones import values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from churn_assets.upkeep.forget_places import Found

    Connect = Callable[[], AbstractContextManager[sql.Connection]]
    """Opens the event log's database; what was done is kept when the block ends."""

TABLES = {"event_logs": "event", "asset_check_executions": "evaluation_event"}
"""Tables of Dagster's event log in which an evaluated check stands, with the column that has it as JSON."""


@dataclass(frozen=True)
class CheckSamples:
    """The rows about one person that evaluated checks show.

    Attributes:
        connect: Opens the database.
        user_id: Who.
    """

    connect: Connect
    user_id: str
    kind: str = "dagster_checks"

    def find(self) -> Found:
        """Look for the person; tables stand for files."""
        found: Found = {}
        with self.connect() as connection:
            for table in TABLES:
                if lines := sum(count for _, _, count in self._rewritten(connection, table)):
                    found[Path(table)] = lines
        return found

    def erase(self, files: Sequence[Path]) -> None:
        """Take their lines out of what the checks show."""
        with self.connect() as connection:
            for name in map(str, files):
                table = _table(name)
                for row, content, _ in list(self._rewritten(connection, name)):
                    changed = sql.update(table).where(table.c.id == row).values({TABLES[name]: content})
                    connection.execute(changed)

    def finish(self) -> None:
        """Nothing is left to do."""

    def _rewritten(self, connection: sql.Connection, name: str) -> Iterator[tuple[int, str, int]]:
        """Rows that show the person: number, JSON without their lines, how many lines these were."""
        table = _table(name)
        column = table.c[TABLES[name]]
        needle = json.dumps(self.user_id)[1:-1].split("\\")[0]
        chosen = sql.select(table.c.id, column).where(column.contains(needle, autoescape=True))
        for row, text in connection.execute(chosen):
            content = json.loads(text)
            without, count = _without(content, self.user_id)
            if count:
                yield row, json.dumps(without), count


def _table(name: str) -> sql.TableClause:
    return sql.table(name, sql.column("id"), sql.column(TABLES[name]))


def _without(content: Any, user_id: str) -> tuple[Any, int]:
    """JSON without the lines of Markdown tables that have the id in a cell, and how many these were."""
    if isinstance(content, str) and content.startswith("| "):
        lines = content.split("\n")
        kept = [line for line in lines if not _shows(line, user_id)]
        return "\n".join(kept), len(lines) - len(kept)
    if isinstance(content, dict):
        parts = {key: _without(value, user_id) for key, value in content.items()}
        return {key: part for key, (part, _) in parts.items()}, sum(count for _, count in parts.values())
    if isinstance(content, list):
        several = [_without(value, user_id) for value in content]
        return [part for part, _ in several], sum(count for _, count in several)
    return content, 0


def _shows(line: str, user_id: str) -> bool:
    cells = [cell.replace("\\|", "|").strip() for cell in line.strip("|").split(" | ")]
    return user_id in cells or user_id in values_of({"line": line})

"""A person among what is kept to judge predictions, and in profiles of days on which a broken row named them."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from churn_assets.ingest.tombstones import values_of
from churn_assets.layout import DayTable
from churn_assets.monitoring.performance.outcomes import bring_up_to_date, outcomes_table
from churn_assets.upkeep.forget_parquet import parquet_files, rows_of
from churn_assets.upkeep.forget_places import Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.upkeep.forget_places import Place
    from churn_assets.workspace import Workspace


def monitoring_places(layout: Layout, user_id: str) -> list[Place]:
    """Outcomes lose the person's rows. What is only kept to save time is removed, and made again when it is needed."""
    outcomes = outcomes_table(layout)
    rescored = DayTable(outcomes.folder / "rescored", outcomes.made_by)
    profiles = layout.data / "monitoring" / "feed"
    return [
        parquet_files("outcomes", outcomes, user_id),
        Files(
            "rescored_outcomes",
            lambda: sorted(rescored.folder.glob("[0-9]*.parquet")),
            partial(rows_of, user_id=user_id),
            _remove,
        ),
        Files("feed_profiles", lambda: sorted(profiles.glob("*.json")), partial(_named_in, user_id=user_id), _remove),
    ]


def join_again(workspace: Workspace) -> list[str]:
    """Join the days again whose predictions or labels have lost a person: what is counted of them changes as well.

    Returns:
        What could not be joined, in words.
    """
    days: list[date] = outcomes_table(workspace.layout).days()
    return bring_up_to_date(workspace, days[0], days[-1])[1] if days else []


def _named_in(path: Path, user_id: str) -> int:
    try:
        texts = list(_texts(json.loads(path.read_bytes())))
    except ValueError:  # damaged: whoever needs it makes it again
        return 1
    return sum(text == user_id or user_id in values_of({"text": text}) for text in texts)


def _texts(content: Any) -> Iterator[str]:
    """Every text in JSON, the names of its fields too."""
    if isinstance(content, dict):
        yield from content
        content = list(content.values())
    if isinstance(content, list):
        for inner in content:
            yield from _texts(inner)
    elif isinstance(content, str):
        yield content


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)

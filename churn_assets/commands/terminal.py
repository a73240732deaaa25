"""How every command finds its deployment, and how it speaks: results to standard output, the rest to standard error."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Day = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Which day (UTC); else yesterday.")]


def workspace() -> Workspace:
    """The deployment that settings and environment describe.

    Raises:
        SettingsError: They are wrong.
    """
    from churn_assets.workspace import Workspace

    return Workspace.load()


def chosen_day(place: Workspace, given: datetime | None) -> date:
    """The day that was asked for, by default the newest whole one; ends the command if there is no such day."""
    chosen = given.date() if given else place.settings.yesterday
    first, last = place.history_start, place.settings.yesterday
    if not first <= chosen <= last:
        fail(f"{chosen} is outside of the history, which goes from {first} to {last} (the newest whole day)")
    return chosen


def say(text: str) -> None:
    """Tell something that is no result."""
    typer.echo(text, err=True)


def fail(text: str) -> NoReturn:
    """End the command with exit code 1."""
    typer.echo(f"churn: {text}", err=True)
    sys.exit(1)


def show(content: dict[str, Any], *, as_json: bool) -> None:
    """Print a result: names and values, or JSON."""
    if as_json:
        show_json(content)
        return
    from churn_assets.report import print_summary

    print_summary(content)


def show_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print a result of many rows with the same keys: a table, or JSON."""
    if as_json:
        show_json(rows)
    elif rows:
        from churn_assets.report import print_table

        print_table(rows)


def show_json(content: Any) -> None:
    """Print a result as JSON."""
    typer.echo(json.dumps(content, indent=2, default=str, ensure_ascii=False))

"""What the `churn` command says of a result: facts from files, as a dictionary and as a table."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from churn_assets.model_registry import open_registry
from churn_serving.errors import ForeignAliasError, MissingFileError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from churn_assets.workspace import Workspace
    from churn_serving.registry import Registry


def seed_summary(workspace: Workspace, day: date) -> dict[str, Any]:
    """What a first run has made, and what to type next."""
    layout = workspace.layout
    return {
        "production model": production_version(open_registry(workspace)),
        **_metric_lines(workspace),
        "as of": day.isoformat(),
        "users at risk": _count_rows(layout.predictions_file(day)),
        "drift": read_json(layout.drift_file(day))["status"],
        "predictions": layout.predictions_file(day),
        "most at risk": layout.top_file(day, workspace.settings.scoring.top_k),
        "model card": layout.model_card(production_version(open_registry(workspace))),
        "drift report": layout.drift_page(day),
        "next": "make ui (the graph, on http://127.0.0.1:3000)   .venv/bin/churn status",
    }


def retrain_summary(workspace: Workspace) -> dict[str, Any]:
    """What was decided about the challengers, and why."""
    registry = open_registry(workspace)
    production = production_version(registry)
    newest = [entry for entry in registry.history() if entry.action in {"promoted", "refused"}]
    serving = registry.production()
    return {
        "production model": production,
        **_metric_lines(workspace),
        "since": serving.promoted_at.isoformat(timespec="seconds") if serving else None,
        "why": serving.promoted_because if serving else None,
        "last decisions": "\n".join(f"{entry.version} {entry.action}: {entry.reason}" for entry in newest[-2:]),
        "model card": workspace.layout.model_card(production),
    }


def score_summary(workspace: Workspace, day: date, top_k: int | None) -> dict[str, Any]:
    """What a day's scores look like and where they are."""
    layout = workspace.layout
    proxy = read_json(layout.score_proxy_file(day))
    return {
        "as of": day.isoformat(),
        "model": proxy["model_version"],
        "users at risk": _count_rows(layout.predictions_file(day)),
        "mean risk": proxy["mean"],
        "high risk share": proxy["high_risk_rate"],
        "predictions": layout.predictions_file(day),
        "most at risk": layout.top_file(day, top_k or workspace.settings.scoring.top_k),
    }


def drift_summary(workspace: Workspace, day: date) -> dict[str, Any]:
    """The drift report's verdict."""
    report = read_json(workspace.layout.drift_file(day))
    return {
        "status": report["status"],
        "headline": report["headline"],
        "as of": report["as_of_date"],
        "model": report["model_version"],
        "score_psi": report["score_psi"],
        "overall_max_psi": report["overall_max_psi"],
        "what to do": report["what_to_do"],
        "report": workspace.layout.drift_file(day),
        "page": workspace.layout.drift_page(day),
    }


def read_json(path: Path) -> dict[str, Any]:
    """A report of ours.

    Raises:
        MissingFileError: It has not been written.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there yet") from None
    return content


def print_summary(content: dict[str, Any]) -> None:
    """Print names and values, one a line."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in content.items():
        table.add_row(name, shown(value))
    _console().print(table)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table; a column that is empty everywhere is left out."""
    names = [name for name in rows[0] if any(row[name] not in {"", None} for row in rows) or not name]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(shown(row[name]) for name in names))
    _console().print(table)


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _console() -> Console:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, markup=False, soft_wrap=True, width=400)


def _metric_lines(workspace: Workspace) -> dict[str, Any]:
    content = read_json(workspace.layout.metrics / "production_latest.json")
    metrics = content["metrics"]
    return {
        "PR-AUC": metrics["pr_auc"],
        "recency alone": metrics["recency_pr_auc"],
        "ROC-AUC": metrics["roc_auc"],
        "ECE": metrics["ece"],
        "prevalence": metrics["prevalence"],
    }


def production_version(registry: Registry) -> str:
    """What serves, or why nothing does."""
    try:
        serving = registry.production()
    except ForeignAliasError as error:
        return f"none: {error}"
    return serving.version if serving else "none"


def _count_rows(path: Path) -> int:
    try:
        with path.open(newline="") as file:
            return max(sum(1 for _ in csv.reader(file)) - 1, 0)
    except FileNotFoundError:
        raise MissingFileError(f"{path} is not there yet: `churn score` writes it") from None

"""One screen for an operator: what serves, what ran, what comes next, and what needs a person."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from churn_assets.model_registry import open_registry
from churn_assets.report import read_json
from churn_assets.servers import Server, ask_servers
from churn_serving.errors import ArtifactError, MissingFileError

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.workspace import Workspace

STALE_DAYS = 2
"""Predictions older than this need a person: two nights in a row have failed."""

LOW_DISK_SHARE = 0.05
RUNS_SHOWN = 5


@dataclass
class Stock:
    """What was found.

    Attributes:
        facts: Name → value, in the order to be shown.
        needs: What needs a person, each with what to do.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)

    @property
    def needs_a_person(self) -> bool:
        """Whether anybody has to do anything."""
        return bool(self.needs)

    def as_dict(self) -> dict[str, Any]:
        """Everything, then what needs a person, most urgent first; the first of it alone is what to do next."""
        told = {**self.facts, "needs a person": "\n".join(self.needs) or "no"}
        return {**told, "do next": self.needs[0]} if self.needs else told


def take_stock(workspace: Workspace) -> Stock:
    """Look at the registry, the files, Dagster's runs and the service."""
    stock = Stock()
    _production(workspace, stock)
    _predictions(workspace, stock)
    _drift(workspace, stock)
    _performance(workspace, stock)
    _runs(stock)
    _schedules(stock)
    _disk(workspace.layout.data, stock)
    _service(workspace, stock)
    return stock


def _production(workspace: Workspace, stock: Stock) -> None:
    registry = open_registry(workspace)
    try:
        serving = registry.production()
    except ArtifactError as error:
        stock.facts["production model"] = "none that is registered"
        stock.needs.append(str(error))
        return
    if serving is None:
        stock.facts["production model"] = "none"
        stock.needs.append("no model serves yet: run `churn seed`")
        return
    age = datetime.now(UTC) - serving.promoted_at
    stock.facts["production model"] = serving.version
    stock.facts["serving since"] = f"{serving.promoted_at:%Y-%m-%d %H:%M} UTC ({age.days} days)"
    stock.facts["because"] = serving.promoted_because
    if problems := registry.verify(serving.version):
        to_do = "`churn models rollback`, or `churn retrain`; services that have it loaded go on serving it"
        stock.needs.append(f"the production model is damaged: {problems[0]}. {to_do}")
    if (line := registry.verify_history()) is not None:
        stock.needs.append(f"line {line} of the registry's history is not what was written: `churn models history`")


def _predictions(workspace: Workspace, stock: Stock) -> None:
    try:
        newest = date.fromisoformat(read_json(workspace.layout.latest_score_proxy)["as_of_date"])
    except MissingFileError:
        stock.facts["predictions"] = "none"
        stock.needs.append("nobody has been scored yet: run `churn score`")
        return
    age = (workspace.settings.yesterday - newest).days
    stock.facts["predictions"] = f"as of {newest}" + (f", {age} days behind" if age > 0 else "")
    if age >= STALE_DAYS:
        stock.needs.append(f"predictions are {age} days behind: look at the last runs, then run `churn score`")


def _drift(workspace: Workspace, stock: Stock) -> None:
    try:
        report = read_json(workspace.layout.latest_drift)
    except MissingFileError:
        stock.facts["drift"] = "never looked"
        return
    stock.facts["drift"] = f"{report['status']} as of {report['as_of_date']}: {report['headline']}"
    if report["status"] == "FAIL":
        stock.needs.append(f"drift alert: {report['what_to_do']}")
    if report.get("feed", {}).get("status") == "FAULT":
        stock.needs.append(f"broken feed: {report['what_to_do']}")


def _performance(workspace: Workspace, stock: Stock) -> None:
    try:
        report = read_json(workspace.layout.latest_performance)
    except MissingFileError:
        stock.facts["live performance"] = "never looked"
        return
    reached = "" if report["pr_auc"] is None else f", PR-AUC {report['pr_auc']:.3f}"
    stock.facts["live performance"] = f"{report['status']} as of {report['as_of_date']}{reached}: {report['headline']}"
    if report["status"] == "FAIL":
        stock.needs.append(f"performance alert: {report['what_to_do']}")


def _runs(stock: Stock) -> None:
    from churn_assets.automation.dagster_home import instance

    with instance() as running:
        records = running.get_run_records(limit=RUNS_SHOWN)
    lines = []
    for record in records:
        run = record.dagster_run
        started = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
        lines.append(f"{started:%Y-%m-%d %H:%M} {run.job_name} {run.status.value.lower()} ({run.run_id[:8]})")
    stock.facts["last runs"] = "\n".join(lines) or "none"
    if records and records[0].dagster_run.is_failure_or_canceled:
        stock.needs.append(f"the last run, {records[0].dagster_run.run_id[:8]}, failed: `make ui` shows why")


def _schedules(stock: Stock) -> None:
    from churn_assets.automation.cleaning import clean_weekly
    from churn_assets.automation.schedules import SCHEDULES, next_tick

    now = datetime.now(UTC)
    ticks = [f"{schedule.name} {next_tick(schedule, now):%Y-%m-%d %H:%M %Z}" for schedule in (*SCHEDULES, clean_weekly)]
    stock.facts["next ticks"] = "\n".join(ticks)


def _disk(folder: Path, stock: Stock) -> None:
    existing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    usage = shutil.disk_usage(existing or "/")
    stock.facts["disk"] = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB"
    if usage.free < LOW_DISK_SHARE * usage.total:
        stock.needs.append("the disk is nearly full: `churn clean --dry-run` shows what may go")


def _service(workspace: Workspace, stock: Stock) -> None:
    servers = ask_servers(workspace.settings.serving)
    stock.facts["service"] = "\n".join(_told(server) for server in servers)
    for server in servers:
        if server.runs and server.problem:
            stock.needs.append(f"the service at {server.url}: {server.problem}")


def _told(server: Server) -> str:
    if server.version is None:
        return f"{server.url}: {server.problem}"
    return f"ready at {server.url}: {server.version}" + (f" ({server.problem})" if server.problem else "")

"""What erases a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.commands.terminal import AsJson, say, show, show_json, show_rows, workspace
from churn_assets.operator import operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from churn_assets.upkeep.forget import Forgetting, Surroundings
    from churn_assets.upkeep.forget_receipt import Receipt, Touched

app = typer.Typer()


AT_WORK = frozenset({"STARTING", "STARTED", "CANCELING"})
"""Statuses of Dagster runs that may have read a file and not yet written what they make of it."""

NEWEST_RUNS = 1000
"""Runs that are looked at: one at work is among the newest."""

Anyway = Annotated[bool, typer.Option("--anyway", help="Keep the person out even if nothing here is about them.")]
Force = Annotated[bool, typer.Option("--force", help="Do not look at Dagster's runs and storage at all.")]


@app.command()
def forget(  # noqa: PLR0913, PLR0917 - an option each
    user_id: Annotated[str, typer.Argument(help="As the users table has it; `--` goes before one that begins with -.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be touched.")] = False,
    anyway: Anyway = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for Dagster runs that are at work.")] = 0.0,
    force: Force = False,
    asked_by: Annotated[str, typer.Option("--by", help="Who asks, for the receipt; else the login name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Erase a person: raw data, quarantine, features, lists, outcomes, prediction log, and what the service serves.

    A tombstone, which is a keyed hash, keeps the source from bringing them back. The receipt says what was touched and
    which models may have learned from them, without personal data. Forgetting somebody twice changes nothing.
    """
    from churn_assets.upkeep.forget import Forgetting

    forgetting = Forgetting(workspace(), user_id, _surroundings(user_id.strip(" "), wait=wait, force=force))
    if dry_run:
        _show_plan(forgetting, as_json=as_json)
        return
    receipt = forgetting.run(asked_by=asked_by or operator(), anyway=anyway)
    if receipt is None:
        show({"state": "already forgotten", "since": _since(forgetting)}, as_json=as_json)
    else:
        _show_receipt(forgetting, receipt, as_json=as_json)


def _surroundings(user_id: str, *, wait: float, force: bool) -> Surroundings:
    from churn_assets.upkeep.forget import Surroundings

    if force:
        return Surroundings(at_rest=False)

    from contextlib import contextmanager

    from churn_assets.automation.dagster_home import instance
    from churn_assets.upkeep.forget_checks import CheckSamples

    @contextmanager
    def event_log() -> Iterator[Connection]:
        with instance() as running:
            storage: Any = running.event_log_storage  # SQLite or PostgreSQL, both of which have this
            with storage.index_connection() as connection:
                yield connection

    return Surroundings(runs=_runs_at_work, other=(CheckSamples(event_log, user_id),), patience=wait)


def _runs_at_work() -> list[str]:
    from churn_assets.automation.dagster_home import instance

    with instance() as running:
        runs = [record.dagster_run for record in running.get_run_records(limit=NEWEST_RUNS)]
    return [f"run {run.run_id[:8]} ({run.job_name})" for run in runs if run.status.value in AT_WORK]


def _since(forgetting: Forgetting) -> str | None:
    standing = forgetting.standing()
    return f"{standing.since:%Y-%m-%d %H:%M} UTC" if standing else None


def _show_plan(forgetting: Forgetting, *, as_json: bool) -> None:
    touched = forgetting.look()
    if as_json:
        show_json({"state": "dry run", "forgotten since": _since(forgetting), "touched": _rows(touched)})
        return
    show_rows(_rows(touched), as_json=False)
    say("Nothing was changed." if touched else "Nothing here is about such a person.")


def _show_receipt(forgetting: Forgetting, receipt: Receipt, *, as_json: bool) -> None:
    from churn_assets.upkeep.forget_receipt import receipt_path

    path = receipt_path(forgetting.workspace.layout, receipt)
    if as_json:
        import msgspec

        show_json({"receipt": str(path), **msgspec.to_builtins(receipt)})
        return
    show_rows(_rows(receipt.touched), as_json=False)
    learned = [f"{one.version} ({', '.join(one.splits)})" for one in receipt.may_have_learned]
    shown = {
        "forgotten": f"in {receipt.seconds} s; the source cannot bring the person back",
        "may have learned": "\n".join(learned) or "no model",
        "not covered": "\n".join(receipt.not_covered),
        "notes": "\n".join(receipt.notes) or "none",
        "receipt": path,
    }
    show(shown, as_json=False)


def _rows(touched: tuple[Touched, ...]) -> list[dict[str, Any]]:
    return [{"kind": one.kind, "files": one.files, "rows": one.rows} for one in touched]

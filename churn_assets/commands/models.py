"""The registry: what was trained, which version serves, and how another comes to."""

from __future__ import annotations

from typing import Annotated

import typer

from churn_assets.commands.terminal import AsJson, fail, say, show, show_rows, workspace

app = typer.Typer(help="The registry: every model that was trained, and which one serves.", no_args_is_help=True)

Version = Annotated[str, typer.Argument(help="As `churn models list` has it.")]
Force = Annotated[bool, typer.Option("--force", help="Even if today's features lack some of its own; give a reason.")]


@app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Every version, newest first: metrics, age, who promoted it and why, which servers run it; `*` serves."""
    from churn_assets.model_report import model_rows

    rows = model_rows(workspace())
    show_rows(rows, as_json=as_json)
    if not rows:
        say("No model yet: `churn seed` trains the first.")


@app.command("show")
def models_show(version: Version, as_json: AsJson = False) -> None:
    """Everything that is known of one version."""
    from churn_assets.model_report import model_details

    show(model_details(workspace(), version), as_json=as_json)


@app.command("promote")
def models_promote(
    version: Version,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a version serve, verified, whatever the gates said of it. Running services take it up by themselves."""
    from churn_assets.model_report import switch_summary
    from churn_assets.training.switching import promote

    why = _reason(reason, force=force) or "promoted by hand"
    show(switch_summary(promote(workspace(), version, reason=why, force=force)), as_json=as_json)


@app.command("rollback")
def models_rollback(
    version: Annotated[str | None, typer.Argument(help="Which; else the one that served before.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Go back to the version that served before, in seconds, without a retrain or a restart."""
    from churn_assets.model_report import switch_summary
    from churn_assets.training.switching import roll_back

    why = _reason(reason, force=force) or "rolled back by hand"
    show(switch_summary(roll_back(workspace(), version, reason=why, force=force)), as_json=as_json)


@app.command("verify")
def models_verify(
    versions: Annotated[list[str] | None, typer.Argument(help="Which; else all.")] = None, as_json: AsJson = False
) -> None:
    """Check every digest, signature and golden row again; exits with 1 if anything is wrong."""
    from churn_assets.model_report import verify_rows

    rows = verify_rows(workspace(), versions or [], say)
    show_rows(rows, as_json=as_json)
    if any(row["problems"] for row in rows):
        raise typer.Exit(1)


@app.command("history")
def models_history(
    verify: Annotated[bool, typer.Option("--verify", help="Look for lines that were changed; exits with 1.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only so many of the newest; 0 for all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Who or what registered, promoted, refused, rolled back or removed which version, when and why."""
    from churn_assets.model_registry import open_registry
    from churn_assets.model_report import history_rows

    registry = open_registry(workspace())
    registry.reconcile()
    bad = registry.verify_history() if verify else None
    rows = history_rows(registry)
    show_rows(rows[-last:] if last else rows, as_json=as_json)
    if bad is not None:
        fail(
            f"line {bad} of {registry.root / 'history.jsonl'} is not what was written, or is gone: compare it with the "
            "one in a backup (`churn restore --help`)"
        )
    if verify:
        say(f"all {len(registry.history())} lines are as they were written")


def _reason(given: str, *, force: bool) -> str:
    if force and not given.strip():
        fail("`--force` needs a reason for the history: add `--reason WHY`")
    return given.strip()

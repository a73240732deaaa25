"""The registry: what was trained, which version serves, and how another comes to."""

from __future__ import annotations

from typing import Annotated

import typer

from churn_assets.commands.terminal import AsJson, say, show, show_json, workspace

app = typer.Typer(help="The registry: every model that was trained, and which one serves.", no_args_is_help=True)


@app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Every version, newest first, with its metrics; `*` marks the one that serves."""
    from churn_assets.report import model_rows, print_table

    rows = model_rows(workspace())
    if as_json:
        show_json(rows)
    elif rows:
        print_table(rows)
    else:
        say("No model yet: `churn seed` trains the first.")


@app.command("show")
def models_show(
    version: Annotated[str, typer.Argument(help="As `churn models list` has it.")], as_json: AsJson = False
) -> None:
    """Everything that is known of one version."""
    from churn_assets.report import model_details

    show(model_details(workspace(), version), as_json=as_json)

"""Whether the deployment is fit for production."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from churn_assets.commands.terminal import AsJson, fail, show_json, workspace

app = typer.Typer()

NOT_READY = 3


@app.command()
def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECTION",
            help="code, data, model, api, deployment, monitoring or automation; may be given more than once.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning counts as a failure.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also run `make lint`, and ask the cluster by kubectl.")] = False,
    as_json: AsJson = False,
) -> None:
    """The runbook's production readiness checklist: what passes, what does not, and what mends it.

    Looks, and changes nothing. Exits with 3 if something fails.
    """
    from churn_assets.readiness.checklist import KEYS, examine
    from churn_assets.readiness.page import as_json as for_machines
    from churn_assets.readiness.page import is_ready, lines_of
    from churn_assets.readiness.premises import Premises

    wanted = [section.lower() for section in only or ()]
    if unknown := [section for section in wanted if section not in KEYS]:
        fail(f"`{unknown[0]}` is no section; there are {', '.join(KEYS)}")
    findings = examine(Premises.here(workspace(), deep=deep), wanted)
    if as_json:
        show_json(for_machines(findings, strict=strict))
    else:
        width = min(shutil.get_terminal_size().columns, 120)
        typer.echo("\n".join(lines_of(findings, width)))
    if not is_ready(findings, strict=strict):
        raise typer.Exit(NOT_READY)

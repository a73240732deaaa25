"""The scoring service, and its keys."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from churn_assets.commands.terminal import say

app = typer.Typer()
keys = typer.Typer(help="API keys of the scoring service.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def serve(context: typer.Context) -> None:
    """The scoring service over HTTP; `churn serve --help` has its options."""
    # In the place of this process: signals reach the service, and nothing of the pipeline stays in memory.
    os.execv(sys.executable, [sys.executable, "-m", "churn_serving", *context.args])  # noqa: S606 - that is the point


@keys.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Who will use it; appears in logs.")],
    file: Annotated[Path, typer.Option(help="The key file, `serving.api_keys_file`; made if need be.")],
    scope: Annotated[list[str] | None, typer.Option(help="predict, read or admin; may be given twice.")] = None,
    expires: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC).")] = None,
) -> None:
    """Make a key, add its digest to the file, and print the key: it is stored nowhere."""
    from churn_serving.key_file import add, generate

    key, entry = generate(name, scope or ["predict"], expires.date() if expires else None)
    add(file, entry)
    say(f"added `{name}` ({', '.join(entry.scopes)}) to {file}; the key, which is shown only now:")
    typer.echo(key)

"""The `churn` command: its subjects, put together."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from churn_assets.commands import building, cleaning, forgetting, models, readiness, saving, serving, watching
from churn_assets.commands.terminal import fail
from churn_serving.errors import ArtifactError
from churn_serving.settings import SettingsError

TOLD = {"RunFailedError", "UnsuitableModelError", "BackupError", "CleanError", "ForgetError", "UpkeepBusyError"}
"""Errors whose modules are too heavy to import for a command that may not need them."""

app = typer.Typer(
    help="Who is about to leave, why, and whether that answer can still be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subject in (building, watching, readiness, cleaning, saving, forgetting, serving):
    app.add_typer(subject.app)
app.add_typer(models.app, name="models")


def main() -> NoReturn:
    """Run the command; a known error is one line and exit code 1."""
    from churn_assets.ingest.source import SourceError
    from churn_assets.layout import MissingTableError
    from churn_serving.key_file import KeyFileError

    try:
        app(standalone_mode=True)
    except (SettingsError, SourceError, MissingTableError, ArtifactError, KeyFileError) as error:
        fail(str(error))
    except RuntimeError as error:
        if TOLD.isdisjoint(kind.__name__ for kind in type(error).__mro__):
            raise
        fail(str(error))
    sys.exit(0)

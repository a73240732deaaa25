"""What frees disk space."""

from __future__ import annotations

from typing import Annotated

import typer

from churn_assets.commands.terminal import AsJson, say, show_json, show_rows, workspace

app = typer.Typer()


def _age(text: str) -> int:
    from churn_assets.upkeep.retention import parse_age

    try:
        return parse_age(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _option(help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(parser=_age, metavar="AGE", help=help_text, show_default=False)
    return option


@app.command()
def clean(  # noqa: PLR0913, PLR0917 - one option a kind
    predictions_older_than: Annotated[int | None, _option("Daily lists.")] = None,
    features_older_than: Annotated[int | None, _option("Daily snapshots.")] = None,
    raw_older_than: Annotated[int | None, _option("Raw and validated events.")] = None,
    quarantine_older_than: Annotated[int | None, _option("Rejected rows.")] = None,
    reports_older_than: Annotated[int | None, _option("Reports and their pages.")] = None,
    prediction_log_older_than: Annotated[int | None, _option("What the service has answered.")] = None,
    runs_older_than: Annotated[int | None, _option("Dagster's runs, with events and logs.")] = None,
    keep_models: Annotated[int | None, typer.Option(min=2, help="So many newest versions stay.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free disk: remove what is old and not needed, as `retention` in the settings says.

    Ages are days or weeks, such as 30d or 12w. If any limit is given here, that kind alone is cleaned. What production,
    the previous production, a standing alert or the coming runs need is never removed, and told.
    """
    from churn_assets.automation.cleaning import clean_up
    from churn_assets.upkeep.retention import Limits

    place = workspace()
    limits = Limits.chosen(
        place.settings.retention,
        predictions_days=predictions_older_than,
        features_days=features_older_than,
        raw_days=raw_older_than,
        quarantine_days=quarantine_older_than,
        reports_days=reports_older_than,
        prediction_log_days=prediction_log_older_than,
        runs_days=runs_older_than,
        models_count=keep_models,
    )
    cleaned = clean_up(place, limits, dry_run=dry_run, tell=say)
    if as_json:
        show_json(cleaned.as_json())
    else:
        show_rows([one.as_row() for one in cleaned.kinds], as_json=False)
    say(cleaned.summary)
    for problem in cleaned.problems:
        say(f"churn: {problem}")
    if cleaned.problems:
        raise typer.Exit(1)

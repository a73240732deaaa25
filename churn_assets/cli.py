"""The `churn` command: thin; whatever it builds is a Dagster run that the UI shows."""

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from churn_serving.errors import ArtifactError
from churn_serving.settings import SettingsError

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace

app = typer.Typer(
    help="Who is about to leave, why, and whether that answer can still be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models = typer.Typer(help="The registry: every model that was trained, and which one serves.", no_args_is_help=True)
app.add_typer(models, name="models")
keys = typer.Typer(help="API keys of the scoring service.", no_args_is_help=True)
app.add_typer(keys, name="keys")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Day = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Which day (UTC); else yesterday.")]

ALERT = 2
NEEDS_A_PERSON = 3
STAGES = {
    "data": ("history_job", ["raw_users", "raw_events", "validated_users", "validated_events"]),
    "features": ("history_job", ["user_daily", "churn_labels"]),
    "train": ("retrain_job", ["training_set", "baseline_model", "candidate_model"]),
    "promote": ("retrain_job", ["production_model"]),
}
"""One stage of the graph: its job, and which of that job's assets."""


@app.command()
def seed(as_json: AsJson = False) -> None:
    """First run: raw data to a promoted model, predictions and a drift report."""
    from churn_assets.automation.launch import run_job
    from churn_assets.report import seed_summary

    workspace = _workspace()
    first, last = workspace.history_start, workspace.settings.yesterday
    if first > last:
        _fail(f"the history begins on {first}, which is not before {last}: set `source.start_date` or `clock.today`")
    _say(f"History from {first} to {last}, {(last - first).days + 1} days")
    run_job("history_job", (first, last), trigger="churn seed")
    _say(f"Models, predictions and drift report for {last}")
    run_job("seed_job", (last, last), trigger="churn seed")
    _print(seed_summary(workspace, last), as_json=as_json)


@app.command()
def build(
    stage: Annotated[str, typer.Argument(help="data, features, train or promote.")],
    as_json: AsJson = False,
) -> None:
    """One stage of the graph, over the whole history where it has days."""
    from churn_assets.automation.launch import run_job

    if stage not in STAGES:
        _fail(f"`{stage}` is no stage; there are {', '.join(STAGES)}")
    workspace = _workspace()
    job, assets = STAGES[stage]
    days = (workspace.history_start, workspace.settings.yesterday) if job == "history_job" else None
    outcome = run_job(job, days, assets=assets, trigger=f"churn build {stage}")
    _print({"stage": stage, "assets": ", ".join(assets), "run": outcome.run_id}, as_json=as_json)


@app.command()
def retrain(as_json: AsJson = False) -> None:
    """Train challengers on what is there, judge them, promote the winner."""
    from churn_assets.automation.launch import run_job
    from churn_assets.report import retrain_summary

    workspace = _workspace()
    run_job("retrain_job", trigger="churn retrain")
    _print(retrain_summary(workspace), as_json=as_json)


@app.command()
def score(
    day: Day = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Rows of the short list.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score everybody at risk as of a day, and write the lists."""
    from churn_assets.automation.launch import run_job
    from churn_assets.report import score_summary
    from churn_assets.scoring.build import write_top

    workspace = _workspace()
    chosen = _day(workspace, day)
    run_job("daily_job", (chosen, chosen), trigger="churn score")
    if top_k is not None:
        write_top(workspace, chosen, top_k)
    _print(score_summary(workspace, chosen, top_k), as_json=as_json)


@app.command()
def drift(day: Day = None, as_json: AsJson = False) -> None:
    """Compare a day's population with the one that the production model learned from.

    Exits with 0 if all is well or there is a warning, with 2 on an alert (which is no fault), with 1 if it failed.
    """
    from churn_assets.automation.launch import run_job
    from churn_assets.report import drift_summary

    workspace = _workspace()
    chosen = _day(workspace, day)
    run_job("drift_job", (chosen, chosen), trigger="churn drift")
    summary = drift_summary(workspace, chosen)
    _print(summary, as_json=as_json)
    if summary["status"] == "FAIL":
        raise typer.Exit(ALERT)


@app.command("demo-drift")
def demo_drift(
    strength: Annotated[float | None, typer.Option(min=0.01, max=1.0, help="How strong the shift is.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Take the shift away again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shift the generated source for its newest days and rebuild them, so that the loop can be watched."""
    from churn_assets.automation.launch import run_job
    from churn_assets.demo import STRENGTH, shifted_snapshots, start_demo, stop_demo

    workspace = _workspace()
    demo = stop_demo(workspace) if off else start_demo(workspace, STRENGTH if strength is None else strength)
    if demo is None:
        _say("Nothing is shifted.")
        return
    last = workspace.settings.yesterday
    run_job("history_job", (demo.first_day, last), trigger="churn demo-drift")
    if snapshots := shifted_snapshots(workspace, demo):
        run_job("drift_job", snapshots, assets=["user_features"], trigger="churn demo-drift")
    then = "churn drift" if off else "churn drift (alerts: exit code 2), then make ui"
    shown = {"shifted": not off, "strength": demo.strength, "from": demo.first_day, "to": last, "next": then}
    _print(shown, as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """One screen: the production model, runs, schedules, drift, disk, the service.

    Exits with 3 when something needs a person.
    """
    from churn_assets.status import take_stock

    stock = take_stock(_workspace())
    _print(stock.as_dict(), as_json=as_json)
    if stock.needs_a_person:
        raise typer.Exit(NEEDS_A_PERSON)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def serve(context: typer.Context) -> None:
    """The scoring service over HTTP; `churn serve --help` has its options."""
    # In the place of this process: signals reach the service, and nothing of the pipeline stays in memory.
    os.execv(sys.executable, [sys.executable, "-m", "churn_serving", *context.args])  # noqa: S606 - that is the point


@app.command("notify-test")
def notify_test(as_json: AsJson = False) -> None:
    """Send a test message through each channel of `notify.urls`; exits with 1 if one fails or there is none."""
    from churn_assets.notify import notifier

    sent = notifier.notify_test(_workspace())
    if not sent:
        _fail(notifier.NOT_CONFIGURED)
    _print({one.channel: one.problem or "worked" for one in sent}, as_json=as_json)
    if not all(one.worked for one in sent):
        raise typer.Exit(1)


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
    _say(f"added `{name}` ({', '.join(entry.scopes)}) to {file}; the key, which is shown only now:")
    typer.echo(key)


@models.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Every version, newest first, with its metrics; `*` marks the one that serves."""
    from churn_assets.report import model_rows, print_table

    rows = model_rows(_workspace())
    if as_json:
        _print_json(rows)
    elif rows:
        print_table(rows)
    else:
        _say("No model yet: `churn seed` trains the first.")


@models.command("show")
def models_show(
    version: Annotated[str, typer.Argument(help="As `churn models list` has it.")], as_json: AsJson = False
) -> None:
    """Everything that is known of one version."""
    from churn_assets.report import model_details

    _print(model_details(_workspace(), version), as_json=as_json)


def main() -> NoReturn:
    """Run the command; a known error is one line and exit code 1."""
    from churn_assets.ingest.source import SourceError
    from churn_assets.layout import MissingTableError
    from churn_serving.key_file import KeyFileError

    try:
        app(standalone_mode=True)
    except (SettingsError, SourceError, MissingTableError, ArtifactError, KeyFileError) as error:
        _fail(str(error))
    except RuntimeError as error:
        if type(error).__name__ != "RunFailedError":
            raise
        _fail(str(error))
    sys.exit(0)


def _workspace() -> Workspace:
    from churn_assets.workspace import Workspace

    return Workspace.load()


def _day(workspace: Workspace, given: datetime | None) -> date:
    chosen = given.date() if given else workspace.settings.yesterday
    first, last = workspace.history_start, workspace.settings.yesterday
    if not first <= chosen <= last:
        _fail(f"{chosen} is outside of the history, which goes from {first} to {last} (the newest whole day)")
    return chosen


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _fail(text: str) -> NoReturn:
    typer.echo(f"churn: {text}", err=True)
    sys.exit(1)


def _print(content: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(content)
        return
    from churn_assets.report import print_summary

    print_summary(content)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str, ensure_ascii=False))

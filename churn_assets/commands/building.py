"""What builds: the first run, one stage, a retrain, a day's scores, a day's drift report, a demonstration."""

from __future__ import annotations

from typing import Annotated

import typer

from churn_assets.commands.terminal import AsJson, Day, chosen_day, fail, say, show, workspace

app = typer.Typer()

ALERT = 2
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

    place = workspace()
    first, last = place.history_start, place.settings.yesterday
    if first > last:
        fail(f"the history begins on {first}, which is not before {last}: set `source.start_date` or `clock.today`")
    say(f"History from {first} to {last}, {(last - first).days + 1} days")
    run_job("history_job", (first, last), trigger="churn seed")
    say(f"Models, predictions and drift report for {last}")
    run_job("seed_job", (last, last), trigger="churn seed")
    show(seed_summary(place, last), as_json=as_json)


@app.command()
def build(
    stage: Annotated[str, typer.Argument(help="data, features, train or promote.")],
    as_json: AsJson = False,
) -> None:
    """One stage of the graph, over the whole history where it has days."""
    from churn_assets.automation.launch import run_job

    if stage not in STAGES:
        fail(f"`{stage}` is no stage; there are {', '.join(STAGES)}")
    place = workspace()
    job, assets = STAGES[stage]
    days = (place.history_start, place.settings.yesterday) if job == "history_job" else None
    outcome = run_job(job, days, assets=assets, trigger=f"churn build {stage}")
    show({"stage": stage, "assets": ", ".join(assets), "run": outcome.run_id}, as_json=as_json)


@app.command()
def retrain(as_json: AsJson = False) -> None:
    """Train challengers on what is there, judge them, promote the winner."""
    from churn_assets.automation.launch import run_job
    from churn_assets.report import retrain_summary

    place = workspace()
    run_job("retrain_job", trigger="churn retrain")
    show(retrain_summary(place), as_json=as_json)


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

    place = workspace()
    chosen = chosen_day(place, day)
    run_job("daily_job", (chosen, chosen), trigger="churn score")
    if top_k is not None:
        write_top(place, chosen, top_k)
    show(score_summary(place, chosen, top_k), as_json=as_json)


@app.command()
def drift(day: Day = None, as_json: AsJson = False) -> None:
    """Compare a day's population with the one that the production model learned from.

    Exits with 0 if all is well or there is a warning, with 2 on an alert (which is no fault), with 1 if it failed.
    """
    from churn_assets.automation.launch import run_job
    from churn_assets.report import drift_summary

    place = workspace()
    chosen = chosen_day(place, day)
    run_job("drift_job", (chosen, chosen), trigger="churn drift")
    summary = drift_summary(place, chosen)
    show(summary, as_json=as_json)
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

    place = workspace()
    demo = stop_demo(place) if off else start_demo(place, STRENGTH if strength is None else strength)
    if demo is None:
        say("Nothing is shifted.")
        return
    last = place.settings.yesterday
    run_job("history_job", (demo.first_day, last), trigger="churn demo-drift")
    if snapshots := shifted_snapshots(place, demo):
        run_job("drift_job", snapshots, assets=["user_features"], trigger="churn demo-drift")
    then = "churn drift" if off else "churn drift (alerts: exit code 2), then make ui"
    shown = {"shifted": not off, "strength": demo.strength, "from": demo.first_day, "to": last, "next": then}
    show(shown, as_json=as_json)

"""What looks: the state of everything, and whether people can be reached."""

from __future__ import annotations

import typer

from churn_assets.commands.terminal import AsJson, fail, show, workspace

app = typer.Typer()

NEEDS_A_PERSON = 3


@app.command()
def status(as_json: AsJson = False) -> None:
    """One screen: the production model, runs, schedules, drift, disk, the service.

    Exits with 3 when something needs a person.
    """
    from churn_assets.status import take_stock

    stock = take_stock(workspace())
    show(stock.as_dict(), as_json=as_json)
    if stock.needs_a_person:
        raise typer.Exit(NEEDS_A_PERSON)


@app.command("notify-test")
def notify_test(as_json: AsJson = False) -> None:
    """Send a test message through each channel of `notify.urls`; exits with 1 if one fails or there is none."""
    from churn_assets.notify import notifier

    sent = notifier.notify_test(workspace())
    if not sent:
        fail(notifier.NOT_CONFIGURED)
    show({one.channel: one.problem or "worked" for one in sent}, as_json=as_json)
    if not all(one.worked for one in sent):
        raise typer.Exit(1)

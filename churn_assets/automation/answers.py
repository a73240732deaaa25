"""How an alert is answered: by one retrain, once, whoever asks how often.

An alert stands in the newest report, so nothing is lost if nobody looks for a while. It is answered once each
`cooldown_days` for as long as it stands: the days since it began, over the cooldown, make the answer's number, and
alert and number make the key of the run. A run that fails is tried again under the same key, a few times and slower
each time. Data that have not changed give the same model again, so a retrain that began after the alert answers it too,
whoever asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.monitoring.alert import Alarming, Alert
    from churn_assets.settings import RetrainingSettings

State = Literal["waiting", "failed", "done"]


@dataclass(frozen=True)
class Retrain:
    """A retrain that was asked for.

    Attributes:
        key: The alert and number that it answers; empty if it answers none.
        state: Whether it waits or runs, failed, or is done.
        began: When it was asked for.
        ended: When it ended, if it did.
    """

    key: str
    state: State
    began: datetime
    ended: datetime | None = None


@dataclass(frozen=True)
class Answer:
    """What to do about an alert.

    Attributes:
        key: Alert and number.
        run_key: The key of the run to ask for; empty if none is to be.
        why: In words.
        refusals: Answers of this alert that are done although it stands: their challengers were refused.
        has_given_up: Whether every attempt has failed.
    """

    key: str
    run_key: str
    why: str
    refusals: int = 0
    has_given_up: bool = False


def key_of(alert: Alert, day: date, settings: RetrainingSettings) -> str:
    """Return the key of the answer that an alert asks for on a day."""
    number = max((day - alert.since).days, 0) // settings.cooldown_days
    return f"{alert.id}#{number}"


def answer(  # noqa: PLR0913 - three by name
    report: Alarming,
    alert: Alert,
    retrains: Sequence[Retrain],
    *,
    reported: datetime,
    now: datetime,
    settings: RetrainingSettings,
) -> Answer:
    """Decide what to do about an alert.

    Args:
        report: The newest report.
        alert: Its alert.
        retrains: The latest retrains, whoever asked for them.
        reported: When the report was written.
        now: The time.
        settings: Cooldown and attempts.
    """
    key = key_of(alert, report.as_of_date, settings)
    mine = [one for one in retrains if one.key == key]
    refusals = sum(one.state == "done" and one.key.rpartition("#")[0] == alert.id for one in retrains)
    if any(one.state == "waiting" for one in retrains):
        return Answer(key, "", "a retrain is under way", refusals)
    if any(one.state == "done" for one in mine):
        again = f"again {settings.cooldown_days} days on, if it still stands"
        return Answer(key, "", f"answered; {again}", refusals)
    if _is_cooling_down(report.as_of_date, retrains, settings):
        return Answer(key, "", f"an alert was answered within {settings.cooldown_days} days", refusals)
    if any(one.state == "done" and one.began >= reported for one in retrains):
        return Answer(key, "", "a retrain that began since the report answers it too", refusals)
    return _attempt(key, [one for one in mine if one.state == "failed"], refusals, now, settings)


def _is_cooling_down(day: date, retrains: Sequence[Retrain], settings: RetrainingSettings) -> bool:
    """Whether another alert was answered a short while ago.

    After a shift, labels of the new behaviour come a label window later. Until then every new model meets a population
    that it did not learn from, and alerts under a name of its own; to retrain for each would teach nothing new.
    """
    answered = [_answered_on(one.key, settings) for one in retrains if one.state == "done" and one.key]
    return any(one <= day < one + timedelta(days=settings.cooldown_days) for one in answered)


def _answered_on(key: str, settings: RetrainingSettings) -> date:
    """The day on which the answer with a key fell due."""
    alert, _, number = key.rpartition("#")
    return date.fromisoformat(alert.rpartition("@")[2]) + timedelta(days=int(number) * settings.cooldown_days)


def _attempt(key: str, failed: Sequence[Retrain], refusals: int, now: datetime, settings: RetrainingSettings) -> Answer:
    if len(failed) >= settings.max_attempts:
        return Answer(key, "", f"{len(failed)} retrains have failed: look why", refusals, has_given_up=True)
    pause = timedelta(seconds=settings.retry_after_seconds) * len(failed)
    due = max((one.ended or one.began for one in failed), default=now) + pause
    if now < due:
        return Answer(key, "", f"the last retrain failed; the next attempt is at {due:%H:%M} UTC", refusals)
    return Answer(key, f"{key}/{len(failed) + 1}", "a retrain is asked for", refusals)

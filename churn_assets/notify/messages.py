"""What people are told: ready-made messages that say what happened and what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "run_failed",
    "drift_alert",
    "performance_alert",
    "quality_fault",
    "promoted",
    "refused",
    "needs_a_person",
    "stale",
    "disk_low",
    "test",
]
Tone = Literal["info", "success", "warning", "failure"]

STANDING: frozenset[Kind] = frozenset(
    {"drift_alert", "performance_alert", "quality_fault", "needs_a_person", "stale", "disk_low"}
)
"""What may go on holding, and is then told again after a while; everything else happens once."""

PREDICTIONS = "predictions"
"""What `stale` is about."""

MOST_NAMED = 6
"""Reasons that a message lists; the report has them all."""

LONGEST_LINE = 300

_TONES: dict[Kind, Tone] = {"run_failed": "failure", "promoted": "success", "refused": "info", "test": "info"}
_AGAIN = {
    "seed_job": "churn seed",
    "history_job": "churn build data",
    "daily_job": "churn score",
    "drift_job": "churn drift",
    "retrain_job": "churn retrain",
}


@dataclass(frozen=True)
class Message:
    """Something that a person should know.

    Attributes:
        kind: What sort of thing.
        subject: What it is about: a run, an alert, a version. The same kind and subject is the same news.
        title: One line.
        body: Plain text: what happened, what to do.
    """

    kind: Kind
    subject: str
    title: str
    body: str

    @property
    def stands(self) -> bool:
        """Whether it may go on holding, and is worth repeating then."""
        return self.kind in STANDING

    @property
    def tone(self) -> Tone:
        """How a channel colours it."""
        return _TONES.get(self.kind, "warning")


def run_failed(job: str, run_id: str, step: str | None, error: str) -> Message:
    """A Dagster run failed.

    Args:
        job: Its job.
        run_id: As the UI shows it.
        step: The first step that failed; None if none had begun.
        error: The error; only its first line is told.
    """
    where = f"at {step}" if step else "before its first step"
    again = f", then `{_AGAIN[job]}`" if job in _AGAIN else ""
    return Message(
        "run_failed",
        run_id,
        f"churn: {job} failed {where}",
        f"{first_line(error) or 'It left no error.'}\n\n"
        f"Run {run_id}. The model in production and the newest finished predictions stay as they were.\n"
        f"What to do: `make ui` shows the run, its steps and its log. Mend the cause{again}.",
    )


def drift_alert(report: Mapping[str, Any], alert: str | None = None) -> Message:
    """The scored population is no longer the one that the model learned from.

    Args:
        report: The drift report, as in `data_drift_latest.json`.
        alert: What stays the same while the alert stands; by default `alert.id` of the report, else its model.
    """
    look = "`churn drift` and `churn status` show it, `reports/drift_<day>.html` has the pictures."
    return _alert("drift_alert", "drift", report, alert, look)


def performance_alert(report: Mapping[str, Any], alert: str | None = None) -> Message:
    """The predictions are worse than they were expected to be.

    Args:
        report: The performance report, as in `performance_latest.json`: `as_of_date` and `headline`, and if it has
            them `reasons`, `what_to_do`, `model_version`.
        alert: What stays the same while the alert stands; by default `alert.id` of the report, else its model.
    """
    look = "`churn status` shows it, `reports/performance_<day>.html` has the figures week by week."
    return _alert("performance_alert", "performance", report, alert, look)


def quality_fault(fault: str, day: date, reasons: Sequence[str], what_to_do: str = "") -> Message:
    """A day's feed is broken rather than different.

    Args:
        fault: What stays the same while it is broken: the names of what is wrong, not the day.
        day: The newest day on which it was seen.
        reasons: What is wrong, most important first.
        what_to_do: In words; by default the advice that suits any feed.
    """
    advice = what_to_do or (
        "Ask whoever delivers the events. When the feed is whole again, `churn build data` takes up what was missed."
    )
    return Message(
        "quality_fault",
        fault,
        f"churn: the feed of {day} is broken",
        f"{_listed(reasons)}\n\nNothing is retrained on broken data; the model in production keeps serving.\n"
        f"What to do: {advice}",
    )


def promoted(version: str, previous: str | None, why: str) -> Message:
    """A version came to serve.

    Args:
        version: Which.
        previous: What served before; None at the first time.
        why: One sentence.
    """
    before = f"It takes the place of {previous}." if previous else "It is the first."
    back = " `churn models rollback` goes back." if previous else ""
    return Message(
        "promoted",
        version,
        f"churn: {version} serves now",
        f"{why}\n\n{before}\nWhat to do: nothing. `churn models show {version}` tells all about it.{back}",
    )


def switched(version: str, previous: str | None, actor: str, why: str, at: str) -> Message:
    """A person made another version serve.

    Args:
        version: Which serves now.
        previous: What served before.
        actor: Who did it.
        why: As they said.
        at: When; each time is news.
    """
    return Message(
        "promoted",
        f"{version} at {at}",
        f"churn: {version} serves now, by the hand of {actor}",
        f"{why}\n\nIt takes the place of {previous or 'nothing'}.\nWhat to do: nothing. "
        "`churn models history` tells who did what.",
    )


def refused(versions: Sequence[str], reasons: Sequence[str], alert: str | None = None) -> Message:
    """No challenger passed the gates.

    Args:
        versions: The challengers.
        reasons: Why not.
        alert: The alert that the retrain was to answer, if any.
    """
    standing = f"\nThe alert {alert} stands, and is answered again after the cooldown." if alert else ""
    first = versions[0] if versions else "VERSION"
    return Message(
        "refused",
        ", ".join(sorted(versions)),
        "churn: a retrain brought no better model",
        f"{_listed(reasons)}\n\nRefused: {', '.join(versions)}. The model in production keeps serving.{standing}\n"
        f"What to do: nothing yet. `churn models show {first}` tells how close it was.",
    )


def needs_a_person(refusals: int, alert: str) -> Message:
    """Retraining does not answer an alert.

    Args:
        refusals: Refused retrains in a row.
        alert: The alert that stands.
    """
    return Message(
        "needs_a_person",
        alert,
        f"churn: {refusals} retrains in a row did not help, a person is needed",
        f"The alert {alert} stands, and {refusals} retrains in a row brought no model that passes the gates. "
        "The model in production keeps serving.\n"
        "What to do: `churn status` shows the alert, `churn models list` the challengers and `churn models show "
        "VERSION` the gates that each missed. Look whether the data lacks something (a new product, a new market, a "
        "broken column), or whether a limit under `training:` no longer fits.",
    )


def stale(days: int, newest: date) -> Message:
    """Predictions are behind.

    Args:
        days: By how many days.
        newest: The newest day that was scored.
    """
    return Message(
        "stale",
        PREDICTIONS,
        f"churn: predictions are {days} days behind",
        f"The newest predictions are as of {newest}, {days} days behind.\n"
        "What to do: `churn status` shows the last runs; `make ui` why they failed or whether the daemon runs at all. "
        "Then `churn score`.",
    )


def disk_low(free_bytes: int, path: Path) -> Message:
    """The disk is nearly full.

    Args:
        free_bytes: What is left.
        path: A folder on that disk.
    """
    return Message(
        "disk_low",
        str(path),
        f"churn: {free_bytes / 1e9:.1f} GB of disk left",
        f"{free_bytes / 1e9:.1f} GB are left on the disk of {path}. Runs fail when it is full; what is written stays "
        "whole.\n"
        "What to do: remove old files below `predictions/` and `reports/`, or give the volume more room.",
    )


def test() -> Message:
    """Whether a channel works."""
    return Message(
        "test",
        "test",
        "churn: test message",
        "This channel works. It will be told of failed runs, alerts, new models, and what needs a person.\n"
        "What to do: nothing; `churn notify-test` sent this.",
    )


def first_line(text: str) -> str:
    """The first line of a text that says anything, cut to a length that fits a message."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _alert(
    kind: Literal["drift_alert", "performance_alert"],
    name: str,
    report: Mapping[str, Any],
    alert: str | None,
    look: str,
) -> Message:
    day, model = report["as_of_date"], report.get("model_version") or "the model in production"
    standing = (report.get("alert") or {}).get("id")
    reasons = _listed(report.get("reasons", ()))
    advice = report.get("what_to_do", "`churn retrain` trains a challenger and judges it.")
    return Message(
        kind,
        alert or standing or model,
        f"churn: {name} alert as of {day}",
        f"{report['headline']}\n{reasons}\n\nModel: {model}.\nWhat to do: {advice}\n{look.replace('<day>', str(day))}",
    )


def _listed(reasons: Sequence[str]) -> str:
    lines = [f"- {first_line(reason)}" for reason in reasons[:MOST_NAMED]]
    if len(reasons) > MOST_NAMED:
        lines.append(f"- and {len(reasons) - MOST_NAMED} more")
    return "\n".join(lines)

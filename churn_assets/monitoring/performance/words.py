"""The performance report in words: headline, reasons, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn_assets.monitoring.performance.estimated import Estimated
    from churn_assets.monitoring.performance.outcomes import Tally
    from churn_assets.monitoring.performance.realised import Performance
    from churn_assets.monitoring.performance.report import Evidence, Expected, Fall, Judged, Status

NAMES = {"pr_auc": "PR-AUC", "roc_auc": "ROC-AUC"}

_HEADLINES: dict[Status, str] = {
    "OK": "What the model said came true as often as it promised.",
    "WARN": "What the model said came true less than it promised, but not enough, or not surely enough, for an alert.",
    "FAIL": "The model no longer tells who leaves: what it said came true far less than it promised.",
    "UNKNOWN": "How well the model does cannot be told yet.",
}
_ADVICE: dict[Status, str] = {
    "OK": "Nothing.",
    "WARN": (
        "Watch it: more labels mature every day. If it stays, run `churn retrain`. "
        "Nothing is retrained because of a warning."
    ),
    "FAIL": (
        "Ask what has changed in how people behave (a price, a competitor, an outage), then retrain: "
        "`performance_alert_retrain` does so by itself where sensors run, `churn retrain` does it by hand. "
        "A new model learns of a change only from days whose labels are known; until then use its list with care."
    ),
    "UNKNOWN": "Wait for labels, and look at the estimate meanwhile.",
}
_NOT_SCORED = (
    "Score days with `churn score`, or let `batch_daily` do it: without predictions there is nothing to judge."
)


def headline(status: Status) -> str:
    """The status in words."""
    return _HEADLINES[status]


def advice(status: Status, estimated: Estimated | None) -> str:
    """What to do."""
    if status == "UNKNOWN" and estimated is None:
        return _NOT_SCORED
    if status == "UNKNOWN" and estimated is not None:
        return f"{_ADVICE[status]} Those of the day scored last are known on {estimated.labels_mature_on}."
    return _ADVICE[status]


def reasons_for(evidence: Evidence, expected: Expected, falls: Mapping[str, Fall], *, off_level: bool) -> list[str]:
    """Why the verdict is what it is, most important first."""
    judged = evidence.judged.performance
    promised = f"these scores promise that much if {percent(judged.prevalence)} leave, as did"
    said = [
        _metric(judged, "pr_auc", expected.pr_auc, promised, falls["pr_auc"]),
        _metric(judged, "roc_auc", expected.roc_auc, "the holdout before it served", falls["roc_auc"]),
        _level(judged, off_level=off_level),
    ]
    said.sort(key=_weight)
    return [text for _, text in said if text] + _circumstances(evidence)


def unknown_reasons(evidence: Evidence, min_positives: int) -> list[str]:
    """Why there is no verdict."""
    judged = evidence.judged
    dates = _dates(judged)
    if not judged.performance.rows:
        first = f"No predictions as of {dates}, the newest days whose labels can be known, have met a label."
    elif judged.performance.positives < min_positives:
        first = (
            f"Of {judged.performance.rows:,} predictions as of {dates}, {judged.performance.positives} came to a user "
            f"who left; fewer than {min_positives} say nothing."
        )
    else:
        first = f"All {judged.performance.rows:,} predictions as of {dates} came to users who left: nothing to rank."
    return [first, *_circumstances(evidence)]


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "none" if share is None else f"{100 * share:.1f} %"


def _weight(said: tuple[str, str]) -> int:
    return ("sure", "maybe", "none").index(said[0])


def _metric(judged: Performance, name: str, expected: float | None, source: str, how: Fall) -> tuple[Fall, str]:
    value = getattr(judged, name)
    if expected is None:
        return "none", f"{NAMES[name]} is {value:.3f}; nothing is known to hold it against."
    low, high = judged.intervals.get(name, (value, value))
    text = f"{NAMES[name]} is {value:.3f} (95 % interval {low:.3f} to {high:.3f}), expected {expected:.3f}: {source}"
    ends = {
        "sure": f". It is {expected - value:.3f} less, which is beyond the limit and beyond chance.",
        "maybe": f". It is {expected - value:.3f} less, which chance may explain, or which is within the limit.",
        "none": ".",
    }
    return how, text + ends[how]


def _level(judged: Performance, *, off_level: bool) -> tuple[Fall, str]:
    text = f"The model expected {percent(judged.mean_score)} to leave, and {percent(judged.prevalence)} did"
    if not off_level:
        return "none", text + "."
    return "maybe", text + ": its probabilities are off. The order of its list may be right all the same."


def _circumstances(evidence: Evidence) -> list[str]:
    return [*_rescored(evidence), *_partners(evidence.tally), *evidence.problems]


def _rescored(evidence: Evidence) -> list[str]:
    judged, made = evidence.judged, evidence.as_made
    if not judged.rescored_days:
        return []
    value = "not defined" if made.pr_auc is None else f"{made.pr_auc:.3f}"
    text = (
        f"{judged.rescored_days} of the {judged.days} days were predicted by other models. The one that serves now has "
        f"scored them again, and is judged by that; as predicted at the time, PR-AUC was {value}."
    )
    return [text]


def _partners(tally: Tally) -> list[str]:
    said = []
    if tally.batch_unlabelled:
        said.append(f"{tally.batch_unlabelled:,} predictions have no label: those users are not in the labels.")
    if tally.http_unlabelled:
        said.append(f"{tally.http_unlabelled:,} users whom the service scored have no label: not at risk, or unknown.")
    if tally.unscored:
        said.append(f"{tally.unscored:,} labels have no prediction: those users were not on the day's list.")
    return said


def _dates(judged: Judged) -> str:
    return f"{judged.first_date} to {judged.last_date}"

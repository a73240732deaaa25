"""What a drift report says in words: the headline, the reasons, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from churn_assets.monitoring.reference import Comparison, Shift
from churn_assets.monitoring.signal import Signal

if TYPE_CHECKING:
    from churn_assets.settings import DriftSettings

Status = Literal["OK", "WARN", "FAIL"]

MISSING_JUMP = 0.25
"""A share of missing values that grew by so much may point at the source instead of at the users."""

MUCH_UNSEEN = 0.1
"""From here on the share of values that training never saw is worth a word."""

MOST_NAMED = 8
"""Features that the reasons name; the others are counted there, and listed with their numbers."""

_HEADLINES: dict[Status, str] = {
    "OK": "The scored population looks like the one the model learned from.",
    "WARN": "Something has moved since the model was trained, not enough or not for long enough for an alert.",
    "FAIL": "The model's scores have moved: it now sees a population that it did not learn from.",
}
_TELLS_LESS = "The model tells people apart less well than it did: their scores promise less."
_FAULT = "The feed looks broken: whether people have changed cannot be said before it is mended."
_MEND = (
    "Mend the source, then build the days again (`churn build data`, `churn build features`). Nothing is retrained "
    "meanwhile: a model must not learn from what is broken. If the feed is right as it is, adapt `quality:` in the "
    "configuration."
)
_ADVICE: dict[Status, str] = {
    "OK": "Nothing.",
    "WARN": (
        "Look at what moved. If you know why (a campaign, a new price, a season), wait; "
        "if it stays, run `churn retrain`. Nothing is retrained because of a warning."
    ),
    "FAIL": (
        "Read what moved, then retrain: `drift_alert_retrain` does so by itself where sensors run, "
        "`churn retrain` does it by hand. The model in production keeps serving until a better one passes the gates."
    ),
}
_NOBODY = "Nobody is at risk on this day, so there is nothing to compare."
_CHECK_SOURCE = "First check the source: values are missing that used to be there, and no retraining brings them back. "


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the day's feed can be trusted.

    Attributes:
        status: `FAULT` holds the drift verdict back.
        findings: What is wrong, in words.
    """

    status: Literal["OK", "FAULT"]
    findings: list[str]


SOUND = Feed(status="OK", findings=[])


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that the words of a report are made from.

    Attributes:
        found: The comparison; None if nobody is at risk.
        signal: What the day's scores say.
        status: The verdict.
        days: So many days up to this one call for an alert.
        feed: Whether the feed can be trusted.
        settings: The limits.
    """

    found: Comparison | None
    signal: Signal
    status: Status
    days: int
    feed: Feed
    settings: DriftSettings


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """A report in words."""

    headline: str
    reasons: list[str]
    what_to_do: str


def words(case: Case) -> Words:
    """Say what a verdict means."""
    found, findings = case.found, case.feed.findings
    is_broken = case.feed.status == "FAULT"
    if found is None:
        advice = _MEND if is_broken else "Check that events still arrive: `churn status`."
        return Words(headline=_NOBODY, reasons=[*findings, _NOBODY], what_to_do=advice)
    features = sorted(found.features, key=lambda shift: (-shift.psi, shift.name))
    return Words(
        headline=_FAULT if is_broken else _headline(case),
        reasons=[*findings, *_signal_reasons(case), *_reasons(found, features, case.settings)],
        what_to_do=_MEND if is_broken else _advice(case.status, features),
    )


def _headline(case: Case) -> str:
    return _TELLS_LESS if case.status == "FAIL" and not case.signal.has_moved else _HEADLINES[case.status]


def lost_data(shift: Shift) -> bool:
    """Whether many values of a feature are missing that used to be there."""
    return shift.missing_now - shift.missing_then >= MISSING_JUMP and shift.psi > shift.noise.limit


def _signal_reasons(case: Case) -> list[str]:
    signal, settings, said = case.signal, case.settings, []
    if signal.promise_drop is not None and signal.tells_less:
        said.append(
            f"The scores promise a ROC-AUC of {signal.promised_roc_auc:.3f}, {signal.promise_drop:.3f} less than in "
            f"the holdout; the limit is {settings.alert_promise_drop:g}."
        )
    if signal.is_raised:
        said.append(f"That has been so for {case.days} of the {settings.consecutive_days} days that make an alert.")
    if signal.season_psi is not None and signal.season_psi < settings.warn_score_psi <= (signal.score_psi or 0.0):
        said.append(
            f"At this time of the year it was like this before: against then the PSI is {signal.season_psi:.3f}."
        )
    return said


def _reasons(found: Comparison, features: list[Shift], settings: DriftSettings) -> list[str]:
    said = [_score_reason(found.score, settings)]
    moved = [shift for shift in features if shift.reaches(settings.alert_psi) or lost_data(shift)]
    said += [_feature_reason(shift) for shift in moved[:MOST_NAMED]]
    if len(moved) > MOST_NAMED:
        said.append(f"{len(moved) - MOST_NAMED} more moved.")
    if found.new:
        said.append(f"The model does not know {', '.join(found.new)}: not compared.")
    if found.score.noise.limit >= settings.alert_score_psi:
        said.append(
            f"There are few users: by chance alone the score's PSI reaches {found.score.noise.limit:.2f}, "
            "and only a larger change can alert."
        )
    return said


def _score_reason(score: Shift, settings: DriftSettings) -> str:
    index, alert, warn = f"The score's PSI is {score.psi:.3f}", settings.alert_score_psi, settings.warn_score_psi
    chance = f"by chance alone it stays below {score.noise.limit:.3f}"
    if score.reaches(alert):
        return f"{index}, at or above the alert limit {alert:g}; {chance}."
    if score.reaches(warn):
        return f"{index}, at or above the warning limit {warn:g}; {chance}."
    if score.psi >= warn:
        return f"{index}, no more than chance explains; {chance}."
    return f"{index}, below the warning limit {warn:g}."


def _feature_reason(shift: Shift) -> str:
    if shift.vanished:
        return f"{shift.name} is no longer there."
    text = f"{shift.name} moved: PSI {shift.psi:.3f}"
    if lost_data(shift):
        return f"{text}; missing in {shift.missing_now:.0%} of the rows, {shift.missing_then:.0%} before."
    if shift.outside_now >= MUCH_UNSEEN:
        return f"{text}; {shift.outside_now:.0%} of the rows hold what training never saw."
    if shift.typical_then != shift.typical_now:
        return f"{text}; typical {shown(shift.typical_now)}, {shown(shift.typical_then)} before."
    return f"{text}."


def shown(value: float | str | None) -> str:
    """A value as people read it: three digits, no exponent."""
    if value is None or isinstance(value, str):
        return value or "none"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _advice(status: Status, features: list[Shift]) -> str:
    check = status != "OK" and any(lost_data(shift) for shift in features)
    return (_CHECK_SOURCE if check else "") + _ADVICE[status]

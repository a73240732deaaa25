"""The drift report: is today's scored population still the one that the model learned from?

The score decides. A feature may move without any harm, and on real data some feature always does: on an e-learning
data set "any feature above 0.25" was true in every week while the model stayed good. So features only warn.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pyarrow.compute as pc

from churn_assets.monitoring.reference import Comparison, Reference, Shift, compare, score_histogram

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

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
    "WARN": "Something has moved since the model was trained; its scores have not moved enough for an alert.",
    "FAIL": "The model's scores have moved: it now sees a population that it did not learn from.",
}
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


class Population(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two populations compared.

    Attributes:
        first_date: First as-of date.
        last_date: Last as-of date.
        rows: Rows.
        users: Different users.
        mean_score: Mean score; None if there are no rows.
        score_histogram: Rows by score, as in `Reference`.
    """

    first_date: date
    last_date: date
    rows: int
    users: int
    mean_score: float | None
    score_histogram: tuple[int, ...]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that were in force.

    Attributes:
        warn_psi: From here on the score warns.
        alert_psi: From here on the score alerts, and a feature warns.
    """

    warn_psi: float
    alert_psi: float


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, what came out, and what to do.

    Attributes:
        status: `FAIL` alerts: the score moved. `WARN`: the score moved somewhat, or a feature did.
        headline: The status in words.
        reasons: What led to it, and whatever else a reader should know; most important first.
        what_to_do: In words.
        as_of_date: The day that was looked at.
        model_version: The model that scored.
        score_psi: Index of the score; None if there was nobody to compare.
        overall_max_psi: Largest index among the features; None if there was nobody to compare.
        psi_by_feature: Index of each feature, largest first.
        noise_by_feature: What each index stays below by chance in 999 of 1,000 cases.
        score: All about the score; None if there was nobody to compare.
        features: All about each feature, largest index first.
        new_columns: Columns that the model does not know.
        vanished_columns: Features that are no longer there.
        reference: Population then.
        current: Population now.
        thresholds: The limits.
    """

    status: Status
    headline: str
    reasons: list[str]
    what_to_do: str
    as_of_date: date
    model_version: str
    score_psi: float | None
    overall_max_psi: float | None
    psi_by_feature: dict[str, float]
    noise_by_feature: dict[str, float]
    score: Shift | None
    features: list[Shift]
    new_columns: list[str]
    vanished_columns: list[str]
    reference: Population
    current: Population
    thresholds: Thresholds

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: `data_drift_latest.json`."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def drift_report(  # noqa: PLR0913 - five are by name
    reference: Reference,
    current: pa.Table,
    scores: NDArray[np.float64],
    *,
    model_version: str,
    as_of_date: date,
    settings: DriftSettings,
) -> DriftReport:
    """Judge today's scored population.

    Args:
        reference: What travels with the production model.
        current: Today's rows at risk: `user_id` and features.
        scores: (m,) the production model's scores of these rows.
        model_version: The production model.
        as_of_date: Today.
        settings: The limits.

    Raises:
        ValueError: There is not one score a row.
    """
    found = compare(reference, current, scores) if len(scores) or current.num_rows else None
    features = sorted(found.features, key=lambda shift: (-shift.psi, shift.name)) if found else []
    status = _judge(found, settings)
    reasons = _reasons(found, features, settings) if found else [_NOBODY]
    return DriftReport(
        status=status,
        headline=_HEADLINES[status] if found else _NOBODY,
        reasons=reasons,
        what_to_do=_advice(status, features) if found else "Check that events still arrive: `churn status`.",
        as_of_date=as_of_date,
        model_version=model_version,
        score_psi=found.score.psi if found else None,
        overall_max_psi=features[0].psi if features else None,
        psi_by_feature={shift.name: shift.psi for shift in features},
        noise_by_feature={shift.name: shift.noise.limit for shift in features},
        score=found.score if found else None,
        features=features,
        new_columns=list(found.new) if found else [],
        vanished_columns=[shift.name for shift in features if shift.vanished],
        reference=_then(reference),
        current=_now(current, scores, as_of_date),
        thresholds=Thresholds(warn_psi=settings.warn_psi, alert_psi=settings.alert_psi),
    )


def lost_data(shift: Shift) -> bool:
    """Whether many values of a feature are missing that used to be there."""
    return shift.missing_now - shift.missing_then >= MISSING_JUMP and shift.psi > shift.noise.limit


def _judge(found: Comparison | None, settings: DriftSettings) -> Status:
    if found is None:
        return "WARN"
    if found.score.reaches(settings.alert_psi):
        return "FAIL"
    moved = any(shift.reaches(settings.alert_psi) for shift in found.features)
    return "WARN" if moved or found.score.reaches(settings.warn_psi) else "OK"


def _reasons(found: Comparison, features: list[Shift], settings: DriftSettings) -> list[str]:
    said = [_score_reason(found.score, settings)]
    moved = [shift for shift in features if shift.reaches(settings.alert_psi) or lost_data(shift)]
    said += [_feature_reason(shift) for shift in moved[:MOST_NAMED]]
    if len(moved) > MOST_NAMED:
        said.append(f"{len(moved) - MOST_NAMED} more moved.")
    if found.new:
        said.append(f"The model does not know {', '.join(found.new)}: not compared.")
    if found.score.noise.limit >= settings.alert_psi:
        said.append(
            f"There are few users: by chance alone the score's PSI reaches {found.score.noise.limit:.2f}, "
            "and only a larger change can alert."
        )
    return said


def _score_reason(score: Shift, settings: DriftSettings) -> str:
    chance = f"by chance alone it stays below {score.noise.limit:.3f}"
    if score.reaches(settings.alert_psi):
        return f"The score's PSI is {score.psi:.3f}, at or above the alert limit {settings.alert_psi:g}; {chance}."
    if score.reaches(settings.warn_psi):
        return f"The score's PSI is {score.psi:.3f}, at or above the warning limit {settings.warn_psi:g}; {chance}."
    if score.psi >= settings.warn_psi:
        return f"The score's PSI is {score.psi:.3f}, no more than chance explains; {chance}."
    return f"The score's PSI is {score.psi:.3f}, below the warning limit {settings.warn_psi:g}."


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


def _then(reference: Reference) -> Population:
    return Population(
        first_date=reference.first_date,
        last_date=reference.last_date,
        rows=reference.rows,
        users=reference.users,
        mean_score=reference.mean_score,
        score_histogram=reference.score_histogram,
    )


def _now(current: pa.Table, scores: NDArray[np.float64], day: date) -> Population:
    return Population(
        first_date=day,
        last_date=day,
        rows=len(scores),
        users=pc.count_distinct(current["user_id"]).as_py(),
        mean_score=float(np.mean(scores)) if len(scores) else None,
        score_histogram=score_histogram(scores),
    )

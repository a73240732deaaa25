"""The drift report: is today's scored population still the one that the model learned from?

The scores decide (see `signal`), on several days in a row. A feature may move without any harm, and on real data some
feature always does: on an e-learning data set "any feature above 0.25" was true in every week while the model stayed
good. So features only warn. And where the feed is broken rather than the people different, the verdict is held back:
the remedy is to mend the source, not to learn from what is broken.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow.compute as pc

from churn_assets.monitoring.alert import Alert
from churn_assets.monitoring.drift_words import SOUND, Case, Feed, Status, words
from churn_assets.monitoring.reference import Comparison, Reference, Shift, compare, score_histogram
from churn_assets.monitoring.signal import Signal, signal_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from churn_assets.settings import DriftSettings


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
    """The limits that were in force.

    Attributes:
        warn_psi: From here on a feature is worth a look.
        alert_psi: From here on a feature warns.
        warn_score_psi: From here on the score warns.
        alert_score_psi: From here on a day's score calls for an alert.
        alert_promise_drop: From here on a drop of the promised ROC-AUC does.
        consecutive_days: So many days in a row make an alert.
        ordinary_psi: What the score's index stays below between one date of the holdout and the next.
    """

    warn_psi: float
    alert_psi: float
    warn_score_psi: float
    alert_score_psi: float
    alert_promise_drop: float
    consecutive_days: int
    ordinary_psi: float


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a day's verdict depends on beside the day itself.

    Attributes:
        before: Signals of the days before it, newest first, without a gap.
        feed: Whether the feed can be trusted.
        standing: The alert that stood on the day of the report before this one, if any.
    """

    before: Sequence[Signal] = ()
    feed: Feed = SOUND
    standing: Alert | None = None


ALONE = Context()
"""A day by itself."""


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, what came out, and what to do.

    Attributes:
        status: `FAIL` alerts: the scores moved, or promise less, for several days. `WARN`: somewhat, or not yet for so
            long, or a feature moved, or the feed is broken.
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
        signal: What the day's scores say.
        days_in_a_row: So many days up to this one call for an alert.
        weighted_psi: Mean of the features' indices, weighted with what the model makes of each.
        importance: Share of each feature in what moves scores.
        feed: Whether the feed can be trusted.
        alert: The alert that stands, if the status is `FAIL`.
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
    signal: Signal
    days_in_a_row: int
    weighted_psi: float | None
    importance: dict[str, float]
    feed: Feed
    alert: Alert | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: `data_drift_latest.json`."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def drift_report(  # noqa: PLR0913 - all but three by name
    reference: Reference,
    current: pa.Table,
    scores: NDArray[np.float64],
    *,
    model_version: str,
    as_of_date: date,
    settings: DriftSettings,
    context: Context = ALONE,
) -> DriftReport:
    """Judge today's scored population.

    Args:
        reference: What travels with the production model.
        current: Today's rows at risk: `user_id` and features.
        scores: (m,) the production model's scores of these rows.
        model_version: The production model.
        as_of_date: Today.
        settings: The limits.
        context: The days before, the feed, the alert that stands.

    Raises:
        ValueError: There is not one score a row.
    """
    found = compare(reference, current, scores) if len(scores) or current.num_rows else None
    now = _now(current, scores, as_of_date)
    signal = signal_of(reference, scores, now.users, as_of_date, settings)
    days = _days_in_a_row(signal, context.before)
    status = _judge(found, signal, days, context.feed, settings)
    said = words(Case(found=found, signal=signal, status=status, days=days, feed=context.feed, settings=settings))
    return DriftReport(
        status=status,
        as_of_date=as_of_date,
        model_version=model_version,
        reference=_then(reference),
        current=now,
        thresholds=_thresholds(reference, settings),
        signal=signal,
        days_in_a_row=days,
        importance=reference.importance,
        feed=context.feed,
        alert=Alert.raised("drift", model_version, as_of_date, context.standing) if status == "FAIL" else None,
        **_measured(found),
        headline=said.headline,
        reasons=said.reasons,
        what_to_do=said.what_to_do,
    )


def _measured(found: Comparison | None) -> dict[str, Any]:
    """The fields that a comparison fills."""
    features = sorted(found.features, key=lambda shift: (-shift.psi, shift.name)) if found else []
    return {
        "score_psi": found.score.psi if found else None,
        "overall_max_psi": features[0].psi if features else None,
        "psi_by_feature": {shift.name: shift.psi for shift in features},
        "noise_by_feature": {shift.name: shift.noise.limit for shift in features},
        "score": found.score if found else None,
        "features": features,
        "weighted_psi": found.weighted_psi if found else None,
        "new_columns": list(found.new) if found else [],
        "vanished_columns": [shift.name for shift in features if shift.vanished],
    }


def _thresholds(reference: Reference, settings: DriftSettings) -> Thresholds:
    return Thresholds(
        warn_psi=settings.warn_psi,
        alert_psi=settings.alert_psi,
        warn_score_psi=settings.warn_score_psi,
        alert_score_psi=settings.alert_score_psi,
        alert_promise_drop=settings.alert_promise_drop,
        consecutive_days=settings.consecutive_days,
        ordinary_psi=reference.ordinary_psi,
    )


def _days_in_a_row(signal: Signal, before: Sequence[Signal]) -> int:
    days = 0
    for one in (signal, *before):
        if not one.is_raised:
            break
        days += 1
    return days


def _judge(found: Comparison | None, signal: Signal, days: int, feed: Feed, settings: DriftSettings) -> Status:
    if found is None or feed.status == "FAULT":
        return "WARN"
    if days >= settings.consecutive_days:
        return "FAIL"
    moved = any(shift.reaches(settings.alert_psi) for shift in found.features)
    return "WARN" if moved or signal.is_raised or found.score.reaches(settings.warn_score_psi) else "OK"


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

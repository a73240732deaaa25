"""The performance report: did what the model said come true, as far as that can be known today?

What decides is a comparison that holds for any population. If scores are calibrated and people behave as they did, then
the PR-AUC that comes out is the one that the same scores promise for as many leavers as there were. A lower one means
that the scores have lost their meaning: people behave differently at unchanged features. Beside it, ROC-AUC, which does
not depend on how many leave, is held against the model's own holdout.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from churn_assets.monitoring.alert import Alert
from churn_assets.monitoring.performance.estimated import Estimated, Interval
from churn_assets.monitoring.performance.outcomes import Tally
from churn_assets.monitoring.performance.realised import Performance
from churn_assets.monitoring.performance.weeks import Week
from churn_assets.monitoring.performance.words import advice, headline, reasons_for, unknown_reasons

if TYPE_CHECKING:
    from churn_assets.settings import PerformanceSettings

Status = Literal["OK", "WARN", "FAIL", "UNKNOWN"]
Fall = Literal["none", "maybe", "sure"]

LEAST_GAP = 0.02
"""Mean score and share of leavers that are closer than this are not far apart."""

LARGE_GAP = 0.25
"""From here on a gap is large, as a share of the leavers."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict is about.

    Attributes:
        first_date: First as-of date.
        last_date: Last as-of date: the newest whose labels are known.
        days: As-of dates between them with outcomes.
        rescored_days: Those of them that another model had predicted, and that the production model has scored again
            from the features of that day: the verdict is about the model that serves.
        performance: How the production model did on them.
    """

    first_date: date
    last_date: date
    days: int
    rescored_days: int
    performance: Performance


class Holdout(msgspec.Struct, frozen=True, kw_only=True):
    """What the production model showed before it served, from its manifest."""

    prevalence: float | None = None
    pr_auc: float | None = None
    roc_auc: float | None = None
    brier: float | None = None
    ece: float | None = None
    precision_at_50: float | None = None


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the judged predictions are held against.

    Attributes:
        pr_auc: What their scores promise if as many leave as did; the holdout's would be that of another prevalence.
        roc_auc: The holdout's.
        holdout: All of the holdout.
    """

    pr_auc: float | None
    roc_auc: float | None
    holdout: Holdout


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that were in force."""

    max_pr_auc_drop: float
    max_roc_auc_drop: float
    min_positives: int


@dataclass(frozen=True)
class Production:
    """The model that serves."""

    version: str
    holdout: Holdout


@dataclass(frozen=True)
class Evidence:
    """What is known on a day.

    Attributes:
        as_made: The predictions of the judged days, whoever made them.
        judged: What the verdict is about.
        http: What the service scored on the judged days; None if nothing.
        tally: What found no partner on the judged days.
        weeks: By week, oldest first.
        estimated: The day scored last; None if there is none.
        problems: What could not be read, in words.
    """

    as_made: Performance
    judged: Judged
    http: Performance | None
    tally: Tally
    weeks: list[Week]
    estimated: Estimated | None
    problems: list[str]


class PerformanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How predictions came true, and what to do.

    Attributes:
        status: `FAIL` alerts. `UNKNOWN`: too few labels have matured, or no model serves.
        headline: The status in words.
        reasons: What led to it, most important first.
        what_to_do: In words.
        as_of_date: The day of the report.
        model_version: The model that serves; None if there is none.
        pr_auc: Average precision of the judged days' predictions, as they were made.
        roc_auc: Their area under the ROC curve.
        brier: Their mean squared error.
        ece: Their calibration error.
        precision_at_50: Share that left of each day's short list of 50.
        precision_at_10pct: Share that left of the highest tenth of each day's list.
        prevalence: Share that left.
        mean_score: What was said, on average.
        rows: Predictions.
        users: Users.
        positives: Predictions whose user left.
        intervals: 95 % intervals by name.
        judged: What the verdict is about.
        expected: What it is held against.
        estimated: The performance to expect of the day scored last.
        labels_mature_on: The day since which the labels of that day are known.
        http: What the service scored on the judged days; None if nothing.
        tally: What found no partner on the judged days.
        weeks: By week, oldest first.
        limits: The limits.
        alert: The alert that stands, if any.
    """

    status: Status
    headline: str
    reasons: list[str]
    what_to_do: str
    as_of_date: date
    model_version: str | None
    pr_auc: float | None
    roc_auc: float | None
    brier: float | None
    ece: float | None
    precision_at_50: float | None
    precision_at_10pct: float | None
    prevalence: float | None
    mean_score: float | None
    rows: int
    users: int
    positives: int
    intervals: dict[str, Interval]
    judged: Judged
    expected: Expected
    estimated: Estimated | None
    labels_mature_on: date | None
    http: Performance | None
    tally: Tally
    weeks: list[Week]
    limits: Limits
    alert: Alert | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: `performance_latest.json`."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def performance_report(
    evidence: Evidence,
    production: Production | str,
    *,
    as_of_date: date,
    standing: Alert | None,
    settings: PerformanceSettings,
) -> PerformanceReport:
    """Judge the production model by what is known on a day.

    Args:
        evidence: What is known.
        production: The model that serves; or why there is none, in words.
        as_of_date: The day.
        standing: The alert of the report before, if there was one.
        settings: The limits.
    """
    model = production if isinstance(production, Production) else None
    judged, made = evidence.judged.performance, evidence.as_made
    expected = _expected(judged, model)
    status = _status(judged, expected, settings) if model else "UNKNOWN"
    version = model.version if model else None
    return PerformanceReport(
        status=status,
        headline=headline(status),
        reasons=_reasons(status, evidence, production, expected, settings),
        what_to_do=advice(status, evidence.estimated),
        as_of_date=as_of_date,
        model_version=version,
        judged=evidence.judged,
        expected=expected,
        estimated=evidence.estimated,
        labels_mature_on=evidence.estimated.labels_mature_on if evidence.estimated else None,
        http=evidence.http,
        tally=evidence.tally,
        weeks=evidence.weeks,
        limits=_limits(settings),
        alert=Alert.raised("performance", version, as_of_date, standing) if status == "FAIL" and version else None,
        **{name: getattr(made, name) for name in _TOLD},
    )


_TOLD = (
    "pr_auc",
    "roc_auc",
    "brier",
    "ece",
    "precision_at_50",
    "precision_at_10pct",
    "prevalence",
    "mean_score",
    "rows",
    "users",
    "positives",
    "intervals",
)


def fall(performance: Performance, name: str, expected: float | None, limit: float) -> Fall:
    """Say whether a metric fell below what was expected.

    Args:
        performance: What came out.
        name: `pr_auc` or `roc_auc`.
        expected: What was expected, if anything was.
        limit: The most that it may fall.

    Returns:
        `sure`: by more than the limit, and by more than chance explains. `maybe`: by more than the limit, or by more
        than half of it and more than chance explains. Else `none`.
    """
    value = getattr(performance, name)
    if value is None or expected is None:
        return "none"
    drop = expected - value
    is_certain = name in performance.intervals and performance.intervals[name][1] < expected
    if drop > limit:
        return "sure" if is_certain else "maybe"
    return "maybe" if drop > limit / 2 and is_certain else "none"


def is_off_level(performance: Performance) -> bool:
    """Whether the mean score and the share of leavers are far apart, and by more than chance."""
    if performance.gap is None or performance.prevalence is None or "gap" not in performance.intervals:
        return False
    low, high = performance.intervals["gap"]
    is_large = abs(performance.gap) > max(LEAST_GAP, LARGE_GAP * performance.prevalence)
    return is_large and not low <= 0.0 <= high


def _status(judged: Performance, expected: Expected, settings: PerformanceSettings) -> Status:
    if judged.pr_auc is None or judged.positives < settings.min_positives:
        return "UNKNOWN"
    falls = {
        fall(judged, "pr_auc", expected.pr_auc, settings.max_pr_auc_drop),
        fall(judged, "roc_auc", expected.roc_auc, settings.max_roc_auc_drop),
    }
    if "sure" in falls:
        return "FAIL"
    return "WARN" if "maybe" in falls or is_off_level(judged) else "OK"


def _reasons(
    status: Status,
    evidence: Evidence,
    production: Production | str,
    expected: Expected,
    settings: PerformanceSettings,
) -> list[str]:
    if not isinstance(production, Production):
        return [production, *evidence.problems]
    if status == "UNKNOWN":
        return unknown_reasons(evidence, settings.min_positives)
    judged = evidence.judged.performance
    falls = {
        "pr_auc": fall(judged, "pr_auc", expected.pr_auc, settings.max_pr_auc_drop),
        "roc_auc": fall(judged, "roc_auc", expected.roc_auc, settings.max_roc_auc_drop),
    }
    return reasons_for(evidence, expected, falls, off_level=is_off_level(judged))


def _expected(judged: Performance, model: Production | None) -> Expected:
    holdout = model.holdout if model else Holdout()
    return Expected(pr_auc=judged.promised_at_prevalence.pr_auc, roc_auc=holdout.roc_auc, holdout=holdout)


def _limits(settings: PerformanceSettings) -> Limits:
    return Limits(
        max_pr_auc_drop=settings.max_pr_auc_drop,
        max_roc_auc_drop=settings.max_roc_auc_drop,
        min_positives=settings.min_positives,
    )

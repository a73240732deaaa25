"""Every feature, defined once: what is computed, what is served, what the documentation says.

A feature exists only if the source has what it is made of; the others are absent, and listed as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_serving.schema import FeatureSpec

if TYPE_CHECKING:
    from churn_assets.ingest.source import Provided
    from churn_assets.settings import Settings

MAX_TENURE_DAYS = 365
"""Tenure counts up to here: the mere passing of time is not drift."""

FAIL_RATE_DAYS = 30
USER_MEANINGS = {
    "plan": "The user's plan.",
    "country": "The user's country.",
    "marketing_source": "What brought the user.",
}


@dataclass(frozen=True)
class Measure:
    """A daily quantity that is summed over windows.

    Attributes:
        name: Column of `user_daily`, and the stem of its features.
        phrase: In words.
        unit: Of the sum.
        trend: Whether the recent against the longer window is a feature too.
    """

    name: str
    phrase: str
    unit: str = "events"
    trend: bool = False


@dataclass(frozen=True)
class FeatureSet:
    """What one deployment computes: measures, windows, attributes.

    Attributes:
        windows: Days, shortest first.
        measures: Summed over every window.
        quiz_scores: Whether quizzes are scored.
        payments: Whether payments succeed and fail.
        attributes: Categories that a user has, by name, with their meaning.
        is_paid: Whether it is known who pays.
        engagements: Whether it is known when somebody is expected to be active.
        active_within: A user is at risk who was active in so many days.
        label_window: Days ahead that the label looks.
        absent: Features that the source gives no data for.
    """

    windows: tuple[int, ...]
    measures: tuple[Measure, ...]
    quiz_scores: bool
    payments: bool
    attributes: dict[str, str]
    is_paid: bool
    engagements: bool
    active_within: int
    label_window: int
    absent: tuple[str, ...] = ()

    @property
    def longest(self) -> int:
        """Days of history that a feature looks at."""
        return max(*self.windows, self.active_within, FAIL_RATE_DAYS if self.payments else 0)

    @property
    def trend_windows(self) -> tuple[int, int] | None:
        """The recent and the longer window that trends compare; None with a single window."""
        return (self.windows[0], self.windows[-1]) if len(self.windows) > 1 else None

    @property
    def specs(self) -> tuple[FeatureSpec, ...]:
        """Every feature, in the order of the columns."""
        windowed = [_sum(measure, days) for days in self.windows for measure in self.measures]
        scores = [_quiz_average(days) for days in self.windows] if self.quiz_scores else []
        rate = [_FAIL_RATE] if self.payments else []
        return (*windowed, *scores, *rate, *self._trends(), *self._times(), *self._traits())

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature's name, in the order of the columns."""
        return tuple(spec.name for spec in self.specs)

    def _trends(self) -> list[FeatureSpec]:
        if self.trend_windows is None:
            return []
        recent, longer = self.trend_windows
        ratios = [_trend(measure, recent, longer) for measure in self.measures if measure.trend]
        return [*ratios, _quiz_trend(recent, longer)] if self.quiz_scores else ratios

    def _times(self) -> list[FeatureSpec]:
        times = [_recency(self.longest), _gap(self.longest), _TENURE]
        return [*times, *_ENGAGEMENTS] if self.engagements else times

    def _traits(self) -> list[FeatureSpec]:
        traits = [_category(name, meaning) for name, meaning in self.attributes.items()]
        return [*traits, _IS_PAID] if self.is_paid else traits


def feature_set(settings: Settings, provided: Provided) -> FeatureSet:
    """What can be computed from what the source provides."""
    here = _build(settings, provided)
    present = set(here.names)
    absent = tuple(name for name in _build(settings, None).names if name not in present)
    return FeatureSet(**{**vars(here), "absent": absent})


def _build(settings: Settings, provided: Provided | None) -> FeatureSet:
    def has(kind: str, name: str) -> bool:
        return provided is None or name in getattr(provided, kind)

    counts = [
        Measure(kind.counts, kind.phrase or kind.counts.replace("_", " "), trend=kind.activity)
        for name, kind in settings.events.vocabulary.items()
        if kind.counts and has("event_types", name)
    ]
    minutes = [Measure("watch_minutes", "minutes watched", "minutes", trend=True)]
    always = [Measure("active_days", "active days", "days", trend=True), Measure("events", "actions", trend=True)]
    texts = {**USER_MEANINGS, **settings.users.attributes}
    return FeatureSet(
        windows=settings.features.windows_days,
        measures=(*always, *counts, *(minutes if has("values", "watch_minutes") else [])),
        quiz_scores=has("values", "quiz_score"),
        payments=has("event_types", "payment_success") and has("event_types", "payment_failed"),
        attributes={name: meaning for name, meaning in texts.items() if has("user_columns", name)},
        is_paid=has("user_columns", "is_paid"),
        engagements=provided is None or provided.engagements,
        active_within=settings.population.active_within_days,
        label_window=settings.churn.window_days,
    )


def _sum(measure: Measure, days: int) -> FeatureSpec:
    return FeatureSpec(
        name=f"{measure.name}_{days}d",
        kind="number",
        meaning=f"{measure.phrase.capitalize()} in the {days} days up to and including the as-of date.",
        unit=measure.unit,
        lower=0.0,
        upper=float(days) if measure.name == "active_days" else float("inf"),
        phrase=f"{measure.phrase} in the last {days} days",
    )


def _trend(measure: Measure, recent: int, longer: int) -> FeatureSpec:
    return FeatureSpec(
        name=f"{measure.name}_trend_{recent}d_{longer}d",
        kind="number",
        meaning=f"{measure.phrase.capitalize()} a day in the last {recent} days over those in the last {longer}.",
        unit="ratio",
        null_meaning=f"none in the last {longer} days",
        lower=0.0,
        upper=longer / recent,
        phrase=f"{measure.phrase}, last {recent} days against {longer}",
    )


def _quiz_average(days: int) -> FeatureSpec:
    return FeatureSpec(
        name=f"quiz_avg_score_{days}d",
        kind="number",
        meaning=f"Mean score over all quiz attempts of the last {days} days.",
        unit="points",
        null_meaning="no scored attempt in the window (not a score of 0)",
        lower=0.0,
        upper=100.0,
        phrase=f"average quiz score in the last {days} days",
    )


def _quiz_trend(recent: int, longer: int) -> FeatureSpec:
    return FeatureSpec(
        name=f"quiz_avg_score_trend_{recent}d_{longer}d",
        kind="number",
        meaning=f"Mean quiz score of the last {recent} days less that of the last {longer}.",
        unit="points",
        null_meaning="no scored attempt in the shorter window",
        lower=-100.0,
        upper=100.0,
        phrase=f"change of the quiz score, last {recent} days against {longer}",
    )


def _recency(longest: int) -> FeatureSpec:
    return FeatureSpec(
        name="days_since_last_activity",
        kind="number",
        meaning=f"Days since the last active day; {longest} if there was none since.",
        unit="days",
        lower=0.0,
        upper=float(longest),
        phrase="days since the last activity",
    )


def _gap(longest: int) -> FeatureSpec:
    return FeatureSpec(
        name=f"longest_gap_{longest}d",
        kind="number",
        meaning=f"Longest run of days without activity that lies in the last {longest} days, the current one included.",
        unit="days",
        lower=0.0,
        upper=float(longest),
        phrase=f"longest pause in the last {longest} days",
    )


def _category(name: str, meaning: str) -> FeatureSpec:
    return FeatureSpec(
        name=name, kind="category", meaning=meaning, null_meaning="not known", phrase=name.replace("_", " ")
    )


_FAIL_RATE = FeatureSpec(
    name=f"payment_fail_rate_{FAIL_RATE_DAYS}d",
    kind="number",
    meaning=f"Failed payments of all payments in the last {FAIL_RATE_DAYS} days.",
    unit="ratio",
    null_meaning=f"no payment in the last {FAIL_RATE_DAYS} days",
    lower=0.0,
    upper=1.0,
    phrase=f"share of failed payments in the last {FAIL_RATE_DAYS} days",
)
_TENURE = FeatureSpec(
    name="days_since_signup",
    kind="number",
    meaning=f"Days since signup, at most {MAX_TENURE_DAYS}.",
    unit="days",
    lower=0.0,
    upper=float(MAX_TENURE_DAYS),
    phrase="days since signup",
)
_IS_PAID = FeatureSpec(
    name="is_paid",
    kind="flag",
    meaning="Whether the user pays.",
    null_meaning="not known",
    lower=0.0,
    upper=1.0,
    phrase="paying customer",
)
_ENGAGEMENTS = (
    FeatureSpec(
        name="engagements_running",
        kind="number",
        meaning="Courses or contracts that run on the as-of date.",
        unit="engagements",
        lower=0.0,
        phrase="running engagements",
    ),
    FeatureSpec(
        name="days_since_engagement_start",
        kind="number",
        unit="days",
        null_meaning="none is running",
        meaning=f"Days since the newest running engagement began, at most {MAX_TENURE_DAYS}.",
        lower=0.0,
        upper=float(MAX_TENURE_DAYS),
        phrase="days since the course or contract began",
    ),
    FeatureSpec(
        name="days_to_engagement_end",
        kind="number",
        unit="days",
        null_meaning="none is running, or it has no end",
        meaning=f"Days until the last running engagement ends as planned, at most {MAX_TENURE_DAYS}.",
        lower=0.0,
        upper=float(MAX_TENURE_DAYS),
        phrase="days until the course or contract ends",
    ),
)

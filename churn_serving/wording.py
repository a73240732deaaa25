"""Reasons in words: what a feature did to one user's risk, said so that a retention team can act on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from churn_serving.schema import FeatureSpec

Value = float | str | None
"""A feature's value as people see it: a number, a category's name, or None when it is missing."""

Direction = Literal["raises", "lowers"]

_SPOKEN_UNITS = ("days", "minutes", "hours", "points", "weeks")
_UNKNOWN = "not known"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a risk is higher or lower than it would be otherwise.

    Attributes:
        feature: Name of the feature.
        value: What this user has; None when it is missing.
        direction: Whether that raises or lowers this user's risk.
        contribution: By how much, in log-odds; above 0 raises.
        text: All of it in words.
    """

    feature: str
    value: Value
    direction: Direction
    contribution: float
    text: str


def reason(spec: FeatureSpec, value: Value, contribution: float, typical: Value = None) -> Reason:
    """Say what a feature does to a user's risk.

    Args:
        spec: The feature.
        value: What this user has; None when it is missing.
        contribution: What it adds to the user's log-odds of churn.
        typical: What users commonly have (median, or most frequent level); None if it is not known.
    """
    direction: Direction = "raises" if contribution > 0 else "lowers"
    return Reason(
        feature=spec.name,
        value=value,
        direction=direction,
        contribution=contribution,
        text=sentence(spec, value, direction, typical),
    )


def sentence(spec: FeatureSpec, value: Value, direction: Direction, typical: Value = None) -> str:
    """Say it in words, for example `active days in the last 7 days: 1 (typical 4), raises the risk`.

    Args:
        spec: The feature.
        value: What this user has; None when it is missing.
        direction: Whether it raises or lowers the risk.
        typical: What users commonly have; left out if it is None, or text.
    """
    return f"{spec.phrase or spec.name.replace('_', ' ')}: {_shown(spec, value, typical)}, {direction} the risk"


def _shown(spec: FeatureSpec, value: Value, typical: Value) -> str:
    if value is None:
        return _missing(spec)
    if isinstance(value, str):
        return value if value in spec.categories or not spec.categories else f"{value} (new to the model)"
    if spec.kind == "flag":
        return "yes" if value else "no"
    usual = f" (typical {_amount(spec, typical)})" if isinstance(typical, (int, float)) else ""
    return f"{_amount(spec, value)}{_unit(spec, value)}{usual}"


def _missing(spec: FeatureSpec) -> str:
    """What it means that there is no value, without what the catalogue adds in brackets."""
    meaning = spec.null_meaning.partition(" (")[0]
    return _UNKNOWN if meaning == "never missing" else meaning


def _amount(spec: FeatureSpec, value: float) -> str:
    if spec.unit == "ratio":
        return f"{_number(100 * value)} %"
    return f"+{_number(value)}" if -math.inf < spec.lower < 0 < value else _number(value)


def _number(value: float) -> str:
    """Two digits or so, as people say it, and no `.0`."""
    if value % 1 == 0 or abs(value) >= 10:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")


def _unit(spec: FeatureSpec, value: float) -> str:
    """The unit, unless what is counted says it already: "active days", but "longest pause: 12 days"."""
    counted = spec.phrase.partition(" in the last ")[0].partition(",")[0]
    if spec.unit not in _SPOKEN_UNITS or spec.unit in counted:
        return ""
    return f" {spec.unit.removesuffix('s') if abs(value) == 1 else spec.unit}"

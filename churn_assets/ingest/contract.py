"""The contract of raw data: every rule that a row must keep, in one place, as SQL over DuckDB.

A rejected row carries the name of the first rule that it breaks, in the order given here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.engine import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from churn_assets.settings import Settings

GRID = 1024
"""Minutes and scores are kept to 1/1024: sums of such numbers are exact in floating point, in any order."""

MAX_EVENT_COUNT = 1_000_000
EVENT_NUMBERS = ("watch_minutes", "quiz_score", "amount", "event_count")


@dataclass(frozen=True)
class Rule:
    """One rule of the contract.

    Attributes:
        name: As it stands in the quarantine and in the check.
        broken: SQL that is true of a row that breaks it.
        meaning: For people.
    """

    name: str
    broken: str
    meaning: str


def user_rules(today: date) -> list[Rule]:
    """The rules for one row of `raw_users`, after `typed_users`."""
    return [
        Rule("unreadable_line", "unreadable", "the line could not be split into columns"),
        Rule("user_id_missing", "user_id IS NULL", "there is no user id"),
        Rule("user_id_duplicate", "nth > 1", "an earlier row has the same user id"),
        Rule("signup_date_invalid", "signup_date IS NULL", "the signup date is missing or is no date"),
        Rule("signup_in_future", f"signup_date > DATE '{today}'", "the signup date is in the future"),
        Rule("is_paid_invalid", "is_paid_text IS NOT NULL AND is_paid IS NULL", "is_paid is neither true nor false"),
    ]


def typed_users(columns: Sequence[str], attributes: Sequence[str]) -> str:
    """SQL: `raw` with every column typed; what cannot be typed is null."""
    texts = [
        f"{_text(name, columns)} AS {identifier(name)}" for name in ("plan", "country", "marketing_source", *attributes)
    ]
    paid = f"CAST({identifier('is_paid')} AS VARCHAR)" if "is_paid" in columns else "CAST(NULL AS VARCHAR)"
    return (
        f"SELECT {_text('user_id', columns)} AS user_id, TRY_CAST(signup_date AS DATE) AS signup_date, "
        f"{paid} AS is_paid_text, TRY_CAST(nullif(trim({paid}), '') AS BOOLEAN) AS is_paid, {', '.join(texts)}, "
        f"{_flag('unreadable', columns)} AS unreadable, row_id, "
        f"row_number() OVER (PARTITION BY {_text('user_id', columns)} ORDER BY row_id) AS nth FROM raw"
    )


def event_rules(settings: Settings, columns: Sequence[str]) -> list[Rule]:
    """The rules for one row of `raw_events`, after `typed_events` and joined with the known users."""
    types = ", ".join(literal(name) for name in settings.events.vocabulary)
    minutes, tolerance = settings.validation.max_watch_minutes, settings.validation.signup_tolerance_days
    rules = [
        Rule("unreadable_line", "unreadable", "the line could not be split into columns"),
        Rule("user_id_missing", "user_id IS NULL", "there is no user id"),
        Rule("event_time_invalid", "event_time IS NULL", "the time is missing or is no time"),
        Rule("event_type_unknown", f"coalesce(event_type NOT IN ({types}), true)", "the event type is not known"),
        Rule("user_unknown", "signup_date IS NULL", "no valid user has this id"),
        Rule("out_of_history", "CAST(event_time AS DATE) <> day", "before the first day, or in the future"),
        Rule(
            "before_signup",
            f"CAST(event_time AS DATE) < signup_date - {tolerance}",
            f"too long before the user's signup (tolerance in days: {tolerance})",
        ),
        _range("watch_minutes", 0, minutes),
        _range("quiz_score", 0, 100),
        Rule("amount_invalid", _payment_without_amount(columns), "a payment's amount must be above 0"),
        _range("event_count", 1, MAX_EVENT_COUNT),
    ]
    return [*rules, Rule("duplicate", "nth > 1", "the same event came before")]


def typed_events(columns: Sequence[str]) -> str:
    """SQL: `raw` with every column typed; what cannot be typed is null, its text beside it."""
    numbers = []
    for name in EVENT_NUMBERS:
        column = identifier(name)
        numbers.append(
            f"CAST({column} AS VARCHAR) AS {name}_text, TRY_CAST({column} AS DOUBLE) AS {name}"
            if name in columns
            else f"CAST(NULL AS VARCHAR) AS {name}_text, CAST(NULL AS DOUBLE) AS {name}"
        )
    identity = [_text("event_id", columns), "CAST(row_hash AS VARCHAR)" if "row_hash" in columns else "NULL"]
    same = f"coalesce({', '.join(identity)}, CAST(row_id AS VARCHAR))"
    return (
        f"SELECT day, {_text('user_id', columns)} AS user_id, {_text('event_type', columns)} AS event_type, "
        f"event_time, {', '.join(numbers)}, {_flag('unreadable', columns)} AS unreadable, row_id, "
        f"row_number() OVER (PARTITION BY day, {same} ORDER BY row_id) AS nth FROM raw"
    )


def first_broken(rules: Sequence[Rule]) -> str:
    """SQL: the name of the first rule that a row breaks, or null."""
    return "CASE " + " ".join(f"WHEN {rule.broken} THEN {literal(rule.name)}" for rule in rules) + " END"


def on_grid(column: str) -> str:
    """SQL: a number rounded to the grid of exact sums."""
    return f"round({column} * {GRID}) / {GRID}"


def _text(name: str, columns: Sequence[str]) -> str:
    if name not in columns:
        return "CAST(NULL AS VARCHAR)"
    return f"nullif(trim(CAST({identifier(name)} AS VARCHAR)), '')"


def _flag(name: str, columns: Sequence[str]) -> str:
    return f"coalesce({name}, false)" if name in columns else "false"


def _range(name: str, low: float, high: float) -> Rule:
    unreadable = f"(nullif(trim({name}_text), '') IS NOT NULL AND {name} IS NULL)"
    outside = f"NOT ({name} BETWEEN {low} AND {high})"
    return Rule(
        f"{name}_invalid",
        f"({unreadable} OR coalesce({outside}, false))",
        f"not a number from {low:,.10g} to {high:,.10g}",
    )


def _payment_without_amount(columns: Sequence[str]) -> str:
    if "amount" not in columns:
        return "false"
    return (
        "event_type IN ('payment_success', 'payment_failed') AND NOT coalesce(amount > 0 AND isfinite(amount), false)"
    )

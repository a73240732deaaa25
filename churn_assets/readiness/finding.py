"""What a check is, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from churn_assets.readiness.premises import Premises

Outcome = Literal["pass", "warn", "fail"]
"""Fit, worth a look, or not fit for production."""

LIMIT_SECONDS = 30.0
"""A check that takes longer has failed: what it looks at hangs."""


@dataclass(frozen=True)
class Answer:
    """What a check found.

    Attributes:
        outcome: How it is.
        found: In a sentence, with numbers.
        fix: The one command or edit that mends it; empty if nothing has to be.
    """

    outcome: Outcome
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Finding:
    """An answer in its place on the checklist.

    Attributes:
        section: Title, as the runbook has it.
        check: The runbook's line, and which side of it was looked at.
        outcome: How it is.
        found: In a sentence, with numbers.
        fix: The one command or edit that mends it; empty if nothing has to be.
    """

    section: str
    check: str
    outcome: Outcome
    found: str
    fix: str


@dataclass(frozen=True)
class Check:
    """One look at one side of a line of the checklist.

    Attributes:
        line: The line, word for word.
        side: Which side of it.
        ask: Looks. Whatever it raises is a failure of the check.
        limit_seconds: How long it may take.
    """

    line: str
    side: str
    ask: Callable[[Premises], Answer]
    limit_seconds: float = LIMIT_SECONDS

    @property
    def name(self) -> str:
        """The line and the side."""
        return f"{self.line}: {self.side}"


@dataclass(frozen=True)
class Section:
    """A section of the checklist.

    Attributes:
        key: What to call it on the command line.
        title: As the runbook has it.
        checks: In the order of its lines.
    """

    key: str
    title: str
    checks: tuple[Check, ...]


def passes(found: str) -> Answer:
    """All is well."""
    return Answer("pass", found)


def warns(found: str, fix: str) -> Answer:
    """It works, and somebody should look."""
    return Answer("warn", found, fix)


def fails(found: str, fix: str) -> Answer:
    """Not fit for production."""
    return Answer("fail", found, fix)

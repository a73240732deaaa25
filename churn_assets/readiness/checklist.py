"""The runbook's checklist, section by section, and how it is gone through."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from churn_assets.readiness import api, automation, code, data, deployment, model, monitoring
from churn_assets.readiness.finding import Answer, Check, Finding, Section, fails

if TYPE_CHECKING:
    from collections.abc import Collection

    from churn_assets.readiness.premises import Premises

SECTIONS: tuple[Section, ...] = (
    code.SECTION,
    data.SECTION,
    model.SECTION,
    api.SECTION,
    deployment.SECTION,
    monitoring.SECTION,
    automation.SECTION,
)
"""In the runbook's order."""

KEYS = tuple(section.key for section in SECTIONS)


def examine(premises: Premises, only: Collection[str] = ()) -> list[Finding]:
    """Go through the checklist. Nothing that a check does stops the others, and none changes anything.

    Args:
        premises: What to look at.
        only: Keys of sections; all if none is given.
    """
    return [
        finding_of(section, check, premises)
        for section in SECTIONS
        if not only or section.key in only
        for check in section.checks
    ]


def finding_of(section: Section, check: Check, premises: Premises) -> Finding:
    """Ask one check; an error, or an answer that does not come in time, is a failure."""
    answers: list[Answer] = []
    # In a thread of its own, left behind if it hangs: a dead network file system answers nobody, ever.
    thread = threading.Thread(target=_ask, args=(section, check, premises, answers), daemon=True, name=check.name)
    thread.start()
    thread.join(check.limit_seconds)
    again = f"look at what it reads, then `churn doctor --only {section.key}`"
    answer = answers[0] if answers else fails(f"no answer within {check.limit_seconds:g} s", again)
    return Finding(section.title, check.name, answer.outcome, answer.found, answer.fix)


def _ask(section: Section, check: Check, premises: Premises, answers: list[Answer]) -> None:
    try:
        answers.append(check.ask(premises))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in one check, the others must be asked
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        found = f"{type(error).__name__}: {said}" if said else type(error).__name__
        answers.append(fails(found, f"mend what this names, then `churn doctor --only {section.key}`"))

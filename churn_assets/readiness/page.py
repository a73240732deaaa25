"""The checklist as people read it on a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churn_assets.readiness.finding import Finding, Outcome

MARKS: dict[Outcome, str] = {"pass": "pass", "warn": "warn", "fail": "FAIL"}
WIDTH = 80
INDENT = " " * 8


def is_ready(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether nothing fails; if `strict`, nothing warns either."""
    bad = {"fail", "warn"} if strict else {"fail"}
    return all(finding.outcome not in bad for finding in findings)


def lines_of(findings: Sequence[Finding], width: int = WIDTH) -> Iterator[str]:
    """The findings by section, no line longer than `width` unless a single word is."""
    for section, inside in groupby(findings, key=lambda finding: finding.section):
        yield section
        for finding in inside:
            yield from _wrapped(finding.check, width, f"  {MARKS[finding.outcome]}  ")
            yield from _wrapped(finding.found, width, INDENT)
            if finding.fix:
                yield from _wrapped(finding.fix, width, f"{INDENT}fix: ")
        yield ""
    yield _totals(findings)


def as_json(findings: Sequence[Finding], *, strict: bool) -> dict[str, Any]:
    """The same for machines."""
    from dataclasses import asdict

    counts = Counter(finding.outcome for finding in findings)
    return {
        "ready": is_ready(findings, strict=strict),
        **{outcome: counts[outcome] for outcome in MARKS},
        "findings": [asdict(finding) for finding in findings],
    }


def _totals(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.outcome for finding in findings)
    return ", ".join(f"{counts[outcome]} {mark}" for outcome, mark in MARKS.items())


def _wrapped(text: str, width: int, lead: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )

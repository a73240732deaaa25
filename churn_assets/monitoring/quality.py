"""Is the feed broken, or are people different? The remedy differs: a broken feed is mended, never learned from.

A feed breaks at once: half of the events are missing from one day to the next, minutes come in seconds, a column is
null, rows are doubled, nothing comes after noon. People change otherwise: a few percent a week, or, where it is sudden,
for good. So a volume that has lasted is the new usual; another unit or a missing column never is.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from churn_assets.monitoring import quality_rules
from churn_assets.monitoring.feed_usual import FEWEST_DAYS
from churn_assets.monitoring.quality_rules import Case, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from churn_assets.monitoring.feed_profile import FeedProfile
    from churn_assets.settings import QualitySettings

Status = Literal["OK", "FAULT"]

DAYS_WANTED = 90
"""So many days before are worth giving: another unit is told from the usual until it fills half of them."""


class FeedVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be thought of one day's feed.

    Attributes:
        day: The day.
        status: `FAULT`: what came is not what happened; nothing should be learned from it.
        headline: The status in words.
        findings: What is broken, most telling first; empty if nothing is.
        settled: Event types (None: all events) whose new volume has lasted, and counts as usual from now on.
        days_before: Days within `quality.baseline_days` that it was compared with.
    """

    day: date
    status: Status
    headline: str
    findings: list[Finding]
    settled: list[str | None]
    days_before: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def judge_feed(today: FeedProfile, before: Iterable[FeedProfile], settings: QualitySettings) -> FeedVerdict:
    """Judge one day's feed by what came before.

    Volume is compared with the same weekday of the last `baseline_days`; it is no fault any more once it has lasted for
    `settles_after_days`. Units, nulls and repeated rows are compared with all days that are given, without those that
    were broken likewise: such a fault stays one until it fills half of them.

    Args:
        today: The day.
        before: Earlier days, in any order; up to `DAYS_WANTED` of them help. Later ones are left out.
        settings: The limits.

    Returns:
        The verdict. With fewer than 7 days to compare with it only says whether there is anything usable at all.
    """
    past = sorted((profile for profile in before if profile.day < today.day), key=lambda profile: profile.day)
    case = Case(today, past, settings)
    known = len(case.recent) >= min(FEWEST_DAYS, settings.baseline_days)
    findings, settled = _found(case, known=known)
    return FeedVerdict(
        day=today.day,
        status="FAULT" if findings else "OK",
        headline=_headline(findings, settled, len(case.recent), known=known),
        findings=findings,
        settled=settled,
        days_before=len(case.recent),
    )


def remembered(verdicts: Iterable[FeedVerdict], day: date, days: int) -> list[date]:
    """Return the broken days that windows ending on `day` still contain.

    A volume that was first taken for a fault and then lasted was none: people had changed. Such days are not returned.

    Args:
        verdicts: Of the last days, in any order; others are left out.
        day: The last day of the windows.
        days: Their length.

    Returns:
        The days, oldest first; empty if none of the last `days` days was broken.
    """
    within = [verdict for verdict in verdicts if 0 <= (day - verdict.day).days < days]
    return sorted(verdict.day for verdict in within if any(not _lasted(it, verdict, within) for it in verdict.findings))


def _found(case: Case, *, known: bool) -> tuple[list[Finding], list[str | None]]:
    """What is broken, and whose new volume has settled."""
    if not case.today.rows:
        return quality_rules.nothing_came(case, known=known), []
    if not known:
        return quality_rules.required(case), []
    volumes, settled = quality_rules.volume(case)
    others = (
        quality_rules.scale(case),
        quality_rules.required(case),
        quality_rules.nulls(case),
        quality_rules.duplicates(case),
        quality_rules.cut_off(case),
    )
    return [*volumes, *(finding for found in others for finding in found)], settled


def _headline(findings: Sequence[Finding], settled: Sequence[str | None], days: int, *, known: bool) -> str:
    if findings:
        more = f" And {len(findings) - 1} more." if len(findings) > 1 else ""
        return f"The feed looks broken. {findings[0].words}{more}"
    if not known:
        return f"The feed could not be judged: {days} days to compare with, {FEWEST_DAYS} are needed."
    if settled:
        names = ", ".join(name or "all events" for name in settled)
        return f"The feed is as usual; a new volume has lasted and counts as usual now: {names}."
    return "The feed is as usual."


def _lasted(finding: Finding, verdict: FeedVerdict, others: Sequence[FeedVerdict]) -> bool:
    """Whether a later verdict knows that this volume was a new level."""
    later = {name for other in others if other.day > verdict.day for name in other.settled}
    return finding.kind in {"volume_low", "volume_high"} and (finding.event_type in later or None in later)

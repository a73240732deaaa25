"""PR-AUC by week as a small drawing: what came true with its interval, and what the scores promised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.monitoring.performance.estimated import Estimated, Interval
    from churn_assets.monitoring.performance.weeks import Week

WIDTH, HEIGHT = 960, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 12, 26

LABELS = 8
"""Weeks that are named below the drawing; at most so many."""


@dataclass(frozen=True)
class _Frame:
    """Where weeks and values lie in the drawing."""

    places: int
    highest: float

    def x(self, place: int) -> float:
        return LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / self.places

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.highest * (HEIGHT - TOP - BOTTOM)

    def at(self, place: int, value: float) -> str:
        return f"{self.x(place):.1f},{self.y(value):.1f}"


def picture(weeks: Sequence[Week], estimated: Estimated | None) -> str:
    """Draw PR-AUC by week.

    Args:
        weeks: Oldest first; at least one has a PR-AUC.
        estimated: The day scored last, drawn after the weeks; None leaves it out.

    Returns:
        An SVG element.
    """
    shown = [week for week in weeks if week.batch.pr_auc is not None]
    ahead = _ahead(estimated)
    frame = _Frame(len(shown) + bool(ahead), _highest(shown, ahead))
    realised = [week.batch.pr_auc for week in shown]
    parts = [
        _grid(frame),
        "".join(_whisker(frame, place, week) for place, week in enumerate(shown)),
        _line(frame, "real", realised),
        _line(frame, "promise", [week.batch.promised.pr_auc for week in shown]),
        "".join(_dot(frame, place, week) for place, week in enumerate(shown)),
        _names(frame, shown),
        _estimate(frame, len(shown), *ahead) if ahead else "",
    ]
    return (
        f'<svg class="weeks" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="PR-AUC by week, realised and promised">{"".join(parts)}</svg>'
    )


def _ahead(estimated: Estimated | None) -> tuple[float, Interval] | None:
    if estimated is None or estimated.expected.pr_auc is None:
        return None
    value = estimated.expected.pr_auc
    return value, estimated.intervals.get("pr_auc", (value, value))


def _highest(weeks: Sequence[Week], ahead: tuple[float, Interval] | None) -> float:
    values = [ahead[1][1]] if ahead else []
    for week in weeks:
        told = week.batch
        values += [told.intervals.get("pr_auc", (0.0, told.pr_auc or 0.0))[1], told.promised.pr_auc or 0.0]
    return max(math.ceil(10 * max(values)) / 10, 0.1)


def _grid(frame: _Frame) -> str:
    lines = ""
    for value in (0.0, frame.highest / 2, frame.highest):
        y = frame.y(value)
        lines += f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        lines += f'<text x="0" y="{y + 4:.1f}">{value:.2f}</text>'
    return lines


def _whisker(frame: _Frame, place: int, week: Week) -> str:
    interval = week.batch.intervals.get("pr_auc")
    return _vertical(frame, "whisker", place, interval) if interval else ""


def _vertical(frame: _Frame, kind: str, place: int, interval: Interval) -> str:
    x = f"{frame.x(place):.1f}"
    low, high = (f"{frame.y(value):.1f}" for value in interval)
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'


def _line(frame: _Frame, kind: str, values: Sequence[float | None]) -> str:
    points = " ".join(frame.at(place, value) for place, value in enumerate(values) if value is not None)
    return f'<polyline class="{kind}" points="{points}"/>'


def _dot(frame: _Frame, place: int, week: Week) -> str:
    value = week.batch.pr_auc or 0.0
    promised = week.batch.promised.pr_auc or 0.0
    x, y = frame.at(place, value).split(",")
    told = f"{week.week}: {value:.3f} came true, {promised:.3f} promised, {week.batch.rows:,} predictions"
    return f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"><title>{told}</title></circle>'


def _names(frame: _Frame, weeks: Sequence[Week]) -> str:
    step = math.ceil(len(weeks) / LABELS)
    return "".join(
        f'<text x="{frame.x(place):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{week.week}</text>'
        for place, week in enumerate(weeks)
        if place % step == 0
    )


def _estimate(frame: _Frame, place: int, value: float, interval: Interval) -> str:
    x, y = frame.at(place, value).split(",")
    told = f"estimated now: {value:.3f}"
    dot = f'<circle class="ahead-dot" cx="{x}" cy="{y}" r="3.5"><title>{told}</title></circle>'
    return _vertical(frame, "ahead", place, interval) + dot

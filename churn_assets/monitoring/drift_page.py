"""The drift report as a page: the verdict in words, then the score, then every feature, most moved first."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from churn_assets.monitoring.drift_style import CSS
from churn_assets.monitoring.drift_words import shown
from churn_assets.monitoring.evidently_page import evidently_page
from churn_assets.monitoring.reference import HISTOGRAM_EDGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from churn_assets.monitoring.drift import DriftReport, Population, Thresholds
    from churn_assets.monitoring.reference import Shift

__all__ = ["drift_page", "evidently_page"]

HEIGHT = 100
"""Units that the tallest bar of a picture takes."""

MINI_WIDTH, MINI_HEIGHT = 120, 26
"""Pixels of a feature's picture."""

_TICKS = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
_STATUS_WORDS = {"OK": "No drift", "WARN": "Warning", "FAIL": "Drift alert"}
_LIMIT_KEYS = '<span><i class="key limit"></i>alert</span><span><i class="key chance"></i>by chance</span>'
_READING = """
<p><b>PSI</b> (population stability index) sums, over bins, how much a share changed: 0 is no change; by custom, from
0.1 on it is worth a look and from 0.25 on it is large (Siddiqi 2006). Bins are deciles of the reference; missing
values, values beyond the reference's range and unseen categories have bins of their own.</p>
<p><b>By chance</b> is what the index stays below in 999 of 1,000 cases when nothing changed, given how many users there
are then and now (Yurdakul 2018). An index below it says nothing and never alarms.</p>
<p>Only <b>scores</b> alert, on several days in a row: when they have moved, or when they <b>promise</b> less, which is
the ROC-AUC they would reach if each risk came true as often as it says. A feature that moves may do no harm to the
model, so by itself it only warns; its <b>weight</b> is its share in what moves scores.</p>
"""


def drift_page(report: DriftReport, evidently: str | None = None) -> str:
    """Render a drift report.

    Args:
        report: What to show.
        evidently: Where Evidently's page of the same day lies, relative to this one; None if there is none.

    Returns:
        One self-contained HTML page.
    """
    body = "".join(
        [_top(report), _tiles(report), _why(report), _scores(report), _features(report), _populations(report)]
    )
    reading = f"<section><h2>How to read this</h2>{_READING}{_elsewhere(evidently)}</section>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_STATUS_WORDS[report.status]} · {report.as_of_date}</title><style>{CSS}</style></head>"
        f"<body><main>{body}{reading}</main></body></html>\n"
    )


def _top(report: DriftReport) -> str:
    return (
        f'<p class="eyebrow">Drift report · {report.as_of_date} · {escape(report.model_version)}</p>'
        f'<span class="status {report.status}">{_STATUS_WORDS[report.status]}</span>'
        f"<h1>{escape(report.headline)}</h1>"
        f'<p class="lede"><b>What to do:</b> {_marked(report.what_to_do)}</p>'
    )


def _tiles(report: DriftReport) -> str:
    limits = report.thresholds
    moved = sum(shift.reaches(limits.alert_psi) for shift in report.features)
    chance = f"; by chance below {report.score.noise.limit:.3f}" if report.score else ""
    tiles = [
        (_index(report.score_psi), f"PSI of the score; alert from {limits.alert_score_psi:g}{chance}"),
        (_index(report.signal.promised_roc_auc), _promise_words(report)),
        (f"{report.days_in_a_row} of {limits.consecutive_days}", "days in a row, of those that make an alert"),
        (f"{moved} of {len(report.features)}", f"features with a PSI of {limits.alert_psi:g} or more"),
        (_percent(report.current.mean_score), f"mean risk; {_percent(report.reference.mean_score)} in the reference"),
        (f"{report.current.users:,}", f"users now; {report.reference.users:,} in the reference"),
    ]
    return f'<div class="tiles">{"".join(_tile(*tile) for tile in tiles)}</div>'


def _promise_words(report: DriftReport) -> str:
    drop = report.signal.promise_drop
    compared = "" if drop is None else f"; {abs(drop):.3f} {'less' if drop >= 0 else 'more'} than in the holdout"
    return f"ROC-AUC that the scores promise{compared}, alert from {report.thresholds.alert_promise_drop:g} less"


def _tile(value: str, words: str) -> str:
    return f'<div class="tile"><b>{value}</b><span>{words}</span></div>'


def _why(report: DriftReport) -> str:
    items = "".join(f"<li>{_marked(reason)}</li>" for reason in report.reasons)
    return f"<section><h2>Why</h2><ul>{items}</ul></section>"


def _scores(report: DriftReport) -> str:
    then, now = _shares(report.reference.score_histogram), _shares(report.current.score_histogram)
    top = max(*then, *now) or 1.0
    ticks = "".join(f'<span style="left:{_position(share):.1f}%">{100 * share:.0f} %</span>' for share in _TICKS)
    return (
        "<section><h2>Scores, then and now</h2>"
        '<p class="soft">Users by risk of churn, finer where risks are small. The highest bar or step holds '
        f"{_percent(top)} of them.</p>"
        f"{_key()}"
        f'<svg class="histogram" viewBox="0 0 {len(then)} {HEIGHT}" preserveAspectRatio="none" role="img" '
        'aria-label="Histogram of the scores in the reference and now">'
        f'{_bars(then, top)}<path class="line-now" d="{_steps(now, top)}"/></svg>'
        f'<div class="axis">{ticks}</div></section>'
    )


def _bars(shares: Sequence[float], top: float) -> str:
    return "".join(
        f'<rect class="fill-then" x="{place + 0.04:g}" width="0.92" y="{HEIGHT - _tall(share, top):g}" '
        f'height="{_tall(share, top):g}"/>'
        for place, share in enumerate(shares)
    )


def _steps(shares: Sequence[float], top: float) -> str:
    heights = [f"V{HEIGHT - _tall(share, top):g}H{place + 1}" for place, share in enumerate(shares)]
    return f"M0,{HEIGHT}{''.join(heights)}V{HEIGHT}"


def _position(share: float) -> float:
    """Where a probability lies on the axis, in percent of its length."""
    first, last = HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1]
    return float(100 * (math.log(share / (1 - share)) - first) / (last - first))


def _tall(share: float, top: float) -> float:
    return round(share / top * (HEIGHT - 4), 2)


def _features(report: DriftReport) -> str:
    if not report.features:
        return ""
    weights = report.importance
    limits = report.thresholds
    limit = limits.alert_psi
    scale = max(2 * limit, *(min(shift.psi, 4 * limit) for shift in report.features))
    rows = "".join(_row(shift, limits, scale, weights.get(shift.name)) for shift in report.features)
    return (
        "<section><h2>Features, most moved first</h2>"
        '<p class="soft">Each picture shows the share of every bin; point at a bar for its numbers. The last bar is '
        "missing values, the one before it what training never saw, if there is any.</p>"
        f"{_key(_LIMIT_KEYS)}"
        '<div class="wide"><table><thead><tr><th>Feature</th><th class="number">PSI</th><th></th>'
        '<th class="number extra">By chance</th><th>Then and now</th><th class="number extra">Weight</th>'
        '<th class="number extra">Typical</th>'
        '<th class="number extra">Missing</th><th class="number extra">Never seen</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _row(shift: Shift, limits: Thresholds, scale: float, weight: float | None) -> str:
    calm = "" if shift.reaches(limits.warn_psi) else " calm"
    gone = '<br><span class="status FAIL">gone</span>' if shift.vanished else ""
    cells = [
        f'<td class="name">{escape(shift.name).replace("_", "_<wbr>")}{gone}</td>',
        f'<td class="number{calm}">{shift.psi:.3f}</td>',
        f"<td>{_meter(shift, limits.alert_psi, scale)}</td>",
        f'<td class="number extra calm">{shift.noise.limit:.3f}</td>',
        f"<td>{_picture(shift)}</td>",
        f'<td class="number extra calm">{_percent(weight)}</td>',
        f'<td class="number extra">{_change(escape(shown(shift.typical_then)), escape(shown(shift.typical_now)))}</td>',
        f'<td class="number extra">{_change(_percent(shift.missing_then), _percent(shift.missing_now))}</td>',
        f'<td class="number extra calm">{_percent(shift.outside_now)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _meter(shift: Shift, limit: float, scale: float) -> str:
    moved = ' class="moved"' if shift.reaches(limit) else ""
    marks = f'<u style="left:{_along(limit, scale)}"></u>'
    if shift.noise.limit < scale:
        marks += f'<u class="chance" style="left:{_along(shift.noise.limit, scale)}"></u>'
    return f'<div class="meter"><i{moved} style="width:{_along(shift.psi, scale)}"></i>{marks}</div>'


def _along(value: float, scale: float) -> str:
    return f"{100 * min(value / scale, 1.0):.1f}%"


def _picture(shift: Shift) -> str:
    """Two bars a bin, then and now; bins that are empty in both are left out."""
    bins = zip(shift.bins, shift.shares_then, shift.shares_now, strict=True)
    used = [(label, then, now) for label, then, now in bins if then or now]
    top = max(max(then, now) for _, then, now in used)
    width = MINI_WIDTH / len(used)
    groups = "".join(_pair(place * width, width, top, *each) for place, each in enumerate(used))
    return (
        f'<svg width="{MINI_WIDTH}" height="{MINI_HEIGHT}" role="img" '
        f'aria-label="Distribution of {escape(shift.name)}">{groups}</svg>'
    )


def _pair(left: float, width: float, top: float, label: str, then: float, now: float) -> str:  # noqa: PLR0913, PLR0917
    bar = min(width * 0.42, 12.0)
    return (
        f"<g><title>{escape(label)}: {_percent(then)} then, {_percent(now)} now</title>"
        f"{_bar('then', left, bar, then / top)}{_bar('now', left + bar, bar, now / top)}</g>"
    )


def _bar(kind: str, left: float, width: float, share: float) -> str:
    height = share * MINI_HEIGHT
    return (
        f'<rect class="fill-{kind}" x="{left:.1f}" y="{MINI_HEIGHT - height:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"/>'
    )


def _populations(report: DriftReport) -> str:
    limits = report.thresholds
    rows = {
        "Reference": _population(report.reference),
        "Now": _population(report.current),
        "Model": report.model_version,
        "Limits": f"score: warning from {limits.warn_score_psi:g}, alert from {limits.alert_score_psi:g}; "
        f"features: worth a look from {limits.warn_psi:g}, warning from {limits.alert_psi:g}",
        "Feed": "sound" if report.feed.status == "OK" else "broken: the verdict is held back",
        "New columns": ", ".join(report.new_columns) or "none",
        "Vanished": ", ".join(report.vanished_columns) or "none",
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())
    return f"<section><h2>What was compared</h2><dl>{items}</dl></section>"


def _population(population: Population) -> str:
    one_day = population.first_date == population.last_date
    dates = f"{population.first_date}" if one_day else f"{population.first_date} to {population.last_date}"
    return f"{dates}, {population.users:,} users, {population.rows:,} rows"


def _elsewhere(link: str | None) -> str:
    if link is None:
        return ""
    return (
        f'<p><a href="{escape(link)}">Evidently\'s page of this day</a> draws every distribution in more detail, '
        "on a sample. Its drift score is the Jensen-Shannon distance, another measure than PSI; it decides nothing.</p>"
    )


def _key(more: str = "") -> str:
    both = '<span><i class="key then"></i>reference</span><span><i class="key now"></i>now</span>'
    return f'<div class="keys">{both}{more}</div>'


def _marked(text: str) -> str:
    """Escaped, with `code` set as such."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _shares(counts: Iterable[int]) -> list[float]:
    listed = list(counts)
    total = sum(listed)
    return [count / total if total else 0.0 for count in listed]


def _change(then: str, now: str) -> str:
    return f'<span class="calm">{now}</span>' if then == now else f"{then} → {now}"


def _index(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    if share is None:
        return "none"
    if 0 < share < 0.001:
        return "&lt; 0.1 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"

"""The performance report as a page: the verdict in words, what came true by week, what is promised now."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from churn_assets.monitoring.drift_style import CSS
from churn_assets.monitoring.performance.picture import picture
from churn_assets.monitoring.performance.words import percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_assets.monitoring.performance.estimated import Interval
    from churn_assets.monitoring.performance.realised import Performance
    from churn_assets.monitoring.performance.report import PerformanceReport, Status
    from churn_assets.monitoring.performance.weeks import Week

_STATUS_WORDS: dict[Status, str] = {
    "OK": "As promised",
    "WARN": "Warning",
    "FAIL": "Performance alert",
    "UNKNOWN": "Not known yet",
}
_CSS = """
.UNKNOWN { color: var(--soft); background: var(--fill); }
.weeks { width: 100%; height: auto; }
.weeks text { fill: var(--soft); font-size: 11px; } .weeks .grid { stroke: var(--line); }
.weeks .band { fill: var(--now); opacity: 0.18; } .weeks .whisker { stroke: var(--now); opacity: 0.5; }
.weeks .real { fill: none; stroke: var(--now); stroke-width: 2.5; stroke-linejoin: round; }
.weeks .dot { fill: var(--now); }
.weeks .promise { fill: none; stroke: var(--limit); stroke-width: 2; stroke-dasharray: 5 4; }
.weeks .ahead { stroke: var(--limit); stroke-width: 2; } .weeks .ahead-dot { fill: var(--limit); }
.key.promise { background: var(--limit); }
"""
_READING = """
<p><b>PR-AUC</b> (average precision) is the mean share of leavers among the highest risks, from a list of one to a list
that has them all; a list in random order has the share of all who leave. <b>ROC-AUC</b> is how often, of two users of
whom one leaves, the right one has the higher risk; 0.5 is chance. <b>Brier</b> and <b>ECE</b> say how far
probabilities are from what happens: 0 is perfect.</p>
<p><b>Expected PR-AUC</b> is what the same scores promise if as many leave as did. If the model is calibrated and
nothing has changed, the realised PR-AUC is the expected one, whatever the population. A lower one means that the scores
have lost their meaning. <b>Expected ROC-AUC</b> is that of the model's holdout.</p>
<p><b>Intervals</b> hold 95 % of what chance explains, over users. <b>Precision at 50</b> is of each day's short
list.</p>
"""


def performance_page(report: PerformanceReport) -> str:
    """Render a performance report.

    Args:
        report: What to show.

    Returns:
        One self-contained HTML page.
    """
    body = "".join([_top(report), _tiles(report), _why(report), _picture(report), _now(report), _table(report)])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_STATUS_WORDS[report.status]} · {report.as_of_date}</title><style>{CSS}{_CSS}</style></head>"
        f"<body><main>{body}<section><h2>How to read this</h2>{_READING}</section></main></body></html>\n"
    )


def _top(report: PerformanceReport) -> str:
    model = escape(report.model_version or "no model serves")
    return (
        f'<p class="eyebrow">Performance report · {report.as_of_date} · {model}</p>'
        f'<span class="status {report.status}">{_STATUS_WORDS[report.status]}</span>'
        f"<h1>{escape(report.headline)}</h1>"
        f'<p class="lede"><b>What to do:</b> {_marked(report.what_to_do)}</p>'
    )


def _tiles(report: PerformanceReport) -> str:
    judged = report.judged.performance
    tiles = [
        (_number(judged.pr_auc), f"PR-AUC; {_number(report.expected.pr_auc)} expected"),
        (_number(judged.roc_auc), f"ROC-AUC; {_number(report.expected.roc_auc)} expected"),
        (percent(judged.prevalence), f"left; {percent(judged.mean_score)} were expected to"),
        (percent(judged.precision_at_50), "of the daily short lists of 50 left"),
    ]
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{words}</span></div>' for value, words in tiles)
    return f'<div class="tiles">{cells}</div>'


def _why(report: PerformanceReport) -> str:
    items = "".join(f"<li>{_marked(reason)}</li>" for reason in report.reasons)
    since = f"<p><b>The alert stands since {report.alert.since}.</b></p>" if report.alert else ""
    judged = report.judged
    what = (
        f'<p class="soft">Judged: {judged.performance.rows:,} predictions as of {judged.first_date} to '
        f"{judged.last_date}, {judged.performance.positives:,} of them of users who left.</p>"
    )
    return f"<section><h2>Why</h2>{since}<ul>{items}</ul>{what}</section>"


def _picture(report: PerformanceReport) -> str:
    if not any(week.batch.pr_auc is not None for week in report.weeks):
        return ""
    keys = (
        '<div class="keys"><span><i class="key now"></i>came true, with its interval</span>'
        '<span><i class="key promise"></i>promised by the scores; last, the day scored last</span></div>'
    )
    return f"<section><h2>PR-AUC by week of prediction</h2>{keys}{picture(report.weeks, report.estimated)}</section>"


def _now(report: PerformanceReport) -> str:
    if report.estimated is None:
        return ""
    told = report.estimated
    rows = {
        "Day": f"{told.as_of_date}, {told.rows:,} users, {told.model_version or 'no model'}",
        "Labels known on": str(told.labels_mature_on),
        "PR-AUC": _with(told.expected.pr_auc, told.intervals.get("pr_auc")),
        "ROC-AUC": _with(told.expected.roc_auc, told.intervals.get("roc_auc")),
        "Brier": _with(told.expected.brier, told.intervals.get("brier")),
        "Precision at 50": _with(told.expected.precision_at_50, told.intervals.get("precision_at_50")),
        "Will leave": _with(told.expected.churned, told.intervals.get("churned")),
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())
    caution = f'<p class="soft">{escape(told.caution)}</p>'
    return f"<section><h2>Estimated, before labels mature</h2>{caution}<dl>{items}</dl></section>"


def _table(report: PerformanceReport) -> str:
    if not report.weeks:
        return ""
    heads = ("PR-AUC", "promised", "ROC-AUC", "Brier", "ECE", "At 50", "Left", "Said", "Rows")
    extra = {"Brier", "ECE", "Said", "Rows"}
    columns = "".join(f'<th class="number{" extra" if head in extra else ""}">{head}</th>' for head in heads)
    rows = "".join(row for week in reversed(report.weeks) for row in _rows(week))
    return (
        '<section><h2>By week of prediction and by model</h2><div class="wide"><table><thead><tr><th>Week</th>'
        f"<th>Predicted by</th>{columns}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _rows(week: Week) -> Iterator[str]:
    name = week.week if week.is_complete else f"{week.week} (so far)"
    if len(week.by_version) != 1:
        yield _row(name, "all", week.batch)
    for performance in week.by_version:
        yield _row(name, performance.model_version or "", performance)
    if week.http is not None:
        yield _row(name, "the service", week.http)


def _row(week: str, by: str, told: Performance) -> str:
    cells = [
        f"<td>{week}</td>",
        f'<td class="name">{escape(by).replace("_", "_<wbr>")}</td>',
        f'<td class="number">{_with(told.pr_auc, told.intervals.get("pr_auc"))}</td>',
        f'<td class="number calm">{_number(told.promised.pr_auc)}</td>',
        f'<td class="number">{_number(told.roc_auc)}</td>',
        f'<td class="number extra">{_number(told.brier)}</td>',
        f'<td class="number extra">{_number(told.ece)}</td>',
        f'<td class="number">{percent(told.precision_at_50)}</td>',
        f'<td class="number">{percent(told.prevalence)}</td>',
        f'<td class="number extra calm">{percent(told.mean_score)}</td>',
        f'<td class="number extra calm">{told.rows:,}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _with(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return _number(value)
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _marked(text: str) -> str:
    """Escaped, with `code` set as such."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))

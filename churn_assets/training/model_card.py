"""A model's card: one HTML page that says what the model is for, how good it is, and how to be rid of it.

It stands alone: no script, no font, no picture from elsewhere. Whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import datetime as dt
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.training.card_style import CSS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from churn_assets.training.bootstrap import Estimate
    from churn_assets.training.breakdown import Importance, Segment
    from churn_assets.training.evaluation import Bands, Evaluation
    from churn_assets.training.gates import Gate, Verdict
    from churn_assets.training.splits import Dates, DateSplit

MODEL_NAMES = {"logistic_regression": "logistic regression", "hist_gradient_boosting": "gradient boosting"}
"""Model types in words."""

_GATES = {
    "pr_auc": "PR-AUC",
    "pr_auc_lift": "PR-AUC over prevalence",
    "beats_recency": "Better than recency alone",
    "not_worse_than_champion": "Not worse than production",
    "ece": "Calibration",
    "golden_rows": "Golden rows",
    "latency": "Latency",
}
_MOST_FEATURES = 15


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the card tells.

    Attributes:
        version: The model's version: its file's stem.
        role: `baseline` or `candidate`.
        model_type: `logistic_regression` or `hist_gradient_boosting`.
        created_at: When it was trained (UTC).
        decision: In a word or two: `promoted`, `refused`, `not chosen`, ...
        decision_why: Why, in one sentence.
        active_within_days: Who is scored: users active in this many days.
        window_days: What is predicted: no activity in this many days after the as-of date.
        evaluation: The test.
        verdict: The gates.
        bands: Where risk becomes medium and high.
        champion: Version it was compared with; None if there was none.
        champion_difference: PR-AUC of this model minus the champion's, paired; None if there was none.
        segments: The test by segment.
        importance: Features, most important first.
        importance_meaning: What an importance is, as a sentence.
        split: The history and how it was cut.
        training_rows: Rows learnt from.
        calibration_rows: Rows calibrated on.
        feature_count: Features the model takes.
        absent_features: Features the source has no data for.
        source: Where the data came from, in words.
        data_fingerprint: Digest of the training data.
        code_version: Version of the code.
        environment: Pairs of package and version.
        seed: Seed of everything random.
        previous_version: Version to go back to; None if there is none.
        precision_recall_svg: As `plots.precision_recall_svg` draws it.
        calibration_svg: As `plots.calibration_svg` draws it.
        scores_svg: As `plots.score_distribution_svg` draws it.
    """

    version: str
    role: str
    model_type: str
    created_at: dt.datetime
    decision: str
    decision_why: str
    active_within_days: int
    window_days: int
    evaluation: Evaluation
    verdict: Verdict
    bands: Bands
    champion: str | None
    champion_difference: Estimate | None
    segments: tuple[Segment, ...]
    importance: tuple[Importance, ...]
    importance_meaning: str
    split: DateSplit
    training_rows: int
    calibration_rows: int
    feature_count: int
    absent_features: tuple[str, ...]
    source: str
    data_fingerprint: str
    code_version: str
    environment: tuple[tuple[str, str], ...]
    seed: int
    previous_version: str | None
    precision_recall_svg: bytes
    calibration_svg: bytes
    scores_svg: bytes


def render_model_card(card: ModelCard) -> str:
    """Render the card as one self-contained HTML page."""
    sections = (
        _gates(card),
        _numbers(card),
        _pictures(card),
        _features(card),
        _segments(card),
        _history(card),
        _use(card),
        _provenance(card),
        _going_back(card),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(card.version)} – model card</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{_head(card)}\n{chr(10).join(sections)}\n</main>\n</body>\n</html>\n"
    )


def _head(card: ModelCard) -> str:
    test = card.evaluation
    tone = "no" if not card.verdict.passed else "yes" if card.decision == "promoted" else ""
    chips = (
        f'<li class="chip {tone}">{_text(card.decision)}</li>'
        f'<li class="chip">{_text(card.role)}</li><li class="chip">{_text(_model_name(card))}</li>'
        f'<li class="chip">trained {card.created_at:%Y-%m-%d %H:%M} UTC</li>'
    )
    lift = "" if test.lift_at_10pct is None else f", {test.lift_at_10pct:.1f} times as many as on average"
    return (
        f'<header>\n<p class="eyebrow">Churn model card</p>\n<h1 class="mono">{_text(card.version)}</h1>\n'
        f'<ul class="chips">{chips}</ul>\n'
        f'<p class="lede">For each user who was active in the last {card.active_within_days} days, this model gives '
        f"the probability that they do nothing at all in the {card.window_days} days to come. In its test, of those in "
        f"the riskiest tenth {_percent(test.precision_at_10pct)} left{lift}.</p>\n"
        f'<p class="soft">{_text(card.decision_why)}</p>\n{_tiles(test)}\n</header>'
    )


def _tiles(test: Evaluation) -> str:
    tiles = (
        (_number(test.pr_auc.value), "PR-AUC", f"guessing reaches {test.prevalence:.3f}"),
        (_number(test.roc_auc.value), "ROC-AUC", f"recency alone {_number(test.recency_roc_auc.value)}"),
        (_number(test.ece.value), "calibration error", "0 is perfect"),
        (_number(test.lift_at_10pct, "×", 1), "lift in the riskiest tenth", f"{test.n_users:,} users tested"),
    )
    shown = (f'<div class="tile"><b>{value}</b>{name}<span>{note}</span></div>' for value, name, note in tiles)
    return f'<div class="tiles">{"".join(shown)}</div>'


def _gates(card: ModelCard) -> str:
    rows = (_gate_row(gate) for gate in card.verdict.gates)
    failed = len(card.verdict.reasons)
    title = "All gates passed" if card.verdict.passed else f"{failed} of {len(card.verdict.gates)} gates failed"
    return _section(title, _table(("", "Gate", "Why"), rows))


def _gate_row(gate: Gate) -> str:
    mark = '<span class="mark yes">✓ pass</span>' if gate.passed else '<span class="mark no">✗ fail</span>'
    name = _GATES.get(gate.name, gate.name)
    return f"<tr><td>{mark}</td><td>{_text(name)}</td><td>{_text(gate.why)}</td></tr>"


def _numbers(card: ModelCard) -> str:
    test = card.evaluation
    rows = [
        _metric("PR-AUC", test.pr_auc, test.recency_pr_auc.value, f"ranking; guessing reaches {test.prevalence:.3f}"),
        _metric("ROC-AUC", test.roc_auc, test.recency_roc_auc.value, "ranking; guessing reaches 0.5"),
        _metric("Lead over recency", test.gain_over_recency, None, "PR-AUC minus that of recency alone, paired"),
        _metric("Brier score", test.brier, None, "mean squared error of the probability; lower is better"),
        _metric("Calibration error", test.ece, None, "mean gap between said and happened; lower is better"),
        _plain_metric("Log loss", test.log_loss, "in nats; lower is better"),
        _plain_metric("Precision in the top 50", test.precision_at_50, "of all test rows"),
        _plain_metric("Precision in the top tenth", test.precision_at_10pct, "share of them that left"),
        _plain_metric("Recall in the top tenth", test.recall_at_10pct, "share of the leavers found there"),
        _plain_metric("Lift in the top tenth", test.lift_at_10pct, "precision there over prevalence"),
    ]
    if card.champion is not None and card.champion_difference is not None:
        rows.insert(3, _metric("Lead over production", card.champion_difference, None, f"against {card.champion}"))
    heads = ("Measure", "#This model", "#95% interval", "#Recency alone", "!What it is")
    note = (
        f"{test.n_rows:,} rows of {test.n_users:,} users, of which {_percent(test.prevalence)} left. "
        "The intervals come from resampling whole users."
    )
    return _section("The test in numbers", f'<p class="soft">{note}</p>{_table(heads, rows)}')


def _metric(name: str, estimate: Estimate, recency: float | None, meaning: str) -> str:
    interval = "–" if estimate.low is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
    beside = "" if recency is None else _number(recency)
    return (
        f'<tr><td>{_text(name)}</td><td class="number"><b>{_number(estimate.value)}</b></td>'
        f'<td class="number">{interval}</td><td class="number">{beside}</td>'
        f'<td class="meaning soft">{_text(meaning)}</td></tr>'
    )


def _plain_metric(name: str, value: float | None, meaning: str) -> str:
    return (
        f'<tr><td>{name}</td><td class="number"><b>{_number(value)}</b></td><td></td><td></td>'
        f'<td class="meaning soft">{meaning}</td></tr>'
    )


def _pictures(card: ModelCard) -> str:
    pictures = (
        (card.precision_recall_svg, "Precision against recall, with recency alone and guessing beside the model"),
        (card.calibration_svg, "Share that left against mean risk, in equal bins"),
    )
    images = "".join(_image(svg, alt) for svg, alt in pictures)
    return _section("The test in pictures", f'<div class="plots">{images}</div>')


def _image(svg: bytes, alt: str) -> str:
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'


def _features(card: ModelCard) -> str:
    shown = card.importance[:_MOST_FEATURES]
    longest = max((one.value for one in shown), default=0.0)
    bars = "".join(
        f'<div>{_text(one.phrase or one.feature)}</div><div class="bar" style="width:{_share(one.value, longest)}%">'
        f'</div><div class="number">{_number(one.value)}</div>'
        for one in shown
    )
    return _section(
        "What it goes by",
        f'<p class="soft">{_text(card.importance_meaning)} Shown: {len(shown)} of {card.feature_count} features, '
        f'strongest first.</p><div class="bars">{bars}</div>',
    )


def _segments(card: ModelCard) -> str:
    rows, column = [], None
    for one in card.segments:
        if one.column != column:
            column = one.column
            rows.append(f'<tr class="group"><td colspan="6">{_text(column.replace("_", " "))}</td></tr>')
        rows.append(_segment_row(one))
    heads = ("Segment", "#Rows", "#Left", "#Mean risk", "#PR-AUC", "#ROC-AUC")
    note = "Where mean risk and the share that left are far apart, the risks of that group are off."
    return _section("By segment", f'<p class="soft">{note}</p>{_table(heads, rows)}')


def _segment_row(one: Segment) -> str:
    cells = (
        f"{one.n_rows:,}",
        _percent(one.prevalence),
        _percent(one.mean_score),
        _number(one.pr_auc),
        _number(one.roc_auc),
    )
    return f"<tr><td>{_text(one.level)}</td>{''.join(f'<td class=number>{cell}</td>' for cell in cells)}</tr>"


def _history(card: ModelCard) -> str:
    split = card.split
    by_user = split.calibration_by == "user"
    first, last = split.training[0], split.test[-1]
    held_back = f"{split.calibration_user_share:.0%} of the users of the training period" if by_user else ""
    rows = (
        _part_row("training", _span(split.training), card.training_rows),
        _part_row("calibration", held_back or _span(split.calibration), card.calibration_rows),
        _part_row("test", _span(split.test), card.evaluation.n_rows),
        _part_row("embargo", f"{split.embargo_days} days, the label window, that no part uses", None),
    )
    return _section(
        "The history it was made from",
        f'<div class="time" role="img" aria-label="Training, calibration and test in time">{_time_line(split)}</div>'
        f'<div class="ends"><span>{first}</span><span>{last}</span></div>'
        f"{_table(('Part', 'As-of dates', '#Rows'), rows)}<p class=soft>{_text(split.note)}</p>",
    )


def _time_line(split: DateSplit) -> str:
    named = [("training", split.training), ("calibration", split.calibration), ("test", split.test)]
    parts = [part for part in named if part[0] != "calibration" or split.calibration_by == "date"]
    spans, end = [], None
    for name, dates in parts:
        if end is not None:
            spans.append(_stretch("embargo", (dates[0] - end).days - 1))
        spans.append(_stretch(name, (dates[-1] - dates[0]).days + 1))
        end = dates[-1]
    return "".join(spans)


def _stretch(name: str, days: int) -> str:
    return f'<span class="{name}" style="flex:{days}" title="{name}: {days} days"></span>'


def _part_row(name: str, what: str, rows: int | None) -> str:
    count = "" if rows is None else f"{rows:,}"
    key = f'<span class="key {name}"></span>{name}'
    return f'<tr><td class="name">{key}</td><td>{what}</td><td class="number">{count}</td></tr>'


def _use(card: ModelCard) -> str:
    at, bands = card.evaluation.at_threshold, card.bands
    words = (
        f"<p><b>High</b> is {bands.high:.3f} and more: the point where precision and recall balanced best (F1) before "
        f"the test. In the test that was {_percent(at.flagged_share)} of the rows; {_percent(at.precision)} of them "
        f"left, and they were {_percent(at.recall)} of all who left.</p>"
        f"<p><b>Medium</b> is {bands.medium:.3f} and more. <b>Low</b> is the rest.</p>"
        "<p class=soft>The model tells who is likely to leave, not why, and not who can be kept. It has never seen "
        f"users who were already away for more than {card.active_within_days} days, and says nothing about them.</p>"
    )
    picture = _image(card.scores_svg, "How the risks of those who stayed and of those who left are spread")
    return _section("How to read a risk", f'<div class="plots"><div>{words}</div>{picture}</div>')


def _provenance(card: ModelCard) -> str:
    absent = ", ".join(card.absent_features) or "none: the source has data for all of them"
    pairs = (
        ("Source", card.source),
        ("Data fingerprint", card.data_fingerprint),
        ("Absent features", absent),
        ("Code version", card.code_version),
        ("Seed", str(card.seed)),
        ("Environment", ", ".join(f"{name} {version}" for name, version in card.environment)),
    )
    told = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in pairs)
    return _section("Where it comes from", f"<dl>{told}</dl>")


def _going_back(card: ModelCard) -> str:
    if card.previous_version is None:
        body = "<p>There is no earlier production model to go back to.</p>"
    else:
        version = _text(card.previous_version)
        body = (
            f"<p>Should this model disappoint, the one before it, <code>{version}</code>, is a command away. "
            "The service takes it up by itself.</p>"
            f"<pre><code>churn models rollback {version}</code></pre>"
        )
    return _section("How to go back", body)


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{body}\n</section>"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    """Lay out a table; a head that begins with # stands above numbers, one with ! yields on a narrow screen."""
    classes = {"#": "number", "!": "meaning"}
    cells = "".join(f'<th class="{classes.get(head[:1], "")}">{_text(head.lstrip("#!"))}</th>' for head in heads)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{chr(10).join(rows)}</tbody></table></div>'


def _text(value: str) -> str:
    return html.escape(value, quote=True)


def _number(value: float | None, unit: str = "", places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}{unit}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _share(value: float, longest: float) -> str:
    return f"{100 * max(value, 0.0) / longest:.1f}" if longest > 0 else "0"


def _span(dates: Dates) -> str:
    return f"{dates[0]} to {dates[-1]}, {len(dates)} dates" if len(dates) > 1 else f"{dates[0]}"


def _model_name(card: ModelCard) -> str:
    return MODEL_NAMES.get(card.model_type, card.model_type)

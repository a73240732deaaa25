"""The pictures of a model card, as small self-contained SVG: text is drawn as outlines, so they look alike everywhere.

Each has its own white ground and so stands on a light page and on a dark one. Colours are those of Okabe and Ito
(2008), which colour-blind readers tell apart, and what can be labelled in place is.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from churn_assets.training.evaluation import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from churn_assets.training.breakdown import Importance
    from churn_assets.training.evaluation import Bands, CalibrationBin

BLUE, ORANGE, GREY, INK, SOFT_INK = "#0072B2", "#D55E00", "#8A8F98", "#22262B", "#666B73"

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#C3C7CD",
    "axes.labelcolor": "#4A5058",
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.titley": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ECEEF1",
    "grid.linewidth": 0.8,
    "xtick.color": "#C3C7CD",
    "ytick.color": "#C3C7CD",
    "xtick.labelcolor": "#4A5058",
    "ytick.labelcolor": "#4A5058",
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "churn",
}
_CURVE_POINTS = 400


def precision_recall_svg(labels: ArrayLike, scores: ArrayLike, *, recency: ArrayLike | None = None) -> bytes:
    """Draw precision against recall, recency alone and guessing beside it.

    Args:
        labels: 1 churned, 0 stayed, shape (n,).
        scores: Probabilities of churn, shape (n,).
        recency: Days since last activity, shape (n,); None leaves that curve out.

    Returns:
        An SVG file.
    """
    truth, score = checked(labels, scores)
    prevalence = float(truth.mean())
    with _Drawing(5.2, 4.0) as drawing:
        axes = drawing.axes
        axes.axhline(prevalence, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.text(0.0, prevalence - 0.015, f"guessing {prevalence:.2f}", color=SOFT_INK, ha="left", va="top")
        if truth.any():
            if recency is not None:
                days = np.asarray(recency, dtype=np.float64)
                _curve(axes, truth, np.where(np.isnan(days), np.inf, days), ORANGE, "recency alone")
            _curve(axes, truth, score, BLUE, "model")
        axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.03), xlabel="Recall: share of the leavers that are found")
        axes.set_ylabel("Precision: share of those named that leave")
        axes.set_title("Precision and recall")
        return drawing.svg()


def calibration_svg(bins: Sequence[CalibrationBin]) -> bytes:
    """Draw what happened against what was said, one dot a bin, with 95 % Wilson intervals and the rows of each bin.

    Args:
        bins: The calibration curve.

    Returns:
        An SVG file.
    """
    said, happened = (np.array([getattr(one, name) for one in bins]) for name in ("mean_score", "churn_rate"))
    low, high = _wilson(happened, np.array([one.n for one in bins], dtype=np.float64))
    top = min(1.0, 1.12 * max(float(high.max()), float(said.max()), 0.05))
    rows = sorted(one.n for one in bins)
    with _Drawing(5.2, 4.0) as drawing:
        axes = drawing.axes
        axes.plot([0, top], [0, top], color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.text(top * 0.94, top * 0.99, "perfect", color=SOFT_INK, ha="right", va="top")
        axes.vlines(said, low, high, color=BLUE, linewidth=1.4, alpha=0.45)
        axes.plot(said, happened, "o-", color=BLUE, linewidth=1.6, markersize=5)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="Said: mean risk of the bin", ylabel="Happened: share that left")
        axes.set_title(f"Calibration, {len(bins)} bins of {_span(rows[0], rows[-1])} rows")
        return drawing.svg()


def score_distribution_svg(labels: ArrayLike, scores: ArrayLike, bands: Bands) -> bytes:
    """Draw how the risks of those who stayed and of those who left are spread, with the bands.

    Args:
        labels: 1 churned, 0 stayed, shape (n,).
        scores: Probabilities of churn, shape (n,).
        bands: Where risk becomes medium and high.

    Returns:
        An SVG file.
    """
    truth, score = checked(labels, scores)
    edges = np.linspace(0, max(float(score.max()), bands.high) * 1.001 + 1e-9, 41)
    with _Drawing(5.2, 4.0) as drawing:
        axes = drawing.axes
        tallest, box = 0.0, {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        for label, colour, name in ((0, BLUE, "stayed"), (1, ORANGE, "left")):
            share = np.histogram(score[truth == label], edges)[0] / max(1, int((truth == label).sum()))
            axes.stairs(share, edges, color=colour, fill=True, alpha=0.25)
            axes.stairs(share, edges, color=colour, linewidth=1.5, label=f"{name} ({(truth == label).sum():,})")
            tallest = max(tallest, float(share.max()))
        for place, name, height in ((bands.medium, "medium", 1.1), (bands.high, "high", 1.04)):
            axes.axvline(place, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
            axes.text(place, tallest * height, f" {name} ≥ {place:.2f}", va="top", ha="left", fontsize=8.5, bbox=box)
        axes.set(xlim=(0, edges[-1]), ylim=(0, tallest * 1.12), xlabel="Risk", ylabel="Share of the group")
        axes.legend(loc="center right", frameon=False)
        axes.set_title("Risks of those who stayed and of those who left")
        return drawing.svg()


def importance_svg(importance: Sequence[Importance], *, title: str, most: int = 15) -> bytes:
    """Draw what the features are worth, most first.

    Args:
        importance: Features, most important first.
        title: What the length of a bar means.
        most: Most bars.

    Returns:
        An SVG file.
    """
    shown = list(importance[:most])[::-1]
    with _Drawing(7.2, 1.1 + 0.28 * len(shown), measured=True) as drawing:
        axes = drawing.axes
        values = [one.value for one in shown]
        places = np.arange(len(shown))
        axes.barh(places, values, color=BLUE, height=0.66)
        axes.set_yticks(places, [_shortened(one.phrase or one.feature) for one in shown])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        for place, value in zip(places, values, strict=True):
            axes.text(max(value, 0), place, f" {value:.3f}", va="center", color="#4A5058", fontsize=8.5)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.margins(x=0.12, y=0.02)
        axes.set_title(title)
        return drawing.svg()


class _Drawing:
    """One figure with one pair of axes, in our style while the block lasts; pyplot and its global figures stay out."""

    def __init__(self, width: float, height: float, *, measured: bool = False) -> None:
        """`measured` margins suit long labels; they take as long as the drawing itself."""
        import matplotlib as mpl

        self._style = mpl.rc_context(_STYLE)
        self._size, self._measured = (width, height), measured

    def __enter__(self) -> Self:
        from matplotlib.figure import Figure

        self._style.__enter__()
        self._figure = Figure(figsize=self._size, facecolor="white", layout="constrained" if self._measured else None)
        if not self._measured:
            self._figure.subplots_adjust(left=0.14, right=0.97, bottom=0.14, top=0.89)
        self.axes: Any = self._figure.add_subplot()
        return self

    def __exit__(self, *_: object) -> None:
        self._style.__exit__(None, None, None)

    def svg(self) -> bytes:
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        target = io.BytesIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas: Any = FigureCanvasSVG(self._figure)
        canvas.print_svg(target, metadata=metadata)
        return target.getvalue()


def _curve(axes: Any, truth: NDArray[np.int8], score: NDArray[np.float64], colour: str, name: str) -> None:
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[score[order][1:] != score[order][:-1], True])
    hits = np.cumsum(truth[order], dtype=np.int64)[ends]
    recall, precision = hits / truth.sum(), hits / (ends + 1)
    kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1, _CURVE_POINTS)))
    axes.plot(recall[kept], precision[kept], color=colour, linewidth=1.8)
    is_model = colour == BLUE
    middle = int(np.searchsorted(recall, 0.45 if is_model else 0.3))
    # Recency is nearly always the lower curve: its name stands below it, the model's above.
    axes.annotate(
        name,
        (recall[middle], precision[middle]),
        xytext=(6, 5) if is_model else (-4, -6),
        textcoords="offset points",
        ha="left" if is_model else "right",
        va="bottom" if is_model else "top",
        color=colour,
        weight="bold",
    )


def _wilson(share: NDArray[np.float64], count: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _shortened(text: str, most: int = 48) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"

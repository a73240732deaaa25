"""Evidently's own page of the same comparison: detail for people, on a sample; it decides nothing."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import pandas as pd

    from churn_serving.schema import FeatureSpec

METHOD = "jensenshannon"
"""Evidently's measure. Not its PSI: that has other bins than ours, and two numbers of one name mislead."""

MAX_LEVELS = 50
"""Different values of a category that can be drawn; columns with more are left out."""

_BANNER = (
    '<div style="font:15px/1.5 system-ui,sans-serif;padding:14px 20px;background:#eef1f5;color:#1c2127">'
    "<b>Evidently's view, for detail.</b> {rows}. Its drift score is the Jensen-Shannon distance with Evidently's own "
    "limit, not the PSI of the drift report, and what it calls drift decides nothing here.{left_out}</div>"
)

_EMPTY = '<!doctype html><html lang="en"><head><meta charset="utf-8"></head><body></body></html>\n'


@dataclass(frozen=True)
class Drawable:
    """Which columns can be drawn.

    Attributes:
        numbers: Columns of numbers and flags.
        categories: Columns of text.
        left_out: Column → why it cannot be drawn.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: dict[str, str]

    def only(self, names: Container[str]) -> Drawable:
        """Those of the columns that are among `names`."""
        numbers, categories = (tuple(n for n in kind if n in names) for kind in (self.numbers, self.categories))
        return replace(self, numbers=numbers, categories=categories)


def drawable(reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec]) -> Drawable:
    """Find the columns that Evidently can draw; it fails as a whole on a single one that it cannot."""
    left_out = {spec.name: why for spec in features if (why := _obstacle(reference, current, spec))}
    drawn = [spec for spec in features if spec.name not in left_out]
    return Drawable(
        tuple(spec.name for spec in drawn if spec.kind != "category"),
        tuple(spec.name for spec in drawn if spec.kind == "category"),
        left_out,
    )


def evidently_page(
    reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec], *, seed: int, rows: int
) -> str:
    """Draw both populations with Evidently.

    Args:
        reference: Rows that the model learned from.
        current: Rows scored now.
        features: What to draw. Infinite values count as missing.
        seed: Seed of the samples.
        rows: Most rows of either sample.

    Returns:
        One self-contained HTML page of about 5 MB. Columns that cannot be drawn are left out, and named at its top.
    """
    import numpy as np

    then, now = (_sample(frame, seed, rows).replace([np.inf, -np.inf], np.nan) for frame in (reference, current))
    columns = drawable(then, now, features)
    try:
        page = _draw(then, now, columns)
    except Exception:  # noqa: BLE001 - Evidently raises whatever it meets, for the whole page
        columns = _without_faulty(then, now, columns)
        page = _draw(then, now, columns)
    head, body, rest = page.partition("<body>")
    return f"{head}{body}{_banner(len(then), len(now), columns.left_out)}{rest}"


def _draw(reference: pd.DataFrame, current: pd.DataFrame, columns: Drawable) -> str:
    if not columns.numbers and not columns.categories:
        return _EMPTY
    os.environ.setdefault("DO_NOT_TRACK", "1")
    import numpy as np
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    class Table(DataDriftPreset):  # type: ignore[misc]
        """The preset's table alone: it draws every column a second time where nobody sees it."""

        def generate_metrics(self, context: Any) -> Any:
            return super().generate_metrics(context)[:1]

    definition = DataDefinition(numerical_columns=list(columns.numbers), categorical_columns=list(columns.categories))
    now, then = (Dataset.from_pandas(_prepared(frame, columns), definition) for frame in (current, reference))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # its correlations divide by the spread of constant columns
        page: str = Report([Table(method=METHOD)]).run(now, then).get_html_str(as_iframe=False)
    return page


def _without_faulty(reference: pd.DataFrame, current: pd.DataFrame, columns: Drawable) -> Drawable:
    """Draw every column alone, and leave out those that fail."""
    faults: dict[str, str] = {}
    for name in (*columns.numbers, *columns.categories):
        try:
            _draw(reference, current, columns.only({name}))
        except Exception as error:  # noqa: BLE001 - as above
            faults[name] = f"Evidently says: {error}"
    sound = {*columns.numbers, *columns.categories} - set(faults)
    return replace(columns.only(sound), left_out=columns.left_out | faults)


def _obstacle(reference: pd.DataFrame, current: pd.DataFrame, spec: FeatureSpec) -> str:
    for frame, where in ((reference, "in the reference"), (current, "now")):
        if spec.name not in frame:
            return f"not there {where}"
        if not frame[spec.name].notna().any():
            return f"empty {where}"
    different = len({*reference[spec.name].dropna().unique(), *current[spec.name].dropna().unique()})
    if different == 1:
        return "one value only"
    return f"more than {MAX_LEVELS} levels" if spec.kind == "category" and different > MAX_LEVELS else ""


def _sample(frame: pd.DataFrame, seed: int, rows: int) -> pd.DataFrame:
    return frame if len(frame) <= rows else frame.sample(rows, random_state=seed).sort_index()


def _prepared(frame: pd.DataFrame, columns: Drawable) -> pd.DataFrame:
    """The columns to draw, as plain floats and text."""
    numbers = frame[list(columns.numbers)].astype("float64")
    return numbers.assign(**{name: frame[name].astype(object) for name in columns.categories}).reset_index(drop=True)


def _banner(then: int, now: int, left_out: dict[str, str]) -> str:
    listed = "; ".join(f"{escape(name)} ({escape(why)})" for name, why in left_out.items())
    return _BANNER.format(
        rows=f"A sample of {then:,} rows of the reference and {now:,} of today",
        left_out=f" Left out: {listed}." if left_out else "",
    )

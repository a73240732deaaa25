"""The daily list: everybody at risk, scored, ranked and explained, most at risk first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.scoring.reasons import Reasons
from churn_serving import atomic
from churn_serving.reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from numpy.typing import NDArray

    from churn_assets.layout import Layout
    from churn_serving.manifest import Bands
    from churn_serving.scorer import Scorer
    from churn_serving.wording import Value

BLOCK = 16_384
"""Users at a time: what is worked on stays far below any memory limit, whatever their number."""

COPIED = {
    "user_id": pa.string(),
    "as_of_date": pa.date32(),
    "plan": pa.string(),
    "is_paid": pa.int64(),
    "country": pa.string(),
    "marketing_source": pa.string(),
    "days_since_signup": pa.int64(),
    "days_since_last_activity": pa.int64(),
}
"""Columns that come from the snapshot, with their type; one that the snapshot lacks is empty."""

REASON_COLUMNS = tuple(f"reason_{k + 1}" for k in range(REASONS))

COLUMNS = (*COPIED, "churn_risk", "risk_rank", "risk_band", "model_version", *REASON_COLUMNS)
"""All columns, in the order of the files."""


class ScoringError(ValueError):
    """The model gives somebody no finite score."""


def predict(
    snapshot: pa.Table,
    scorer: Scorer,
    bands: Bands,
    model_version: str,
    *,
    typical: Mapping[str, Value] | None = None,
) -> pa.Table:
    """Score everybody at risk.

    Args:
        snapshot: `user_id`, `as_of_date`, `at_risk`, and the features that the scorer reads.
        scorer: The production model.
        bands: Probabilities from which a risk is high, or medium.
        model_version: Its version.
        typical: What users commonly have, by feature name, for the reasons.

    Returns:
        The columns of `COLUMNS`; highest risk first, ties by user id. `risk_rank` counts from 1.

    Raises:
        EncodingError: The snapshot lacks a feature.
        ScoringError: A score is not finite.
    """
    users = _decoded(snapshot.filter(pc.fill_null(snapshot["at_risk"], False)))  # noqa: FBT003 - pyarrow's signature
    scores, texts = _score(users, scorer, Reasons(scorer, typical or {}))
    _require_finite(users, scores)
    columns = {name: _copied(users, name, kind) for name, kind in COPIED.items()}
    columns |= {"churn_risk": pa.array(scores), "risk_band": _bands(scores, bands)}
    columns["model_version"] = pa.repeat(pa.scalar(model_version), len(scores))
    columns |= {name: pa.array(text, pa.string()) for name, text in zip(REASON_COLUMNS, texts, strict=True)}
    ordered = pa.table(columns).sort_by([("churn_risk", "descending"), ("user_id", "ascending")])
    return ordered.append_column("risk_rank", pa.array(np.arange(1, len(scores) + 1))).select(COLUMNS)


def write_predictions(layout: Layout, day: date, table: pa.Table, top_k: int) -> tuple[Path, ...]:
    """Write a day's predictions as CSV: all of them, the `top_k` most at risk, and the copy of the newest day.

    A score read back is the same float. The copy stays as it is when a later day has been scored already.

    Returns:
        The files written.

    Raises:
        OSError: A file cannot be written; what was there before still is.
    """
    whole, top = layout.predictions_file(day), layout.top_file(day, top_k)
    written = [(whole, table), (top, table.slice(0, top_k))]
    later = [path for path in layout.predictions.glob(whole.name.replace(day.isoformat(), "*")) if path > whole]
    if not later:
        written.append((layout.latest_predictions, table))
    for path, rows in written:
        _write_csv(path, rows)
    return tuple(path for path, _ in written)


def _score(users: pa.Table, scorer: Scorer, reasons: Reasons) -> tuple[NDArray[np.float64], list[list[str | None]]]:
    scores = np.empty(users.num_rows)
    texts: list[list[str | None]] = [[] for _ in range(REASONS)]
    for start in range(0, users.num_rows, BLOCK):
        block = users.slice(start, BLOCK)
        encoded = scorer.encode_columns(block)
        scores[start : start + BLOCK] = scorer.score(encoded)
        values = {spec.name: np.asarray(block[spec.name], dtype=object) for spec in scorer.features}
        for text, more in zip(texts, reasons.texts(scorer.contributions(encoded), values), strict=True):
            text.extend(more)
    return scores, texts


def _decoded(table: pa.Table) -> pa.Table:
    """The table without dictionaries: as arrays these show a null as one of the categories."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table[field.name].cast(field.type.value_type))
    return table


def _require_finite(users: pa.Table, scores: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        who = users["user_id"][int(wrong[0])].as_py()
        raise ScoringError(
            f"{len(wrong)} of {len(scores)} users have no finite score, {who!r} the first of them: "
            "look for infinite values among their features"
        )


def _copied(users: pa.Table, name: str, kind: pa.DataType) -> Any:
    if name not in users.column_names:
        return pa.nulls(users.num_rows, kind)
    return users[name].cast(kind)


def _bands(scores: NDArray[np.float64], bands: Bands) -> pa.Array:
    names = np.array(["low", "medium", "high"], dtype=object)
    return pa.array(names[(scores >= bands.medium).astype(np.intp) + (scores >= bands.high)], pa.string())


def _write_csv(path: Path, table: pa.Table) -> None:
    from pyarrow import csv

    with atomic.writing(path) as part:
        csv.write_csv(table, part, csv.WriteOptions(quoting_header="none"))

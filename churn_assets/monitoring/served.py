"""What the service has scored: its prediction log as a table, and a day's scores in a few numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_serving.logs.prediction_log import read_log

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from numpy.typing import NDArray

    from churn_serving.logs.prediction_log import Served

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("features", pa.string(), nullable=False),
        pa.field("as_of_date", pa.date32()),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""A row that was scored, as `churn_serving.logs.prediction_log.Served` describes it."""

BROKEN = b"broken_lines"
"""Key of the table's metadata with the number of lines that were damaged."""

CUT_OFF = b"cut_off_lines"
"""Likewise of last lines without an end: their writer was killed, or is still at work."""


def served_predictions(folder: Path, day: date) -> pa.Table:
    """Read what was scored on a day.

    Args:
        folder: The prediction log, `data/predictions/log`; need not exist.
        day: UTC day.

    Returns:
        A row for each that was scored, ordered by time and id, with the columns of `SCHEMA`. Lines that could not be
        read are counted in the schema's metadata, under `BROKEN` and `CUT_OFF`.

    Raises:
        OSError: A file cannot be read.
    """
    parts, broken, cut_off = [SCHEMA.empty_table()], 0, 0
    for file in read_log(folder, day, day):
        parts.append(_table(file.rows))
        broken += len(file.broken)
        cut_off += file.is_cut_off
    table = pa.concat_tables(parts).sort_by([("time", "ascending"), ("id", "ascending")])
    return table.replace_schema_metadata({BROKEN: str(broken), CUT_OFF: str(cut_off)})


def served_summary(table: pa.Table) -> dict[str, Any]:
    """Summarise what was scored.

    Args:
        table: From `served_predictions`.

    Returns:
        JSON-ready `rows, users, mean, p50, p90, p99`, the same for each model under `by_model_version`, and
        `broken_lines, cut_off_lines`. What is not defined without rows is None, never NaN.
    """
    counts = table.schema.metadata or {}
    return {
        **_summary(table),
        "by_model_version": {
            version: _summary(table.filter(pc.equal(table["model_version"], version)))
            for version in sorted(pc.unique(table["model_version"]).to_pylist())
        },
        "broken_lines": int(counts.get(BROKEN, 0)),
        "cut_off_lines": int(counts.get(CUT_OFF, 0)),
    }


def _table(rows: list[Served]) -> pa.Table:
    return pa.table(
        [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA],
        schema=SCHEMA,
    )


def _summary(table: pa.Table) -> dict[str, Any]:
    scores: NDArray[np.float64] = table["score"].to_numpy()
    empty = len(scores) == 0
    quantiles = [None] * 3 if empty else np.quantile(scores, [0.5, 0.9, 0.99]).tolist()
    return {
        "rows": len(scores),
        "users": pc.count_distinct(table["user_id"]).as_py(),
        "mean": None if empty else float(np.mean(scores)),
        **dict(zip(("p50", "p90", "p99"), quantiles, strict=True)),
    }

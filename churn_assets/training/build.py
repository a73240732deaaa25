"""The training set: put together, written, read and cut into the rows that teach, calibrate and judge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.features.build import training_rows
from churn_assets.training.splits import DateSplit, NotEnoughHistory, as_of_dates_for_training, split_dates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import pandas as pd

    from churn_assets.workspace import Workspace

RECENCY = "days_since_last_activity"


@dataclass(frozen=True)
class TrainingSet:
    """What was put together.

    Attributes:
        rows: Users at risk on the sampled dates.
        dates: The as-of dates.
        churn_rate: Share of positive labels.
        split: How the dates are cut.
    """

    rows: int
    dates: tuple[date, ...]
    churn_rate: float
    split: DateSplit


@dataclass(frozen=True)
class Parts:
    """The rows that teach, calibrate and judge.

    Attributes:
        split: How the history is cut.
        training: Rows that teach.
        calibration: Rows that calibrate.
        test: The holdout.
        holdout: The same rows as a table: the population that drift is measured against. It is the newest, the model
            did not learn from it, and over several dates it has what is ordinary.
        fingerprint: Digest of all rows.
    """

    split: DateSplit
    training: pd.DataFrame
    calibration: pd.DataFrame
    test: pd.DataFrame
    holdout: pa.Table
    fingerprint: str


def build_training_set(workspace: Workspace) -> TrainingSet:
    """Compute features and labels at the sampled as-of dates and write them.

    Raises:
        NotEnoughHistory: Not one date has full features and a label, or training and test cannot be apart.
        MissingTableError: `user_daily` lacks a day.
    """
    settings = workspace.settings.training
    last = _last_built_day(workspace)
    first = max(workspace.history_start, last - timedelta(days=settings.history_days))
    features = workspace.features
    windows = [*features.windows, features.longest]
    dates = as_of_dates_for_training(
        first, last, windows=windows, label_window=features.label_window, every_days=settings.every_days
    )
    split = _split(workspace, dates)
    table = _sampled(training_rows(workspace, dates), settings.max_rows)
    workspace.layout.training_set.write(table)
    labels = table.column("churned").to_numpy()
    return TrainingSet(len(labels), dates, float(labels.mean()) if len(labels) else 0.0, split)


def read_parts(workspace: Workspace) -> Parts:
    """Read the training set and cut it.

    Raises:
        MissingTableError: There is no training set.
        NotEnoughHistory: There are too few dates.
    """
    table = workspace.layout.training_set.read()
    frame = as_frame(table)
    dates = sorted(set(table.column("as_of_date").to_pylist()))
    split = _split(workspace, dates)
    masks = split.masks(frame["as_of_date"], frame["user_id"])
    return Parts(
        split=split,
        training=frame[masks.training],
        calibration=frame[masks.calibration],
        test=frame[masks.test],
        holdout=table.filter(pc.is_in(table.column("as_of_date"), pa.array(split.test, pa.date32()))),
        fingerprint=_fingerprint(table),
    )


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A feature table as the models take it: text as plain objects, missing numbers as NaN."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.string()))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _split(workspace: Workspace, dates: Sequence[date]) -> DateSplit:
    settings = workspace.settings.training
    return split_dates(
        dates,
        window_days=workspace.features.label_window,
        test_share=settings.test_share,
        calibration_share=settings.calibration_share,
    )


def _last_built_day(workspace: Workspace) -> date:
    days = [day for day in workspace.layout.user_daily.days() if day <= workspace.settings.yesterday]
    if not days:
        raise NotEnoughHistory(
            "`user_daily` has no day yet: materialize the history first (`churn seed`, or history_job over its range)",
            days_there=0,
            days_needed=workspace.features.longest + workspace.features.label_window,
        )
    return days[-1]


def _sampled(table: pa.Table, most: int) -> pa.Table:
    """All rows of as many users as fit; which users is a matter of their ids alone."""
    if table.num_rows <= most:
        return table
    ids = table.column("user_id").combine_chunks().dictionary_encode()
    hashes = np.array(
        [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) for name in ids.dictionary.to_pylist()],
        dtype=np.uint64,
    )
    limit = np.uint64(most / table.num_rows * float(np.iinfo(np.uint64).max))
    return table.filter((hashes <= limit)[ids.indices.to_numpy()])


def _fingerprint(table: pa.Table) -> str:
    """SHA-256 of the rows: equal for equal data, wherever it was made."""
    digest = hashlib.sha256()
    for position, field in enumerate(table.schema):
        column = table.column(position)
        digest.update(f"{field.name}:{field.type}".encode())
        plain = column.cast(pa.string()) if pa.types.is_dictionary(field.type) else column
        sink = pa.BufferOutputStream()
        batch = pa.table({field.name: plain.combine_chunks()})
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_table(batch)
        digest.update(sink.getvalue())
    return digest.hexdigest()

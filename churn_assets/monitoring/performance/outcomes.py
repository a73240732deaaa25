"""What came of predictions: those of an as-of date, joined with the labels that are known a label window later."""

from __future__ import annotations

import functools
from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from churn_assets.layout import DayTable, days_between
from churn_assets.monitoring.served import served_predictions
from churn_serving.logs.prediction_log import PREFIX
from churn_serving.logs.rotated_file import files_of_days
from churn_serving.published import Published

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from churn_assets.layout import Layout, Stamp
    from churn_assets.workspace import Workspace

SCORED = pa.schema([("user_id", pa.string()), ("model_version", pa.string()), ("score", pa.float64())])
"""A prediction."""

SCHEMA = pa.schema([*SCORED, ("churned", pa.int8()), ("source", pa.string())])
"""A prediction with what happened: 1 churned, 0 stayed; from `batch` or `http`. Sorted by source and user."""

ANSWERED_DAYS = 2
"""Days after its own on which the service answers from a snapshot: it is published on the next morning, and replaced
on the one after. Later answers from it are not looked for."""

_TALLY = b"tally"
_NOTHING: Stamp = [0, 0]
"""The stamp of a file that is not there; unlike that of any outcome."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a day that found no partner. Neither is a fault.

    Attributes:
        batch_unlabelled: Users of the daily list of whom no label is known.
        http_unlabelled: Likewise users whom the service scored: any client may ask about anybody.
        unscored: Users with a label who are not on the daily list.
    """

    batch_unlabelled: int = 0
    http_unlabelled: int = 0
    unscored: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            batch_unlabelled=self.batch_unlabelled + other.batch_unlabelled,
            http_unlabelled=self.http_unlabelled + other.http_unlabelled,
            unscored=self.unscored + other.unscored,
        )


class UnreadablePredictionsError(ValueError):
    """A file of predictions is damaged; the message says which."""


def outcomes_table(layout: Layout) -> DayTable:
    """The outcomes, a file an as-of date."""
    return DayTable(layout.outcomes_file(date(1970, 1, 1)).parent, "performance_report")


def join(batch: pa.Table, http: pa.Table, labels: pa.Table) -> pa.Table:
    """Join a day's predictions with its labels.

    Args:
        batch: The daily list, columns of `SCORED`.
        http: What the service scored, a row a user.
        labels: `user_id`, `churned`.

    Returns:
        Columns of `SCHEMA`, the predictions that have a label; the tally in the schema's metadata (`tally_of`).
    """
    known = labels["user_id"].combine_chunks()
    parts, unlabelled, found = [], {}, pa.chunked_array([], pa.string())
    for source, rows in (("batch", batch), ("http", http)):
        places = pc.index_in(rows["user_id"], value_set=known)
        matched = rows.filter(pc.is_valid(places))
        churned = labels["churned"].take(pc.drop_null(places)).cast(pa.int8())
        matched = matched.append_column("churned", churned)
        parts.append(matched.append_column("source", pa.repeat(pa.scalar(source), matched.num_rows)).cast(SCHEMA))
        unlabelled[source] = rows.num_rows - matched.num_rows
        found = matched["user_id"] if source == "batch" else found
    tally = Tally(
        batch_unlabelled=unlabelled["batch"],
        http_unlabelled=unlabelled["http"],
        unscored=len(known) - len(pc.unique(found)),
    )
    table = pa.concat_tables(parts).sort_by([("source", "ascending"), ("user_id", "ascending")])
    return table.replace_schema_metadata({_TALLY: msgspec.json.encode(tally)})


def tally_of(table: pa.Table) -> Tally:
    """What a day's outcomes leave out."""
    return msgspec.json.decode((table.schema.metadata or {}).get(_TALLY, b"{}"), type=Tally)


def read_list(path: Path) -> pa.Table:
    """Read a day's predictions (`scoring.predictions`).

    Returns:
        Columns of `SCORED`; a row a user.

    Raises:
        FileNotFoundError: The day has not been scored.
        UnreadablePredictionsError: The file is damaged.
    """
    columns = {"user_id": pa.string(), "model_version": pa.string(), "churn_risk": pa.float64()}
    try:
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(include_columns=list(columns), column_types=columns),
        )
    except (pa.ArrowInvalid, KeyError) as error:
        raise UnreadablePredictionsError(f"{path.name} cannot be read ({error}): score that day again") from error
    return _sound(table.rename_columns(SCORED.names), path)


def served_of(folder: Path, day: date) -> pa.Table:
    """Read what the service scored as of a day, or on it where a client brought the features.

    Args:
        folder: The prediction log.
        day: As-of date.

    Returns:
        Columns of `SCORED`; the last score of each user.
    """
    found = [SCORED.empty_table()]
    for logged in days_between(day, day + timedelta(days=ANSWERED_DAYS)):
        rows = served_predictions(folder, logged)
        as_of = pc.fill_null(rows["as_of_date"], pa.scalar(logged, pa.date32()))
        found.append(rows.filter(pc.equal(as_of, pa.scalar(day, pa.date32()))).select(SCORED.names).cast(SCORED))
    rows = pa.concat_tables(found)
    numbered = rows.select(["user_id"]).append_column("place", pa.array(np.arange(rows.num_rows)))
    lasts = numbered.group_by("user_id").aggregate([("place", "max")])["place_max"]
    return rows.take(lasts).sort_by("user_id")


def bring_up_to_date(workspace: Workspace, first: date, last: date) -> tuple[list[date], list[str]]:
    """Join the as-of dates from `first` to `last` whose labels are there and that are new, or whose input changed.

    Returns:
        The days that were joined, and what could not be, in words.
    """
    layout, table = workspace.layout, outcomes_table(workspace.layout)
    stamp_of = functools.partial(_stamp, workspace)
    logged = _logged_days(workspace, first, last + timedelta(days=ANSWERED_DAYS))
    recorded, stale = set(table.stale_days(lambda _: _NOTHING)), set(table.stale_days(stamp_of))
    done, problems = [], []
    for day in days_between(first, last):
        is_new = day not in recorded or not table.path(day).exists()
        if day in stale or (is_new and stamp_of(day) is not None and _is_scored(layout, day, logged)):
            try:
                table.write(day, _joined(workspace, day))
            except UnreadablePredictionsError as error:
                problems.append(str(error))
            else:
                done.append(day)
    if done:
        table.record(done, stamp_of)
    return done, problems


def label_day(workspace: Workspace, as_of: date) -> date:
    """The day since which the labels of an as-of date are known."""
    return as_of + timedelta(days=workspace.features.label_window)


def _joined(workspace: Workspace, day: date) -> pa.Table:
    """What was scored is taken from where it was, or, if that has been cleaned up, from what was joined before."""
    layout, before = workspace.layout, outcomes_table(workspace.layout)
    kept = before.read(day) if before.path(day).exists() else SCHEMA.empty_table()
    path = layout.predictions_file(day)
    batch = read_list(path) if path.exists() else _kept(kept, "batch")
    http = _with(served_of(Published(workspace.settings.paths).prediction_log, day), _kept(kept, "http"))
    return join(batch, http, layout.labels.read(label_day(workspace, day), ["user_id", "churned"]))


def _with(logged: pa.Table, before: pa.Table) -> pa.Table:
    """The log's rows, and of users whose lines have been cleaned up those that were joined before."""
    users = logged["user_id"].combine_chunks()
    missing = before.filter(pc.invert(pc.is_in(before["user_id"], value_set=users)))
    return pa.concat_tables([logged, missing.cast(logged.schema)])


def _kept(table: pa.Table, source: str) -> pa.Table:
    return table.filter(pc.equal(table["source"], source)).select(SCORED.names)


def _stamp(workspace: Workspace, day: date) -> Stamp | None:
    labels = workspace.layout.labels.stamp(label_day(workspace, day))
    if labels is None:
        return None
    try:
        status = workspace.layout.predictions_file(day).stat()
    except FileNotFoundError:
        return [*_NOTHING, *labels]
    return [status.st_size, status.st_mtime_ns, *labels]


def _is_scored(layout: Layout, day: date, logged: set[date]) -> bool:
    answered = days_between(day, day + timedelta(days=ANSWERED_DAYS))
    return layout.predictions_file(day).exists() or not logged.isdisjoint(answered)


def _logged_days(workspace: Workspace, first: date, last: date) -> set[date]:
    """Days on which the service has scored."""
    folder = Published(workspace.settings.paths).prediction_log
    begin = len(PREFIX) + 1
    names = [path.name[begin : begin + 8] for path in files_of_days(folder, PREFIX, first, last)]
    return {date(int(name[:4]), int(name[4:6]), int(name[6:])) for name in names}


def _sound(table: pa.Table, path: Path) -> pa.Table:
    scores: Sequence[float] = table["score"].to_numpy()
    if table["score"].null_count or not ((np.asarray(scores) >= 0) & (np.asarray(scores) <= 1)).all():
        raise UnreadablePredictionsError(f"{path.name} holds a risk that is no probability: score that day again")
    return table.cast(SCORED)

"""Where every table and file lies, and how a table of days is read and written.

Under `paths.data`: one Parquet file a day and table, written aside and renamed. Under `paths.artifacts`: models,
metrics, reports, the registry. No other module knows a path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from churn_serving import atomic
from churn_serving.published import Published

if TYPE_CHECKING:
    from churn_serving.settings import Paths

Stamp = list[int]
"""Size and modification time (ns) of a file: changes when, and only when, its bytes were replaced by others."""


StampOf = Callable[[date], Stamp | None]
"""What a day was, or would be, built from."""

DATED = "-".join(["[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2])
"""A day in a file's name, as a pattern."""

EPOCH = date(1970, 1, 1)
"""Day 0 of Arrow's and NumPy's dates."""


class MissingTableError(FileNotFoundError):
    """A table that something else should have built is not there; the message says what builds it."""


def days_between(first: date, last: date) -> list[date]:
    """All days from `first` to `last`, both included; empty if `last` is earlier."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically; leave the old one untouched if the bytes are the same.

    Raises:
        OSError: The disk is full, or the folder cannot be written. The old file is still there.
    """
    with atomic.writing(path, keep_if_equal=True) as part:
        pq.write_table(table, part, compression="zstd")


def with_day(table: pa.Table, day: date) -> pa.Table:
    """The table with the column `day` added."""
    return table.append_column("day", pa.repeat(pa.scalar(day, pa.date32()), table.num_rows))


def cut_by_day(table: pa.Table, days: Sequence[date]) -> Iterator[tuple[date, pa.Table]]:
    """Cut a table that is ordered by its column `day` into one table a day, without that column."""
    ordinals = table.column("day").cast(pa.int32()).to_numpy()
    rest = table.drop_columns("day")
    for day in days:
        ordinal = (day - EPOCH).days
        start, stop = np.searchsorted(ordinals, [ordinal, ordinal + 1])
        yield day, rest.slice(start, stop - start)


@dataclass
class Built:
    """What a step has done to a table of days.

    Attributes:
        days: Every day that was built.
        late: Those of them that were not asked for: rows for them came after they had been built.
        rows: How many rows they hold.
    """

    days: list[date] = field(default_factory=list)
    late: list[date] = field(default_factory=list)
    rows: int = 0

    def add(self, day: date, rows: int) -> None:
        """One more day is done."""
        self.days.append(day)
        self.rows += rows


@dataclass(frozen=True)
class Table:
    """One Parquet file that holds a whole table."""

    path: Path
    made_by: str

    def write(self, table: pa.Table) -> None:
        """Replace the table, atomically."""
        write_table(self.path, table)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the table.

        Raises:
            MissingTableError: It has not been built.
        """
        if not self.path.exists():
            raise MissingTableError(f"{self.path} is not there: materialize `{self.made_by}` first")
        return pq.read_table(self.path, columns=columns)


@dataclass(frozen=True)
class DayTable:
    """A table in one Parquet file a day.

    Beside the files, `built_from.json` keeps the stamp of the upstream file that each day was built from, so that a day
    whose input was replaced later (late events) is known to be stale.
    """

    folder: Path
    made_by: str

    def path(self, day: date) -> Path:
        """The file of one day."""
        return self.folder / f"{day.isoformat()}.parquet"

    def write(self, day: date, table: pa.Table) -> None:
        """Replace one day, atomically."""
        write_table(self.path(day), table)

    def adopt(self, day: date, other: DayTable) -> None:
        """Take one day's file over from another table."""
        atomic.move(other.path(day), self.path(day))

    def read(self, day: date, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one day.

        Raises:
            MissingTableError: That day has not been built.
        """
        # ParquetFile opens one file several times faster than read_table, which is made for folders of them.
        return pq.ParquetFile(self.existing([day])[0]).read(columns)

    def days(self) -> list[date]:
        """The days that are there, oldest first."""
        return sorted(date.fromisoformat(path.stem) for path in self.folder.glob("[0-9]*.parquet"))

    def existing(self, days: Iterable[date]) -> list[Path]:
        """The files of `days`.

        Raises:
            MissingTableError: One of them has not been built.
        """
        paths = [self.path(day) for day in days]
        missing = [path.stem for path in paths if not path.exists()]
        if missing:
            span = missing[0] if len(missing) == 1 else f"{missing[0]} … {missing[-1]} ({len(missing)} days)"
            raise MissingTableError(f"`{self.made_by}` lacks {span}: materialize these partitions first")
        return paths

    def stamp(self, day: date) -> Stamp | None:
        """Size and modification time of one day's file, or None."""
        try:
            status = self.path(day).stat()
        except FileNotFoundError:
            return None
        return [status.st_size, status.st_mtime_ns]

    def stale_days(self, stamp_of: StampOf) -> list[date]:
        """Days that were built from upstream files that have been replaced since."""
        recorded = self._built_from()
        now = {key: stamp_of(date.fromisoformat(key)) for key in recorded}
        return [date.fromisoformat(key) for key in sorted(now) if now[key] is not None and now[key] != recorded[key]]

    def record(self, days: Iterable[date], stamp_of: StampOf) -> None:
        """Remember which upstream files `days` were built from."""
        stamps = {day.isoformat(): stamp for day in days if (stamp := stamp_of(day)) is not None}
        atomic.write_text(self.folder / "built_from.json", json.dumps(self._built_from() | stamps, sort_keys=True))

    def _built_from(self) -> dict[str, Stamp]:
        try:
            recorded: dict[str, Stamp] = json.loads((self.folder / "built_from.json").read_text())
        except FileNotFoundError:
            return {}
        return recorded


class Layout:
    """Every path of the system."""

    def __init__(self, paths: Paths) -> None:
        self.data = paths.data
        self.artifacts = paths.artifacts
        raw, validated, features = (self.data / name for name in ("raw", "validated", "features"))
        self.source_state = raw / "source.json"
        self.arrivals = raw / "arrivals.json"
        self.raw_users = Table(raw / "users.parquet", "raw_users")
        self.raw_engagements = Table(raw / "engagements.parquet", "raw_users")
        self.raw_events = DayTable(raw / "events", "raw_events")
        self.users = Table(validated / "users.parquet", "validated_users")
        self.engagements = Table(validated / "engagements.parquet", "validated_users")
        self.events = DayTable(validated / "events", "validated_events")
        self.user_daily = DayTable(features / "user_daily", "user_daily")
        self.user_features = DayTable(features / "user_features", "user_features")
        self.labels = DayTable(features / "churn_labels", "churn_labels")
        self.training_set = Table(features / "training_set.parquet", "training_set")
        self.quarantine = self.data / "quarantine"
        self.tombstones = self.data / "tombstones.json"
        self.predictions = self.data / "predictions"
        published = Published(paths)
        self.online_features = published.features
        self.online_scores = published.scores
        self.temporary = self.data / "tmp"
        self.models = self.artifacts / "models"
        self.metrics = self.artifacts / "metrics"
        self.reports = self.artifacts / "reports"

    def quarantine_file(self, table: str, day: date | None = None) -> Path:
        """Where rejected rows of a table (and day) are kept, as CSV: people read them."""
        return self.quarantine / (f"{table}_{day.isoformat()}.csv" if day else f"{table}.csv")

    def predictions_file(self, day: date) -> Path:
        """The scored population of a day."""
        return self.predictions / f"churn_predictions_{day.isoformat()}.csv"

    def top_file(self, day: date, k: int) -> Path:
        """The `k` users most at risk on a day."""
        return self.predictions / f"churn_top_{k}_{day.isoformat()}.csv"

    def drift_file(self, day: date) -> Path:
        """The drift report of a day, for machines."""
        return self.metrics / f"data_drift_{day.isoformat()}.json"

    def drift_files(self) -> list[Path]:
        """The drift reports of all days, oldest first."""
        return sorted(self.metrics.glob("data_drift_[0-9]*.json"))

    @property
    def latest_drift(self) -> Path:
        """A copy of the newest day's drift report."""
        return self.metrics / "data_drift_latest.json"

    def feed_profile(self, day: date) -> Path:
        """What a day's raw events look like: how many, how much, what is missing."""
        return self.data / "monitoring" / "feed" / f"{day.isoformat()}.json"

    def outcomes_file(self, day: date) -> Path:
        """Predictions as of a day, each with what happened since; once the labels have matured."""
        return self.data / "monitoring" / "outcomes" / f"{day.isoformat()}.parquet"

    def performance_file(self, day: date) -> Path:
        """The performance report of a day, for machines."""
        return self.metrics / f"performance_{day.isoformat()}.json"

    def performance_files(self) -> list[Path]:
        """The performance reports of all days, oldest first."""
        return sorted(self.metrics.glob("performance_[0-9]*.json"))

    @property
    def latest_performance(self) -> Path:
        """A copy of the newest day's performance report."""
        return self.metrics / "performance_latest.json"

    def performance_page(self, day: date) -> Path:
        """The performance report of a day, for people."""
        return self.reports / f"performance_{day.isoformat()}.html"

    @property
    def claims(self) -> Path:
        """Who is about to ask for a run."""
        return self.artifacts / "claims"

    @property
    def told(self) -> Path:
        """What people have been told, and when: so that nothing is told twice."""
        return self.artifacts / "notifications.json"

    def score_proxy_file(self, day: date) -> Path:
        """What a day's scores look like."""
        return self.metrics / f"score_proxy_{day.isoformat()}.json"

    @property
    def latest_score_proxy(self) -> Path:
        """What the newest day's scores look like."""
        return self.metrics / "score_proxy_latest.json"

    @property
    def receipts(self) -> Path:
        """Who asked for whom to be forgotten, and what came of it; without a word on who that was."""
        return self.artifacts / "upkeep" / "forgotten"

    def drift_page(self, day: date) -> Path:
        """The drift report of a day, for people."""
        return self.reports / f"drift_{day.isoformat()}.html"

    def evidently_page(self, day: date) -> Path:
        """Evidently's page behind it."""
        return self.reports / f"drift_{day.isoformat()}_evidently.html"

    def version_folder(self, version: str) -> Path:
        """Where the registry keeps what belongs to a version."""
        return self.artifacts / "registry" / version

    @property
    def promotion_history(self) -> Path:
        """What was promoted, refused and rolled back, when and why."""
        return self.artifacts / "registry" / "history.jsonl"

    def model_card(self, version: str) -> Path:
        """The card of a model."""
        return self.reports / f"model_{version}.html"

    @property
    def latest_predictions(self) -> Path:
        """A copy of the newest day's predictions."""
        return self.predictions / "batch_predictions_latest.csv"

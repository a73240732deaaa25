"""How a user's risk went from day to day: the published scores of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from churn_serving.online import pointer
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.publication import Refusals

if TYPE_CHECKING:
    from pathlib import Path

    from churn_serving.online.keyed_table import KeyedTable
    from churn_serving.online.pointer import Entry

KEPT_DAYS = 90
"""Days of scores that are published: a season, long enough to see a user slip away."""

COLUMNS = ("churn_risk", "risk_rank")
MODEL_VERSION = "model_version"


class DayScore(msgspec.Struct, frozen=True):
    """A user's score of a day.

    Attributes:
        as_of_date: The day.
        churn_risk: Probability of churn.
        risk_rank: Place among all who were scored; 1 is the most at risk.
        of: How many were scored.
        model_version: What scored them.
    """

    as_of_date: date
    churn_risk: float
    risk_rank: int
    of: int
    model_version: str


@dataclass(frozen=True)
class _Day:
    """A day's table, and the entry that it was opened for."""

    entry: Entry
    table: KeyedTable

    def score(self, key: bytes, checksum: int) -> DayScore | None:
        """The score of a user; None if he was not scored that day."""
        row = self.table.find_key(key, checksum)
        if row < 0:
            return None
        risk, rank = self.table.matrix[row].tolist()
        header = self.table.header
        return DayScore(header.as_of_date, risk, int(rank), header.rows, str(header.metadata[MODEL_VERSION]))


class ScoreHistory:
    """The published scores of a folder.

    `refresh` may run in a thread while others call `of`: they see either all of the old days or all of the new.

    Args:
        folder: Where the pointer lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._days: tuple[_Day, ...] = ()
        self._read = b""
        self._refusals = Refusals()

    @property
    def dates(self) -> tuple[date, ...]:
        """The days that there are scores of, oldest first."""
        return tuple(day.entry.as_of_date for day in self._days)

    def refresh(self) -> bool:
        """Open days that are new or were scored again, and drop those that are gone; cheap if nothing changed.

        Returns:
            Whether anything has changed.

        Raises:
            NothingPublishedError: There is no pointer.
            OnlineStoreError: Days cannot be used, all of them named. The others are there; of a broken day, what was
                known before.
        """
        content = pointer.read_bytes(self.folder)
        if content == self._read:
            return False
        published = pointer.decode(content, self.folder).published
        before = {day.entry.as_of_date: day for day in self._days}
        problems: list[str] = []
        days = [self._open(entry, before.get(entry.as_of_date), problems) for entry in reversed(published)]
        after = tuple(day for day in days if day is not None)
        is_changed, self._days = after != self._days, after
        if problems:
            raise OnlineStoreError("; ".join(problems))
        self._read = content
        return is_changed

    def of(self, user_id: str) -> list[DayScore]:
        """Return the scores of a user, the oldest day first; days on which he was not at risk are left out."""
        try:
            key = user_id.encode()
        except UnicodeEncodeError:  # half a surrogate pair is nobody's id
            return []
        checksum = crc32(key)
        scores = (day.score(key, checksum) for day in self._days)
        return [score for score in scores if score is not None]

    def _open(self, entry: Entry, known: _Day | None, problems: list[str]) -> _Day | None:
        if known and known.entry == entry:
            return known
        try:
            table = self._refusals.open(self.folder, entry)
            if table.columns != COLUMNS or MODEL_VERSION not in table.header.metadata:
                raise OnlineStoreError(f"{table.path} is no table of scores: publish it again")  # noqa: TRY301 - one place for all problems
        except OnlineStoreError as error:
            problems.append(str(error))
            return known
        return _Day(entry, table)

"""Small keyed tables, drafts of them, and folders that they are published in."""

from datetime import UTC, date, datetime, timedelta

import numpy as np

from churn_serving.online.keyed_table import KeyedTable
from churn_serving.online.keyed_writer import Draft, Ids, write_keyed_table
from churn_serving.online.publisher import Publisher

DAY = date(2026, 1, 5)
NOON = datetime(2026, 1, 6, 12, tzinfo=UTC)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def forward(self, **duration):
        self.now += timedelta(**duration)


def draft(ids=("a", "b", "c"), *, columns=("at_risk", "x"), fill=1.0, day=DAY, levels=None, metadata=None, matrix=None):
    """A draft; every cell is `fill`, unless a matrix is given."""
    matrix = np.full((len(ids), len(columns)), fill) if matrix is None else np.asarray(matrix, dtype=np.float64)
    return Draft(day, Ids.of(ids), tuple(columns), [matrix], levels or {}, metadata or {})


def written(path, *rest, **more):
    """A table that has been written and opened."""
    digest = write_keyed_table(path, draft(*rest, **more)).sha256
    return KeyedTable.open(path, digest)


def publisher(folder, keep=1, clock=None, stem="features"):
    """A publisher whose clock stands still."""
    return Publisher(folder, stem, keep, clock=clock or Clock(), lock_timeout=20.0)


def visible(folder):
    """Names of the tables in a folder."""
    return sorted(path.name for path in folder.glob("*.keyed"))


def same_bits(one, other):
    """Whether two arrays are the same to the bit, NaN and the sign of zero included."""
    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()

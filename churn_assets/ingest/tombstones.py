"""Who was forgotten, as keyed hashes: so that no source brings them back.

A tombstone is HMAC-SHA256 of the id, keyed with random bytes that stand in the same file. So the file names nobody, no
table made beforehand finds anybody in it, and two deployments cannot be compared. It does not withstand somebody who
has the file and tries every id that there may be: guard it like the data that it lies with.

A raw row is about a person if its user id is theirs. A row that breaks the contract by itself is nobody's; it is about
them if their id stands anywhere in it as a value, as in a line that could not be split into columns.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.engine import connect
from churn_assets.ingest import contract
from churn_assets.ingest.source import SourceError
from churn_assets.layout import with_day
from churn_serving import atomic

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from churn_assets.settings import Settings
    from churn_assets.workspace import Workspace

Kind = Literal["users", "engagements", "events"]
"""Which of the tables that a source gives."""

SALT_BYTES = 32

NOT_BY_ITSELF = frozenset(
    {"user_unknown", "out_of_history", "before_signup", "duplicate", "user_id_duplicate", "signup_in_future"}
)
"""Rules that other rows or the day decide: what breaks only such a rule is somebody's, and stays."""

NO_NUMBERS = frozenset({"user_id", "event_type"})
"""Columns that hold no number, so that digits in them may be an id."""

ROWS_AT_A_TIME = 4096

_EDGE = re.compile(r"[,;|\t\"']+|: ")
_WORD = re.compile(r"[^\s,;|\"'=()<>\[\]{}]+")
_MOST_CELLS = 4


class TombstonesError(SourceError):
    """The tombstones cannot be read, so that nobody knows who must not come back."""


class Tombstone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who was forgotten: the hash, and since when (UTC)."""

    hash: str
    since: datetime


class Tombstones(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them.

    Attributes:
        salt: Key of the hashes, hexadecimal.
        forgotten: Oldest first.
    """

    salt: str
    forgotten: tuple[Tombstone, ...] = ()

    def hash_of(self, user_id: str) -> str:
        """The hash of an id."""
        return hmac.digest(bytes.fromhex(self.salt), user_id.encode("utf-8", "surrogatepass"), "sha256").hex()

    def of(self, user_id: str) -> Tombstone | None:
        """The tombstone of a person, if there is one."""
        wanted = self.hash_of(user_id)
        return next((one for one in self.forgotten if one.hash == wanted), None)


class _Forgotten(Container[str]):
    """Ids that have a tombstone."""

    def __init__(self, tombstones: Tombstones) -> None:
        self._key = bytes.fromhex(tombstones.salt)
        self._hashes = {bytes.fromhex(one.hash) for one in tombstones.forgotten}

    def __contains__(self, user_id: object) -> bool:
        text = str(user_id).encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256") in self._hashes


def read_tombstones(path: Path) -> Tombstones:
    """Read the tombstones; none, under a new salt, if nobody was forgotten yet.

    Raises:
        TombstonesError: The file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tombstones)
    except FileNotFoundError:
        return Tombstones(salt=secrets.token_hex(SALT_BYTES))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TombstonesError(
            f"{path} is damaged ({error}): restore it from a backup, else the source brings back who was forgotten"
        ) from error


def add_tombstone(path: Path, user_id: str, now: datetime) -> Tombstone:
    """Write a person's tombstone, or return the one that stands.

    Raises:
        TombstonesError: The file is damaged.
        OSError: It cannot be written.
    """
    before = read_tombstones(path)
    standing = before.of(user_id)
    if standing:
        return standing
    added = Tombstone(hash=before.hash_of(user_id), since=now)
    after = msgspec.structs.replace(before, forgotten=(*before.forgotten, added))
    atomic.write_bytes(path, msgspec.json.format(msgspec.json.encode(after), indent=2) + b"\n")
    return added


@dataclass
class Sieve:
    """Leaves forgotten people out of what a source gives; counts rows and people.

    Attributes:
        settings: For the contract of raw data.
        rows: Rows that were left out.
        people: Whose they were.
    """

    settings: Settings
    rows: int = 0
    people: set[str] = field(default_factory=set)
    _forgotten: _Forgotten | None = None
    _connection: duckdb.DuckDBPyConnection | None = None

    def users(self, table: pa.Table) -> pa.Table:
        """`raw_users` without them."""
        return self._without(table, "users")

    def engagements(self, table: pa.Table) -> pa.Table:
        """Raw engagements without them."""
        return self._without(table, "engagements")

    def events(self, table: pa.Table) -> pa.Table:
        """One day of `raw_events` without them."""
        return self._without(table, "events")

    @property
    def told(self) -> str:
        """What was left out, in words; empty if nothing was."""
        if not self.rows:
            return ""
        people = "1 forgotten user" if len(self.people) == 1 else f"{len(self.people)} forgotten users"
        return f"{people} left out ({self.rows} rows)"

    def _without(self, table: pa.Table, kind: Kind) -> pa.Table:
        if self._forgotten is None or self._connection is None:
            return table
        about = rows_about(self._connection, table, kind, self._forgotten, self.settings)
        if not about.rows.any():
            return table
        self.rows += int(about.rows.sum())
        self.people |= about.people
        return without_rows(table, about.rows)


@contextlib.contextmanager
def sieve(workspace: Workspace) -> Iterator[Sieve]:
    """What leaves out everybody who has a tombstone; nothing is looked at if nobody has.

    Raises:
        TombstonesError: The tombstones are damaged.
    """
    tombstones = read_tombstones(workspace.layout.tombstones)
    if not tombstones.forgotten:
        yield Sieve(workspace.settings)
        return
    with connect(workspace.layout.temporary) as connection:
        yield Sieve(workspace.settings, _forgotten=_Forgotten(tombstones), _connection=connection)


@dataclass(frozen=True)
class About:
    """Rows about certain people: (n,) true where one is, and the ids that were found."""

    rows: NDArray[np.bool_]
    people: frozenset[str]


def rows_about(
    connection: duckdb.DuckDBPyConnection, raw: pa.Table, kind: Kind, people: Container[str], settings: Settings
) -> About:
    """Find the rows of a raw table that are about certain people.

    Args:
        connection: An engine.
        raw: As a source gives it.
        kind: Which table it is.
        people: Their ids.
        settings: For the contract of raw data.
    """
    judged = _judged(connection, raw, kind, settings)
    ids = judged["user_id"].combine_chunks().dictionary_encode()
    found = {key for key in ids.dictionary.to_pylist() if key in people}
    place = judged["row_id"].to_numpy()
    rows = np.zeros(raw.num_rows, dtype=np.bool_)
    is_theirs = pc.is_in(judged["user_id"], value_set=pa.array(sorted(found), pa.string()))
    rows[place[is_theirs.to_numpy(zero_copy_only=False)]] = True
    broken = place[judged["broken"].to_numpy(zero_copy_only=False)]
    for row, texts in _rows_of(raw, broken[~rows[broken]]):
        if named := [value for value in values_of(texts) if value in people]:
            rows[row] = True
            found.update(named)
    return About(rows, frozenset(found))


def without_rows(table: pa.Table, rows: NDArray[np.bool_]) -> pa.Table:
    """The table without certain rows, in one piece: so the same rows always give the same file."""
    return table.filter(pa.array(~rows)).combine_chunks()


def values_of(row: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a row of nobody's that may be an id.

    Where numbers may stand, a number is a number, whoever is called the same.
    """
    for name, value in row.items():
        if isinstance(value, str) and value and (name in NO_NUMBERS or not _is_number(value)):
            yield from _cells(value)


def _cells(text: str) -> Iterator[str]:
    """A text itself, what stands in it between separators (a few at a time), and each of its words but numbers."""
    yield text.strip()
    edges = [(0, 0), *(match.span() for match in _EDGE.finditer(text)), (len(text), len(text))]
    for first in range(len(edges) - 1):
        for last in range(first + 1, min(first + 1 + _MOST_CELLS, len(edges))):
            cell = text[edges[first][1] : edges[last][0]].strip()
            if cell and not text[edges[last][0] :].startswith(": "):
                yield cell
                if '""' in cell:
                    yield cell.replace('""', '"')
    yield from (word for word in _WORD.findall(text) if not _is_number(word))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _judged(connection: duckdb.DuckDBPyConnection, raw: pa.Table, kind: Kind, settings: Settings) -> pa.Table:
    """`row_id`, `user_id` as the contract reads it, and `broken`: whether the row breaks the contract by itself."""
    numbered = raw.append_column("row_id", pa.array(np.arange(raw.num_rows)))
    columns = raw.column_names
    if kind == "users":
        typed = contract.typed_users(columns, list(settings.users.attributes))
        broken = _broken(contract.user_rules(settings.today))
    elif kind == "events":
        numbered = with_day(numbered, settings.today)
        typed = contract.typed_events(columns)
        broken = _broken(contract.event_rules(settings, columns))
    else:
        typed = "SELECT nullif(trim(CAST(user_id AS VARCHAR)), '') AS user_id, started_on, row_id FROM raw"
        broken = "user_id IS NULL OR TRY_CAST(started_on AS DATE) IS NULL"
    connection.register("raw", numbered)
    found: pa.Table = connection.sql(
        f"SELECT row_id, user_id, coalesce({broken}, false) AS broken FROM ({typed})"
    ).to_arrow_table()
    connection.unregister("raw")
    return found


def _rows_of(table: pa.Table, places: NDArray[np.int64]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows as they are, with where they stand; some thousand at a time."""
    for start in range(0, len(places), ROWS_AT_A_TIME):
        chosen = places[start : start + ROWS_AT_A_TIME]
        yield from zip(chosen.tolist(), table.take(pa.array(chosen)).to_pylist(), strict=True)


def _broken(rules: list[contract.Rule]) -> str:
    return " OR ".join(f"coalesce({rule.broken}, false)" for rule in rules if rule.name not in NOT_BY_ITSELF)

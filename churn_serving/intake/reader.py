"""The reader of requests for one model: typed decoding for what is right, a diagnosis for what is not."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import UNSET

from churn_serving.encoding import UNSEEN
from churn_serving.intake.diagnosis import check_request, read_json
from churn_serving.intake.fields import ABSENT, UserIdField, batch_type, features_type, is_flag, is_whole, request_type
from churn_serving.intake.problems import RefusedError, wrong_fields
from churn_serving.schemas import FieldProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from churn_serving.encoding import Encoder


@dataclass(slots=True)
class Row:
    """What is asked for one user.

    Attributes:
        user_id: As it was sent.
        snapshot_date: The as-of date that was asked for, if any.
        cells: The features in the schema's order, None or ABSENT where missing; None to take the user's snapshot.
    """

    user_id: str | int
    snapshot_date: date | None
    cells: tuple[Any, ...] | None = None


@dataclass(slots=True)
class Rows:
    """What is asked for many users.

    Attributes:
        rows: One a user, in order; a row that is wrong is its refusal.
        matrix: (m, F) the encoded features of those m that bring features, in order.
    """

    rows: Sequence[Row | RefusedError]
    matrix: NDArray[np.float64]

    def blocks(self, size: int) -> Iterator[tuple[int, Rows]]:
        """Cut into blocks of at most `size` rows, each with the number of its first row."""
        taken = 0
        for start in range(0, len(self.rows), size):
            some = self.rows[start : start + size]
            stop = taken + sum(isinstance(row, Row) and row.cells is not None for row in some)
            yield start, Rows(some, self.matrix[taken:stop])
            taken = stop


class Reader:
    """Reads requests in the terms of one model.

    Args:
        encoder: The model's encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._names = encoder.names
        self._specs = {spec.name: spec for spec in encoder.features}
        kinds = [spec.kind for spec in encoder.features]
        self._flags = tuple(position for position, kind in enumerate(kinds) if kind == "flag")
        self._categories = tuple(position for position, kind in enumerate(kinds) if kind == "category")
        self.request_type = request_type(features_type(encoder.features))
        self._one = msgspec.json.Decoder(self.request_type)
        self._many: msgspec.json.Decoder[Any] = msgspec.json.Decoder(batch_type(self.request_type))

    def row(self, body: bytes) -> Row:
        """Read a request for one user.

        Raises:
            RefusedError: It is no JSON (400), or fields are wrong (422).
        """
        try:
            request = self._one.decode(body)
            row = self._row(request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a wrong field is a DecodeError too
            return self._diagnosed(body)
        absent = 0 if row.cells is None else row.cells.count(ABSENT)
        keys = _keys(row, request) - absent
        if body.count(b":") != keys or _hides_colons(row, body) or not self._is_plausible(row, absent):
            return self._diagnosed(body)
        return row

    def sound_rows(self, body: bytes, limit: int) -> Rows | None:
        """Read a batch in which every row is right; None if something is wrong: then `rows` says what.

        Raises:
            RefusedError: It has more than `limit` rows (413).
        """
        try:
            requests = self._many.decode(body).instances
            rows = [self._row(request) for request in requests]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        _require_few(len(rows), limit)
        columns = self._columns(rows)
        matrix = self._encoder.cell_columns(columns)
        absent = _absent(columns, matrix)
        keys = 1 + sum(map(_keys, rows, requests)) - absent
        if _colons(body) != keys or not self._are_plausible(rows, columns, has_absent=absent > 0):
            return None
        return None if b"\\" in body and any(_hides_colons(row, body) for row in rows) else Rows(rows, matrix)

    def rows(self, body: bytes, limit: int) -> Rows:
        """Read a batch row by row; a row that is wrong is its refusal. It takes its time: not for the event loop.

        Raises:
            RefusedError: It is no batch (400, 422), or has more than `limit` rows (413).
        """
        found = self._row_by_row(body, limit)
        return Rows(found, self._encoder.cell_columns(self._columns(found)))

    def _row_by_row(self, body: bytes, limit: int) -> list[Row | RefusedError]:
        try:
            parts = _PARTS.decode(body).instances
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            instances = _instances(read_json(body))
            _require_few(len(instances), limit)
            return [_or_refusal(self._checked, instance) for instance in instances]
        _require_few(len(parts), limit)
        bodies = [bytes(part) for part in parts]
        if body.count(b":") != 1 + sum(part.count(b":") for part in bodies):
            raise wrong_fields([FieldProblem(key="instances", message="is given more than once; give it once")])
        return [_or_refusal(self.row, part) for part in bodies]

    def encoded(self, cells: Sequence[Any]) -> list[float]:
        """Return the encoded row of `Row.cells`, F numbers."""
        row = list(cells)
        self._encoder.code(row)
        try:
            sum(row)
        except TypeError:  # most rows have no null, and to look for one takes longer than to add them up
            return _without_null(row)
        return row

    def missing(self, cells: list[float]) -> tuple[str, ...]:
        """Return the names of the features that an encoded row has no value for."""
        if not math.isnan(sum(cells)):  # all are finite, so only a missing one makes their sum so
            return ()
        return tuple([name for name, cell in zip(self._names, cells, strict=True) if cell != cell])  # noqa: PLR0124

    def missing_of_rows(self, matrix: NDArray[np.float64]) -> list[tuple[str, ...]]:
        """Return what `missing` returns for each encoded row (n, F); few patterns are shared by many rows."""
        lacks = np.isnan(matrix)
        packed = np.packbits(lacks, axis=1)
        patterns: list[bytes] = packed.view(f"S{packed.shape[1]}").ravel().tolist()
        names: dict[bytes, tuple[str, ...]] = {}
        found = []
        for row, pattern in enumerate(patterns):
            known = names.get(pattern)
            if known is None:
                known = names[pattern] = tuple(self._names[place] for place in np.flatnonzero(lacks[row]))
            found.append(known)
        return found

    def has_unseen(self, cells: list[float]) -> bool:
        """Whether an encoded row has a category that the model never saw."""
        for position in self._categories:  # noqa: SIM110 - any() would take three times as long
            if cells[position] == UNSEEN:
                return True
        return False

    def rows_with_unseen(self, matrix: NDArray[np.float64]) -> list[int]:
        """Return the numbers of the encoded rows (n, F) with a category that the model never saw."""
        found: list[int] = np.flatnonzero((matrix[:, self._categories] == UNSEEN).any(axis=1)).tolist()
        return found

    def unseen(self, cells: list[float], values: Mapping[str, Any]) -> dict[str, str]:
        """Return the categories of a row that the model never saw, by feature.

        Args:
            cells: The encoded row.
            values: The same row by feature name.
        """
        names = (self._names[place] for place in self._categories if cells[place] == UNSEEN)
        return {name: values[name] for name in names}

    def values(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Return the values of `Row.cells` by feature name, None where missing."""
        values = {name: None if cell is ABSENT else cell for name, cell in zip(self._names, cells, strict=True)}
        return values | {self._names[place]: float(cells[place]) for place in self._flags if cells[place] in _SWITCHED}

    def _row(self, request: Any) -> Row:
        features = request.features
        asked = None if request.snapshot_date is UNSET else request.snapshot_date
        if features is None or features is UNSET:
            return Row(request.user_id, asked)
        return Row(request.user_id, asked, msgspec.structs.astuple(features))

    def _is_plausible(self, row: Row, absent: int) -> bool:
        """Whether a row keeps the rules that no type expresses: flags are 0 or 1, some feature is given."""
        cells = row.cells
        if cells is None:
            return True
        for place in self._flags:
            if not is_flag(cells[place]):
                return False
        return absent < len(cells)

    def _are_plausible(self, rows: Sequence[Row], columns: Sequence[Sequence[Any]], *, has_absent: bool) -> bool:
        """Whether all rows are plausible."""
        if not all(is_flag(flag) for place in self._flags for flag in set(columns[place])):
            return False
        return not has_absent or all(row.cells is None or any(cell is not ABSENT for cell in row.cells) for row in rows)

    def _columns(self, rows: Sequence[Row | RefusedError]) -> list[tuple[Any, ...]]:
        """The features of the rows that bring some, by column."""
        cells = [row.cells for row in rows if isinstance(row, Row) and row.cells is not None]
        return list(zip(*cells, strict=True)) if cells else [()] * len(self._names)

    def _diagnosed(self, body: bytes) -> Row:
        """Refuse a request with a reason, or take it after all."""
        return self._checked(read_json(body))

    def _checked(self, content: Any) -> Row:
        if isinstance(content, dict) and is_whole(content.get("user_id")):
            content["user_id"] = int(content["user_id"])
        check_request(content, self._specs)
        try:
            return self._row(msgspec.convert(content, self.request_type))
        except msgspec.ValidationError as error:  # a rule that the diagnosis does not know
            raise RefusedError(422, str(error)) from None


_SWITCHED = (True, False)
"""Flags may come as true and false; they are answered as 1 and 0."""


class _Parts(msgspec.Struct, forbid_unknown_fields=True):
    instances: list[msgspec.Raw]


class _Who(msgspec.Struct):
    user_id: UserIdField


_WHO = msgspec.json.Decoder(_Who)
_PARTS = msgspec.json.Decoder(_Parts)


def _without_null(cells: Sequence[Any]) -> list[Any]:
    return [ABSENT if cell is None else cell for cell in cells]


def _or_refusal(read: Callable[[Any], Row], part: Any) -> Row | RefusedError:
    try:
        return read(part)
    except RefusedError as refusal:
        refusal.user_id = _user_id(part)
        return refusal


def _user_id(part: Any) -> str | int | None:
    """The user whom a refused row is about, if it says so."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        known = _WHO.decode(part) if isinstance(part, bytes) else msgspec.convert(part, _Who)
        return known.user_id
    return None


def _keys(row: Row, request: Any) -> int:
    """Return how many colons the JSON of a request has that gives every feature, if no category has one."""
    keys = 1 + (request.snapshot_date is not UNSET) + (request.features is not UNSET)
    if row.cells is not None:
        keys += len(row.cells)
    return keys + row.user_id.count(":") if isinstance(row.user_id, str) else keys


def _absent(columns: Sequence[Sequence[Any]], matrix: NDArray[np.float64]) -> int:
    """Return how many features of some rows were not given at all: no value, and not null either."""
    empty = np.isnan(matrix)
    nulls = sum(columns[place].count(None) for place in np.flatnonzero(empty.any(axis=0)).tolist())
    return int(empty.sum()) - nulls


def _colons(body: bytes) -> int:
    """Return how many colons a body has: `bytes.count` takes five times as long where they are many."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord(":")))


def _hides_colons(row: Row, body: bytes) -> bool:
    """Whether a colon of the user id may be written as an escape, so that the count of colons says nothing."""
    return isinstance(row.user_id, str) and ":" in row.user_id and b"\\" in body


def _require_few(count: int, limit: int) -> None:
    if count > limit:
        raise RefusedError(413, f"{count} rows are too many for one request: send at most {limit} (`max_batch_rows`)")


def _instances(content: Any) -> list[Any]:
    known = content if isinstance(content, dict) else {}
    unknown = [name for name in known if name != "instances"]
    if unknown or not isinstance(known.get("instances"), list):
        key, message = (unknown[0][:64], "is not known") if unknown else ("instances", "must be a list of requests")
        example = 'send {"instances": [{"user_id": "u000001"}, …]}'
        raise wrong_fields([FieldProblem(key=key, message=f"{message}; {example}")])
    found: list[Any] = known["instances"]
    return found

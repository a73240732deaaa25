"""Moments of a log line: ISO 8601, UTC, milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MILLISECONDS = 86_400_000


def utc_text(seconds: float) -> str:
    """Return a POSIX time as text, for example `2026-01-05T03:00:12.345Z`; parts of a millisecond are cut off."""
    return _text(int(seconds * 1000))


def utc_day(seconds: float) -> int:
    """Return the UTC day of a POSIX time, counted from 1970-01-01; the same day as in `utc_text`."""
    return int(seconds * 1000) // _DAY_MILLISECONDS


@lru_cache(maxsize=64)  # under load many lines share a millisecond
def _text(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"

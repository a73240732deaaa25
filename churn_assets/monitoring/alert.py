"""An alert that stands: the same from its first day to its last, so that it is answered and told once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["drift", "performance"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that stands.

    Attributes:
        id: Model, kind and first day: the same for as long as it stands.
        kind: What alarmed.
        since: Its first day.
    """

    id: str
    kind: Kind
    since: date

    @staticmethod
    def of(kind: Kind, model_version: str, since: date) -> Alert:
        """Return the alert of a model that began on a day."""
        return Alert(id=f"{model_version}@{kind}@{since}", kind=kind, since=since)

    @staticmethod
    def raised(kind: Kind, model_version: str, day: date, before: Alert | None) -> Alert:
        """Return the alert of an alarming day: the one that stood before it, if that is this model's, or a new one."""
        if before is not None and before.id == Alert.of(kind, model_version, before.since).id:
            return before
        return Alert.of(kind, model_version, day)


class Alarming(msgspec.Struct, frozen=True, kw_only=True):
    """The part of any report that says whether an alert stands.

    Attributes:
        as_of_date: Its day.
        model_version: The model it is about; None if none served.
        alert: The alert that stands; None if none does.
    """

    as_of_date: date
    model_version: str | None = None
    alert: Alert | None = None

    @staticmethod
    def read(path: Path) -> Alarming | None:
        """Return this part of a report; None if there is none, or none that can be read."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Alarming)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None


def standing_before(reports: Iterable[Path], day: date) -> Alert | None:
    """Return the alert of the newest report before a day; a report's name ends with its day."""
    earlier = [path for path in reports if path.stem[-10:] < day.isoformat()]
    report = Alarming.read(max(earlier)) if earlier else None
    return report.alert if report else None


def is_newest(latest: Path, day: date) -> bool:
    """Whether no report of a later day stands at the place of the newest one."""
    report = Alarming.read(latest)
    return report is None or report.as_of_date <= day

"""What people have been told, and when: so that nothing is told twice, whoever asks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from churn_assets.notify.messages import Message
from churn_serving import atomic

KEPT_DAYS = 400
"""Longer than any run, alert or version comes back."""

LOCK_SECONDS = 15.0
"""How long to wait for another process that is telling: a little longer than a channel may take."""

_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Kind and subject."""


class Entry(msgspec.Struct, frozen=True):
    """Something that people have been told.

    Attributes:
        kind: What sort of thing.
        subject: What it was about.
        on: When, the last time.
    """

    kind: str
    subject: str
    on: date


def is_due(message: Message, last: date | None, today: date, repeat_days: int) -> bool:
    """Whether to tell a message.

    Args:
        message: What there is to tell.
        last: When it was told; None if never.
        today: The day it is.
        repeat_days: After so many days what still holds is told again.

    Returns:
        Whether it is news, or holds and was told long ago. A day that lies ahead (a clock that was wrong) counts as
        long ago; one day of that is nothing but another clock.
    """
    if last is None:
        return True
    return message.stands and not -1 <= (today - last).days < repeat_days


def pruned(told: Mapping[Key, date], today: date) -> dict[Key, date]:
    """Leave out what was told more than `KEPT_DAYS` days ago."""
    return {key: on for key, on in told.items() if (today - on).days <= KEPT_DAYS}


@dataclass(frozen=True)
class Memory:
    """A file that says what was told.

    Attributes:
        path: JSON; replaced as a whole.
        lock_seconds: How long `held` waits.
    """

    path: Path
    lock_seconds: float = LOCK_SECONDS

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Keep other processes from telling; the system lets go if this one dies.

        Yields:
            False if another process tells something for too long. Where no lock can be made (a full or read-only
            disk), True: then it is better to tell twice than never.
        """
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=self.lock_seconds)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            yield False
            return
        except OSError as error:
            _log.warning("no lock beside %s (%s): something may be told twice", self.path, error.strerror)
        try:
            yield True
        finally:
            lock.release()

    def last(self, kind: str, subject: str) -> date | None:
        """When something was told; None if never."""
        return self.read().get((kind, subject))

    def read(self) -> dict[Key, date]:
        """Everything that was told. A file that cannot be read counts as empty, and is replaced."""
        try:
            entries = msgspec.json.decode(self.path.read_bytes(), type=list[Entry])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s cannot be read (%s): things may be told twice", self.path, error)
            return {}
        return {(entry.kind, entry.subject): entry.on for entry in entries}

    def remember(self, message: Message, today: date) -> bool:
        """Write down that a message was told; to be called while it is `held`.

        Returns:
            Whether it could be written.
        """
        return self._write(pruned(self.read() | {(message.kind, message.subject): today}, today))

    def forget(self, kind: str, subject: str) -> bool:
        """Make something news again; to be called while it is `held`.

        Returns:
            Whether it could be written.
        """
        told = self.read()
        told.pop((kind, subject), None)
        return self._write(told)

    def _write(self, told: Mapping[Key, date]) -> bool:
        entries = [Entry(kind, subject, on) for (kind, subject), on in sorted(told.items())]
        try:
            atomic.write_bytes(self.path, msgspec.json.format(msgspec.json.encode(entries)) + b"\n")
        except OSError as error:
            _log.warning("%s cannot be written (%s): something may be told twice", self.path, error.strerror)
            return False
        return True

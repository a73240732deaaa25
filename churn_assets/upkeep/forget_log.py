"""A person's lines in the prediction log, also in the file that a running service is writing to.

A service keeps its file open and looks about once a second whether the path still leads to it. So a file that may be
open is first given another name in the same folder, under which everybody still finds its lines; then the service
begins a new file, and only when it has done so is the old one replaced. Killed in between, it is a log file like any
other. Nobody's lines are lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from churn_assets.ingest.tombstones import values_of
from churn_serving import atomic
from churn_serving.logs.prediction_log import PREFIX, Served
from churn_serving.logs.rotated_file import files_of_days

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from churn_assets.upkeep.forget_places import Found

_OPEN_DAYS = timedelta(days=1)
"""A service writes to files of this day only, and about midnight still to that of the day before."""


@dataclass
class PredictionLogLines:
    """The lines about one person.

    Attributes:
        folder: Of the log.
        user_id: Who.
        clock: Gives the time, UTC.
    """

    folder: Path
    user_id: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    kind: str = "prediction_log"
    _set_aside: list[Path] = field(default_factory=list)

    def find(self) -> Found:
        """Look for the person."""
        rows = {path: self._lines(path) for path in sorted(self.folder.glob(f"{PREFIX}_*.jsonl"))}
        return {path: lines for path, lines in rows.items() if lines}

    def erase(self, files: Sequence[Path]) -> None:
        """Rewrite files that nobody has open; give the others another name, under which their writer leaves them."""
        today = self.clock().date()
        fresh = set(files_of_days(self.folder, PREFIX, today - _OPEN_DAYS, today + _OPEN_DAYS))
        for path in files:
            if path in fresh:
                self._set_aside.append(_renamed(path))
            else:
                self._strip(path)

    def finish(self) -> None:
        """Rewrite the files whose writers have left them by now."""
        while self._set_aside:
            self._strip(self._set_aside.pop())

    def _strip(self, path: Path) -> None:
        """Replace a file by what is left of it, until nothing more has been written to the old one."""
        with path.open("rb") as file:
            content = b""
            while more := file.read():
                content += more
                atomic.write_bytes(path, self._without(content))

    def _without(self, content: bytes) -> bytes:
        return b"".join(line for line in _lines_of(content) if not self._is_about(line))

    def _lines(self, path: Path) -> int:
        return sum(self._is_about(line) for line in _lines_of(path.read_bytes()))

    def _is_about(self, line: bytes) -> bool:
        if self._needle not in line:
            return False
        try:
            return _decode(line).user_id.strip() == self.user_id
        except (msgspec.MsgspecError, UnicodeDecodeError):  # damaged, so it is nobody's
            named = self.user_id in values_of({"line": line.decode("utf-8", "replace")})
            return named or b'"%b"' % self._needle in line

    @property
    def _needle(self) -> bytes:
        """The id as it stands in JSON."""
        return msgspec.json.encode(self.user_id)[1:-1]


def _lines_of(content: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield content[start:end]
        start = end


def _renamed(path: Path) -> Path:
    """Give a log file the next free number."""
    host, _, process = path.stem.split("_", maxsplit=2)[2].partition("_")
    begin = "_".join([*path.stem.split("_")[:2], host, process.split("_")[0]])
    names = (path.with_name(f"{begin}_{number}{path.suffix}") for number in count(2))
    free = next(name for name in names if not name.exists())
    return path.rename(free)


_decode = msgspec.json.Decoder(Served).decode

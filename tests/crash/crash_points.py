"""The moments at which a process can die: just before each change that it makes to files.

Python reports what it is about to do to the system as audit events, whoever asks for it. So nothing in the code under
test has to know of this, and a write that goes past `churn_serving.atomic` is seen like any other.
"""

import dataclasses
import fcntl
import os
import re
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

BEFORE_WRITE = "before write"
MID_WRITE = "mid-write"
BEFORE_RENAME = "before rename"
AFTER_RENAME = "after rename"
HOLDING_LOCK = "holding a lock"
BEFORE_REMOVAL = "before removal"
MID_APPEND = "mid-append"

APPEND = "churn_tests.append"
"""An audit event of our own: Python tells of no `write`."""

LEFT_TO_SQLITE = ("dagster/",)
"""Dagster's storage: SQLite keeps its files whole by its own means."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
VARYING = (
    (re.compile(r"\d{4}-\d{2}-\d{2}"), "<day>"),
    (re.compile(r"\d{8}T\d{6}Z"), "<time>"),
    (re.compile(r"\.\d+-[0-9a-f]{8}\.part"), ".part"),
    (re.compile(r"/objects/[0-9a-f]{2}\b"), "/objects/<two>"),
    (re.compile(r"[0-9a-f]{12,}"), "<digest>"),
    (re.compile(r"tmp/tmp\w{8}"), "tmp/<aside>"),
    (re.compile(r"_[A-Za-z0-9.-]+_\d+\.jsonl$"), "_<process>.jsonl"),
)


def pattern(name):
    """A path without what is another on each day and in each run."""
    for varying, fixed in VARYING:
        name = varying.sub(fixed, name)
    return name


@dataclass(frozen=True)
class Point:
    """A moment at which a process dies.

    Attributes:
        kind: What it was about to do, or in the middle of.
        place: The path that the event names, without what varies.
        number: Which such event it is, from 1.
        subject: The file that the change is about, without what varies.
    """

    kind: str
    place: str
    number: int
    subject: str

    def __str__(self):
        return f"{self.kind}: {self.subject} (event {self.number} of {self.place})"

    @property
    def address(self):
        """What finds it again in another run."""
        return self.kind, self.place, self.number


class Watch:
    """Tells changes below a folder; once installed it stays to the end of the process.

    Args:
        root: The folder.
        deadly: The point at which the process kills itself; None to note all points.
    """

    def __init__(self, root, deadly=None):
        self.points = []
        self._root = f"{root}{os.sep}"
        self._deadly = deadly.address if deadly else None
        self._counts = Counter()
        self._busy = False
        self._renamed = ""
        self._whole = set()
        self._handlers = {
            "os.mkdir": self._mkdir,
            "open": self._open,
            "os.rename": self._rename,
            "os.remove": self._remove,
            "os.rmdir": self._remove,
            "fcntl.flock": self._flock,
            APPEND: self._append,
        }

    def install(self):
        """Begin."""
        sys.addaudithook(self._hear)
        return self

    def _hear(self, event, arguments):
        handler = self._handlers.get(event)
        if handler is None or self._busy:
            return
        self._busy = True
        try:
            handler(*arguments)
        finally:
            self._busy = False

    def _mkdir(self, path, _mode, folder=-1):
        """Every write begins so: its folder is made if need be."""
        if name := self._inside(path, folder):
            self._reach(BEFORE_WRITE, name)

    def _open(self, path, _mode, flags):
        name = self._inside(path)
        if not name or name.endswith(".lock"):
            return
        if name.endswith(".part"):
            self._part(path, name, flags)
        elif flags & WRITES:
            self._reach(BEFORE_WRITE, name)
        elif self._renamed and Path(path).is_dir():  # to be flushed
            self._reach(AFTER_RENAME, self._renamed)

    def _part(self, path, name, flags):
        """A part that is opened to be read has all its bytes, and is about to be flushed."""
        if not flags & WRITES and os.fspath(path) not in self._whole and Path(path).is_file():
            self._whole.add(os.fspath(path))
            self._reach(MID_WRITE, name, cut=Path(path))

    def _rename(self, _source, target, _source_folder=-1, target_folder=-1):
        if name := self._inside(target, target_folder, spared=()):
            self._whole.add(os.fspath(target))
            self._reach(BEFORE_RENAME, name)
            self._renamed = name

    def _remove(self, path, folder=-1):
        name = self._inside(path, folder)
        if name and os.path.lexists(f"{self._root}{name}"):
            self._reach(BEFORE_REMOVAL, name)

    def _flock(self, descriptor, operation):
        if operation == fcntl.LOCK_UN and (name := self._inside(_path_of(descriptor))):
            self._reach(HOLDING_LOCK, name)

    def _append(self, descriptor):
        if name := self._inside(_path_of(descriptor)):
            self._reach(MID_APPEND, name)

    def _inside(self, path, folder=-1, spared=LEFT_TO_SQLITE):
        """The path below the root; empty if it lies elsewhere, or in a folder that is spared."""
        if not isinstance(path, str | os.PathLike):
            return ""
        whole = os.fspath(path if folder == -1 else Path(_path_of(folder), path))
        name = whole.removeprefix(self._root) if whole.startswith(self._root) else ""
        return "" if name.startswith(spared) else name

    def _reach(self, kind, name, *, cut=None):
        self._renamed = ""
        place = pattern(name)
        self._counts[kind, place] += 1
        point = Point(kind, place, self._counts[kind, place], place)
        if self._deadly is None:
            self.points.append(point)
        elif point.address == self._deadly:
            if cut is not None:
                os.truncate(cut, cut.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def _path_of(descriptor):
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""


def labelled(points):
    """The points of a run; the beginning of a write, which names a folder, bears the name of the file that follows."""
    found = []
    for place, point in enumerate(points):
        if point.kind == BEFORE_WRITE:
            names = (later.place for later in points[place + 1 :] if later.kind == BEFORE_RENAME)
            inside = (name for name in names if str(Path(name).parent) == point.place)
            point = dataclasses.replace(point, subject=next(inside, point.place))  # noqa: PLW2901 - the same, renamed
        found.append(point)
    return found


def chosen(points):
    """Of each kind of point and file the first, the one in the middle and the last."""
    groups = defaultdict(list)
    for point in points:
        groups[point.kind, point.subject].append(point)
    kept = {group[place] for group in groups.values() for place in (0, len(group) // 2, -1)}
    return [point for point in points if point in kept]

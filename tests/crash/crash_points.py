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
    (re.compile(r"_[A-Za-z0-9.-]+_\d+\.jsonl"), "_<process>.jsonl"),
    (re.compile(r"(\.restoring-<time>|\.before-restore-<time>)/.+?(\.part)?$"), r"\1/<any>\2"),
)


WHOLE_FOLDER = re.compile(r"(data|artifacts|dagster)/[a-z]+")
"""Renamed as a whole by a restore, one like the other."""


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
        renamed: The file that had been put in its place just before; empty if none had.
    """

    kind: str
    place: str
    number: int
    subject: str
    renamed: str = ""

    def __str__(self):
        return f"{self.kind}: {self.subject} (event {self.number} of {self.place})"

    @property
    def address(self):
        """What finds it again in another run."""
        return self.kind, self.place, self.number

    @property
    def moments(self):
        """What it is the moment of: kind and file."""
        return ((self.kind, self.subject), *([(AFTER_RENAME, self.renamed)] if self.renamed else []))


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
    """The points of a run with the files that they are about, each moment once.

    A write may begin right after a rename: that is one moment.
    """
    found = []
    for place, point in enumerate(points):
        after = ""
        if point.kind == BEFORE_WRITE and found and found[-1].kind == AFTER_RENAME:
            after = found.pop().subject
        found.append(dataclasses.replace(point, subject=_subject(point, points[place + 1 :]), renamed=after))
    return found


def _subject(point, later):
    """The file that a point is about: a write begins with its folder, and goes on with a part of the file."""
    path = Path(point.place)
    if point.kind == BEFORE_WRITE:
        names = (other.place for other in later if other.kind == BEFORE_RENAME)
        return next((name for name in names if Path(name).parent == path), point.place)
    if point.kind == MID_WRITE:
        return str(path.with_name(path.name.removeprefix(".").removesuffix(".part")))
    match = WHOLE_FOLDER.fullmatch(point.place)
    return f"{match[1]}/<folder>" if match and point.kind == BEFORE_RENAME else point.place


def chosen(points, *, with_owners):
    """Of each kind of moment and file the first, and of visible files the last moment before a rename as well.

    Args:
        points: All points of a run.
        with_owners: Whether also those of the files that say who holds a lock.
    """
    groups = defaultdict(list)
    for point in points:
        for moment in point.moments:
            groups[moment].append(point)
    kept = set()
    for (kind, subject), group in groups.items():
        name = Path(subject).name
        if with_owners or ".lock.owner." not in name:
            kept.add(group[0])
        if kind == BEFORE_RENAME and not name.startswith("."):
            kept.add(group[-1])
    return [point for point in points if point in kept]

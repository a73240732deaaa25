"""A deployment so small that it is copied in milliseconds, in which a process has already run each step once."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from crash_points import pattern

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 3, 12)
DAY = TODAY - timedelta(days=1)
DAY_BEFORE = DAY - timedelta(days=1)
LABEL_DAYS = 3
HISTORY_DAYS = 44

SETTINGS = {
    "CHURN_CLOCK__TODAY": TODAY.isoformat(),
    "CHURN_SOURCE__START_DATE": (TODAY - timedelta(days=HISTORY_DAYS)).isoformat(),
    "CHURN_SOURCE__SYNTHETIC__USERS": "80",
    "CHURN_FEATURES__WINDOWS_DAYS": "[3, 7]",
    "CHURN_CHURN__WINDOW_DAYS": str(LABEL_DAYS),
    "CHURN_TRAINING__EVERY_DAYS": "2",
    "CHURN_TRAINING__BOOTSTRAP_REPLICATES": "20",
    "CHURN_TRAINING__MODEL__ITERATIONS": "8",
    "CHURN_TRAINING__MIN_PR_AUC": "0",
    "CHURN_TRAINING__MIN_GAIN_OVER_RECENCY": "-1",
    "CHURN_TRAINING__MAX_PR_AUC_DROP": "1",
    "CHURN_TRAINING__MAX_ECE": "1",
    "CHURN_TRAINING__MAX_LATENCY_US": "1000000",
    "CHURN_SERVING__PORT": "1",
    "CHURN_SERVING__PREDICTION_LOG": "false",
    "OMP_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
}

NOT_LINKED = (".lock", ".jsonl", ".db", ".db-wal", ".db-shm")
"""Files that are not replaced as a whole: locks, logs, databases. Any other is linked when a world is copied, so that
a write into it would show in the world that it was copied from."""


@dataclass(frozen=True)
class World:
    """A folder with `data`, `artifacts` and `dagster`."""

    root: Path

    @classmethod
    def empty(cls, root):
        """A new one, with an instance of Dagster that nothing has run in."""
        (root / "dagster").mkdir(parents=True)
        shutil.copyfile(ROOT / "dagster.yaml", root / "dagster" / "dagster.yaml")
        return cls(root)

    def copied(self, root):
        """The same somewhere else; files are linked, not read."""
        shutil.copytree(self.root, root, copy_function=_link, symlinks=True)
        return World(root)

    def remove(self):
        """Take it away."""
        shutil.rmtree(self.root)

    def enter(self, today=TODAY):
        """Make it the deployment of this process."""
        from churn_assets.resources import load_workspace

        places = {
            "CHURN_PATHS__DATA": self.root / "data",
            "CHURN_PATHS__ARTIFACTS": self.root / "artifacts",
            "DAGSTER_HOME": self.root / "dagster",
        }
        os.environ.update({name: str(path) for name, path in places.items()})
        os.environ["CHURN_CLOCK__TODAY"] = today.isoformat()
        os.chdir(self.root)
        load_workspace.cache_clear()

    @property
    def workspace(self):
        """Its deployment, as this process sees it."""
        from churn_assets.resources import load_workspace

        return load_workspace()

    def files(self):
        """Every file that a reader may look at, by its name below the root."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if self._is_looked_into(Path(folder, name))]
            for name in names:
                if not name.startswith("."):
                    path = Path(folder, name)
                    found[path.relative_to(self.root).as_posix()] = path
        return found

    def inodes(self):
        """Name of each file by its inode."""
        return {path.stat().st_ino: name for name, path in self.files().items()}

    def digests(self):
        """Digest of each file."""
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self.files().items()}

    def _is_looked_into(self, folder):
        """Not what is hidden, what is put aside while it is worked on, and Dagster's storage, which is SQLite's."""
        name = folder.relative_to(self.root).as_posix()
        return not (folder.name.startswith(".") or name == "data/tmp" or name.startswith("dagster"))


def _link(source, target):
    if source.endswith(NOT_LINKED):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


MEASURED = "artifacts/reports/model_"
"""Model cards tell how long a score took, which may be the same in two runs and another in the third."""


@dataclass(frozen=True)
class Outcome:
    """What a run that was not interrupted leaves behind.

    Attributes:
        fixed: Digest of the files that two such runs wrote alike, by name.
        varying: Names of the others, without what varies.
        gone: Files that it removed.
    """

    fixed: dict
    varying: set
    gone: set

    @classmethod
    def of(cls, before, first, second):
        """What two runs from the same state have in common."""
        alike = {name: digest for name, digest in first.items() if second.get(name) == digest}
        fixed = {name: digest for name, digest in alike.items() if not name.startswith(MEASURED)}
        varying = {pattern(name) for name in (first.keys() | second.keys()) - fixed.keys()}
        return cls(fixed, varying, before.keys() - first.keys() - second.keys())

    def difference(self, found):
        """In what the state of a world differs, in words; empty if in nothing that counts."""
        other = sorted(name for name, digest in self.fixed.items() if found.get(name) != digest)
        lacking = sorted(self.varying - {pattern(name) for name in found})
        back = sorted(self.gone & found.keys())
        strange = sorted({pattern(name) for name in found.keys() - self.fixed.keys()} - self.varying)
        parts = {"other bytes": other, "lacking": lacking, "not removed": back, "never written by a whole run": strange}
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names)

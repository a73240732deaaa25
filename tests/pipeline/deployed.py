"""A deployment in a folder of its own, driven as an operator drives it: the `churn` command in child processes."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from small_world import SMALL_WORLD, TODAY

from churn_assets.layout import Layout
from churn_serving.registry import Registry
from churn_serving.settings import Paths

ROOT = Path(__file__).resolve().parents[2]
DAY = TODAY - timedelta(days=1)
PATIENCE = 240

SPOILT = """
import fnmatch, json, os, pathlib, signal, sys
dying_at, lacking = json.loads(sys.argv.pop(1))
sys.modules.update(dict.fromkeys(lacking))
replace = pathlib.Path.replace
def deadly(self, target):
    if dying_at and fnmatch.fnmatch(pathlib.Path(target).name, dying_at):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
pathlib.Path.replace = deadly
from churn_assets.cli import main
main()
"""
"""The `churn` command, killed just before a certain file appears under its name, or without certain libraries."""


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """What it printed, read as JSON."""
        return json.loads(self.out)

    def expect(self, code=0):
        """The same, after making sure of the exit code."""
        assert self.code == code, f"exit code {self.code}, not {code}\n{self.out}\n{self.err}"
        return self


class Child:
    """A running command; its progress can be watched, and it can be killed."""

    def __init__(self, line, folder, environment):
        self._process = subprocess.Popen(
            line,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._out, self._err, self._written = [], [], threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self._process.stdout, self._out), (self._process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()

    def finish(self):
        """Wait until it is done."""
        code = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        self._process.stdout.close()
        self._process.stderr.close()
        return Finished(code, "".join(self._out), "".join(self._err))

    def kill(self):
        """End it as the kernel would when memory runs out."""
        self._process.kill()
        finished = self.finish()
        assert finished.code == -signal.SIGKILL, f"it ended before it could be killed: {finished}"
        return finished

    def stop(self):
        """End it as an operator would."""
        self._process.terminate()
        return self.finish()

    def wait_for(self, mark):
        """Return what follows `mark` in the line of its progress that has it."""
        with self._written:
            self._written.wait_for(lambda: self._said(mark) or not self._readers[1].is_alive(), PATIENCE)
        assert self._said(mark), f"it never said {mark!r}: {self._err}"
        return next(line for line in self._err if mark in line).partition(mark)[2]

    def kill_after(self, mark):
        """Kill it as soon as a line of its progress has `mark`."""
        self.wait_for(mark)
        return self.kill()

    def kill_when(self, happened):
        """Kill it as soon as `happened()`, which is looked at every few milliseconds."""
        for _ in range(PATIENCE * 100):
            if happened():
                return self.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                break
        raise AssertionError(f"it ended before it could be killed: {self.finish()}")

    def _said(self, mark):
        return any(mark in line for line in self._err)

    def _read(self, stream, lines):
        for line in stream:
            with self._written:
                lines.append(line)
                self._written.notify_all()


@dataclass(frozen=True)
class Deployment:
    """A folder with `data`, `artifacts` and the Dagster instance, and the settings that differ from the defaults."""

    folder: Path
    settings: dict = field(default_factory=lambda: dict(SMALL_WORLD))

    @classmethod
    def fresh(cls, folder, settings=SMALL_WORLD):
        """An empty one."""
        home = folder / "dagster"
        home.mkdir(parents=True)
        shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
        return cls(folder, dict(settings))

    def copied(self, folder):
        """The same, somewhere else, to be spoilt."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Deployment(folder, self.settings)

    def start(self, *arguments, dying_at="", lacking=(), **changes):
        """Start a `churn` command.

        Args:
            arguments: Its words.
            dying_at: It is killed just before a file whose name matches gets that name.
            lacking: Libraries that cannot be imported.
            changes: Settings for this run alone.
        """
        program = ["-c", SPOILT, json.dumps([dying_at, lacking])] if dying_at or lacking else ["-m", "churn_assets"]
        return Child([sys.executable, *program, *arguments], self.folder, self._environment(changes))

    def run(self, *arguments, **changes):
        """Run a `churn` command to its end."""
        return self.start(*arguments, **changes).finish()

    def python(self, *arguments):
        """Run this interpreter to its end, as configured for the deployment."""
        return Child([sys.executable, *arguments], self.folder, self._environment({})).finish()

    def daily_list(self):
        """The newest predictions, one dict a user."""
        with self.layout.latest_predictions.open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    @contextlib.contextmanager
    def served(self):
        """The scoring service, as long as the context lasts; gives its address."""
        service = self.start("serve", "--port", "0")
        try:
            port = service.wait_for("listening on http://127.0.0.1:").partition('"')[0]
            service.wait_for("Application startup complete")
            yield f"http://127.0.0.1:{port}"
        finally:
            service.stop().expect()

    @property
    def layout(self):
        """Where its files lie."""
        return Layout(Paths(data=self.folder / "data", artifacts=self.folder / "artifacts"))

    @property
    def registry(self):
        """Its models."""
        return Registry(self.folder / "artifacts")

    @contextlib.contextmanager
    def instance(self):
        """Its Dagster instance: what the UI would show."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment({}).items():
                if name.startswith(("DAGSTER_", "PG")):
                    patch.setenv(name, value)
            with dg.DagsterInstance.get() as instance:
                yield instance

    def _environment(self, changes):
        foreign = ("CHURN_", "DAGSTER_", "PYTEST_")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        kept = {"DAGSTER_HOME": str(self.folder / "dagster"), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
        return ours | kept | self.settings | changes


def visible_files(folder):
    """Every file that a reader may look at; what is being written has a name with a leading dot."""
    return [
        path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")
    ]  # fmt: skip


def one_clear_line(finished, code=1):
    """The one line that a refused command says, after making sure that it is one, and no traceback."""
    finished.expect(code)
    assert "Traceback" not in finished.out + finished.err
    assert finished.out == ""
    lines = finished.err.strip().splitlines()
    assert lines[0].startswith("churn: ")
    return finished.err

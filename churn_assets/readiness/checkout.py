"""The project's source, where this runs from a checkout of it; read with Git, which is kept from writing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import churn_assets

if TYPE_CHECKING:
    from collections.abc import Sequence

DISTRIBUTION = "churn-mlops"
MARKS = ("pyproject.toml", "Makefile", "churn_assets")
GIT_SECONDS = 10.0


def installed_version() -> str:
    """The version of this package."""
    return importlib.metadata.version(DISTRIBUTION)


@dataclass(frozen=True)
class Ran:
    """How a program ended.

    Attributes:
        code: Its exit code.
        out: What it printed, both streams.
    """

    code: int
    out: str

    @property
    def first_line(self) -> str:
        """The first line that says anything."""
        return next((line.strip() for line in self.out.splitlines() if line.strip()), "it said nothing")


@dataclass(frozen=True)
class Checkout:
    """A folder with the source.

    Attributes:
        root: The folder.
    """

    root: Path

    @classmethod
    def find(cls) -> Self | None:
        """The checkout that this package is run from, else the one in the working directory; None without one."""
        for root in (Path(churn_assets.__file__).parents[1], Path.cwd()):
            if all((root / mark).exists() for mark in MARKS):
                return cls(root)
        return None

    @property
    def deployment(self) -> Path:
        """Where images, cluster and monitoring are described."""
        return self.root / "deployment"

    def run(self, *line: str, seconds: float = GIT_SECONDS) -> Ran:
        """Run a program in the folder.

        Raises:
            OSError: It cannot be started.
            subprocess.TimeoutExpired: It took longer than `seconds`.
        """
        return run_program(line, self.root, seconds)

    def git(self, *arguments: str) -> str | None:
        """What Git answers; None if it is not installed, or this is no repository."""
        try:
            ran = self.run("git", "--no-optional-locks", *arguments)
        except FileNotFoundError:
            return None
        return ran.out.strip() if ran.code == 0 else None

    def sources_changed(self) -> float:
        """When a module or a test was written last: POSIX time, seconds."""
        folders = (self.root / name for name in ("churn_assets", "churn_serving", "tests"))
        return max((path.stat().st_mtime for folder in folders for path in folder.rglob("*.py")), default=0.0)


def run_program(line: Sequence[str], folder: Path, seconds: float) -> Ran:
    """Run a program to its end.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It took longer than `seconds`.
    """
    program = shutil.which(line[0])
    if program is None:
        raise FileNotFoundError(f"`{line[0]}` is not installed")
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # this may run under one
    ran = subprocess.run(  # noqa: S603 - programs and arguments are ours
        [program, *line[1:]],
        cwd=folder,
        env=own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout)

"""The runbook's shell blocks, each with the heading that it stands under, and a fresh system to run them on."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from small_world import SMALL_WORLD

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = ROOT / "deployment" / "RUNBOOK.md"
PATIENCE = 240

HEADING = re.compile(r"^#{2,3} (.+)$")
FENCE = re.compile(r"^```(\w+)( background)?$")

WORLD = {**SMALL_WORLD, "CHURN_DRIFT__EVIDENTLY": "false"}


@dataclass(frozen=True)
class Block:
    """A block of shell lines.

    Attributes:
        name: Its heading as a slug, and its place under it.
        kind: `bash`, `docker` or `kubectl`.
        in_background: Whether it goes on while the next ones run.
        text: The lines.
    """

    name: str
    kind: str
    in_background: bool
    text: str


def blocks():
    """Every block of the runbook, in order."""
    found, counts, heading, open_block = [], {}, "", None
    for line in RUNBOOK.read_text(encoding="utf-8").splitlines():
        if open_block is not None:
            if line == "```":
                found.append(Block(*open_block[:3], "\n".join(open_block[3]) + "\n"))
                open_block = None
            else:
                open_block[3].append(line)
        elif match := HEADING.match(line):
            heading = re.sub(r"[^a-z0-9]+", "-", match[1].lower()).strip("-")
        elif match := FENCE.match(line):
            counts[heading, match[1]] = number = counts.get((heading, match[1]), 0) + 1
            open_block = (f"{heading}-{match[1]}-{number}", match[1], bool(match[2]), [])
    return found


@dataclass
class System:
    """A fresh checkout on which blocks are run one after the other, as an operator would.

    Attributes:
        folder: Where.
        port: Of its service, in the place of 8000.
    """

    folder: Path
    port: int
    _background: list = field(default_factory=list)
    _results: dict = field(default_factory=dict)

    @classmethod
    def fresh(cls, folder):
        """The files of the checkout, with the virtual environment that runs this test."""
        for path in [*ROOT.glob("*.yaml"), ROOT / "pyproject.toml", ROOT / "Makefile"]:
            shutil.copy2(path, folder / path.name)
        for name in ("requirements", "deployment"):
            shutil.copytree(ROOT / name, folder / name)
        (folder / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            if path.name not in {"installed", "tested"}:
                (folder / ".venv" / path.name).symlink_to(path)
        (folder / ".venv" / "installed").touch()  # newer than what `make setup` would install
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return cls(folder, free.getsockname()[1])

    def run_until(self, block, everything):
        """Run a block, and before it those that have not been run; return what it printed, and its exit code."""
        for one in everything[: everything.index(block) + 1]:
            if one.name not in self._results:
                self._results[one.name] = self._run(one)
        return self._results[block.name]

    def _run(self, block):
        text = block.text.replace("localhost:8000", f"127.0.0.1:{self.port}")
        line = ["bash", "-euo", "pipefail", "-c", text]
        if block.in_background:
            self._background.append(self._start(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
            return self._wait_for_start()
        done = self._start(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = done.communicate(timeout=PATIENCE)
        return done.returncode, out

    def _start(self, line, **streams):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CHURN", "DAGSTER"))}
        environment |= WORLD | {
            "CHURN_SERVING__PORT": str(self.port),
            "DAGSTER_HOME": str(self.folder / ".dagster"),
            "PATH": f"{sys.prefix}/bin{os.pathsep}{environment['PATH']}",
        }
        return subprocess.Popen(
            line, cwd=self.folder, env=environment, text=True, encoding="utf-8", start_new_session=True, **streams
        )

    def _wait_for_start(self):
        lines = []
        for line in self._background[-1].stderr:
            lines.append(line)
            if "startup complete" in line:
                return 0, "".join(lines)
        return self._background[-1].wait(PATIENCE), "".join(lines)

    def close(self):
        """End what runs in the background."""
        for process in self._background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.stderr.read()
            process.stderr.close()
            process.wait(PATIENCE)

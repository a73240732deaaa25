"""A server in a process of its own, on a processor of its own: started, awaited, measured, stopped.

Several may share a processor, so each is suspended but while it is measured: even a server at rest looks for news.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

START_SECONDS = 60.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.3
"""Longer than the service's logs wait until they write."""

RESTING_SECONDS = 0.01
"""CPU time within `LOOK_SECONDS` of a server that has nothing to do."""

_CPU_CLOCK = 2
"""With a process's number this makes the clock that `clock_getcpuclockid(3)` gives: Linux's CPUCLOCK_SCHED."""

_OWN = ("CHURN_", "DAGSTER_", "PROMETHEUS_")
"""Settings of this shell that are not handed on."""


@dataclass(frozen=True)
class Cores:
    """The processors that servers and client run on; both None where there is only one, or nobody can say."""

    server: int | None
    client: int | None

    @classmethod
    def of_machine(cls) -> Cores:
        """Choose two of those that this process may use."""
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return cls(usable[0], usable[1]) if len(usable) > 1 else cls(None, None)

    @property
    def are_two(self) -> bool:
        """Whether each side has its own."""
        return self.client is not None


@dataclass(frozen=True)
class Memory:
    """Memory of a process, MB of 1e6 bytes: resident, its share of it, and what is its own and of no file."""

    rss_mb: float
    pss_mb: float
    anonymous_mb: float


class ServerProcess:
    """A server on a free port of the loopback address. What it prints goes through a pipe that is emptied.

    Args:
        name: In words.
        command: Program and arguments; `{port}` stands for the port.
        folder: Its working directory; its standard error goes to `<name>.log` there.
        environment: Settings.
        core: Its processor, if it is to have one.
    """

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], core: int | None
    ) -> None:
        self.name = name
        self.port = _free_port()
        self._errors = folder / f"{name.replace(' ', '_')}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OWN)}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in command],
                cwd=folder,
                env={**inherited, **environment},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})  # before it has threads, which take after it
        self._drain = subprocess.Popen(["cat"], stdin=self._process.stdout, stdout=subprocess.DEVNULL)
        if core is not None and (others := os.sched_getaffinity(0) - {core}):
            os.sched_setaffinity(self._drain.pid, others)  # what reads the log is no part of what is measured

    def __enter__(self) -> Self:
        """Wait until it answers, then suspend it.

        Raises:
            RuntimeError: It does not start; the message has what it said.
        """
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self._stop()
                raise RuntimeError(f"{self.name} does not start:\n{self._errors.read_text()[-2000:]}")
            time.sleep(0.05)
        self._process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._stop()

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for a while."""
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def cpu_seconds(self) -> float:
        """Return user and system time of all threads so far, to the nanosecond; /proc has it in ticks of 10 ms."""
        return time.clock_gettime(~self._process.pid << 3 | _CPU_CLOCK)

    def settled_cpu_seconds(self) -> float:
        """Return the same once the server rests: what its requests left to do, such as log lines, counts as theirs."""
        found = self.cpu_seconds()
        for _ in range(20):
            time.sleep(LOOK_SECONDS)
            before, found = found, self.cpu_seconds()
            if found - before < RESTING_SECONDS:
                break
        return found

    def memory(self) -> Memory:
        """Return what it holds now."""
        lines = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
        return Memory(sizes["Rss"], sizes["Pss"], sizes["Anonymous"])

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Return the body of an answer to GET.

        Raises:
            OSError: There is none, or its status is an error's.
        """
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=dict(headers or {}))
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - its own
            content: bytes = answer.read()
        return content

    def _is_ready(self) -> bool:
        try:
            self.get("/ready")
        except OSError:
            return False
        return True

    def _stop(self) -> None:
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._drain.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

"""What a piece of work costs: CPU seconds and peak memory in a process of its own, beside a limit and a baseline."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from churn_serving import atomic

RESULTS = Path(__file__).parent / "results"

Work = Callable[..., int]
"""Does something and returns how much of it: rows, users, requests."""


@dataclass(frozen=True)
class Cost:
    """What one piece of work took.

    Attributes:
        name: In words.
        cpu_seconds: User and system time of all threads, imports not counted.
        wall_seconds: On the clock.
        peak_mb: Largest resident memory of the process, in MB of 1e6 bytes, interpreter and libraries included.
        amount: What the work returned.
    """

    name: str
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    amount: float

    def scaled(self, factor: float, name: str) -> Cost:
        """The cost of `factor` times as much, where time grows in proportion; memory is not scaled."""
        seconds = (self.cpu_seconds * factor, self.wall_seconds * factor)
        return Cost(name, *seconds, self.peak_mb, self.amount * factor)


@dataclass(frozen=True)
class Line:
    """One line of a report.

    Attributes:
        name: What was measured.
        value: The number.
        unit: Of the number.
        limit: It must be no larger than this; None if it is only told.
        least: It must be no smaller than this; None if that does not matter.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the value is within its limits."""
        return (self.limit is None or self.value <= self.limit) and (self.least is None or self.value >= self.least)

    def bounds(self) -> str:
        """Return the limits in words, empty if there are none."""
        if self.limit is None and self.least is None:
            return ""
        return f"{self.limit:g} {self.unit}" if self.limit is not None else f"≥ {self.least:g} {self.unit}"


def measure(name: str, work: Work, *arguments: Any) -> Cost:
    """Do `work(*arguments)` in a fresh process and say what it took.

    Args:
        name: In words.
        work: A function of an importable module.
        arguments: Handed to it.

    Raises:
        RuntimeError: The work failed; its traceback is on the terminal.
    """
    print(f"  … {name}", file=sys.stderr, flush=True)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{name} failed") from None
    finally:
        process.join()
    return Cost(name, *found)


def against(baseline: Cost, costs: Sequence[Cost]) -> list[Line]:
    """How many times the CPU time of each cost the baseline needs."""
    title = f"{baseline.name}, times the CPU of: "
    return [Line(title + cost.name, baseline.cpu_seconds / cost.cpu_seconds, "×") for cost in costs]


def report(name: str, costs: Sequence[Cost], lines: Sequence[Line]) -> bool:
    """Print costs and lines as tables, keep them in results/<name>.json.

    Returns:
        Whether every limit holds.
    """
    _print_costs(costs)
    _print_lines(lines)
    content = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "costs": [asdict(cost) for cost in costs],
        "lines": [asdict(line) | {"holds": line.holds} for line in lines],
    }
    atomic.write_json(RESULTS / f"{name}.json", json.loads(json.dumps(content)))
    return all(line.holds for line in lines)


def _print_costs(costs: Sequence[Cost]) -> None:
    width = max(len(cost.name) for cost in costs)
    print(f"\n{'work':<{width}} {'CPU s':>9} {'wall s':>9} {'peak MB':>9} {'amount':>13}")
    for cost in costs:
        seconds = f"{cost.cpu_seconds:>9.2f} {cost.wall_seconds:>9.2f}"
        print(f"{cost.name:<{width}} {seconds} {cost.peak_mb:>9.0f} {cost.amount:>13,.0f}")


def _print_lines(lines: Sequence[Line]) -> None:
    width = max(len(line.name) for line in lines)
    print(f"\n{'measure':<{width}} {'value':>12} {'limit':>12}")
    for line in lines:
        limit = line.bounds()
        verdict = "" if not limit else "  holds" if line.holds else "  BROKEN"
        print(f"{line.name:<{width}} {f'{line.value:.2f} {line.unit}':>12} {limit:>12}{verdict}")


def _work(sender: Any, work: Work, arguments: Sequence[Any]) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    amount = work(*arguments)
    sender.send((time.process_time() - cpu, time.perf_counter() - wall, _peak_mb(), float(amount)))


def _peak_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        unit = 1e6 if sys.platform == "darwin" else 1e3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    # Not `ru_maxrss`: on Linux a child starts with its parent's.
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def measure_command(name: str, command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> Cost:
    """Run a command in a folder and say what it, and the processes that it waited for, took.

    Args:
        name: In words.
        command: Program and arguments; what it says goes to the terminal's error stream.
        folder: Its working directory. Settings of this shell (`CHURN_…`, `DAGSTER_HOME`) are not handed on.
        environment: Handed on.

    Raises:
        RuntimeError: The command failed.
    """
    print(f"  … {name}", file=sys.stderr, flush=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("CHURN_", "DAGSTER_"))}
    wall = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=inherited | (environment or {}), stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{name} failed")
    unit = 1e6 if sys.platform == "darwin" else 1e3 / 1.024
    return Cost(name, used.ru_utime + used.ru_stime, time.perf_counter() - wall, used.ru_maxrss / unit, 1.0)

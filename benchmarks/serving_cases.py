"""Kinds of requests, measured in turn so that what disturbs one disturbs its baseline too."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from http_load import LoadError, Traffic, closed_loop
from measure import Cost, Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server_process import ServerProcess
    from serving_world import Deployment

CONNECTIONS = 8
ROUND_CPU_SECONDS = 0.5
"""A round lasts until the server has used so much: many short rounds, since neighbours on the machine come and go."""


@dataclass(eq=False)
class Case:
    """One kind of request to one server, and what its rounds found.

    Attributes:
        name: In words.
        server: Who answers.
        traffic: What it is sent.
        deployment: What it serves; None for a fixed reply.
        counts: Answers, by round.
        cpu: CPU seconds of the server, by round.
        wall: Seconds, by round.
    """

    name: str
    server: ServerProcess
    traffic: Traffic
    deployment: Deployment | None = None
    counts: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def cost(self) -> Cost:
        """Return all rounds as one cost."""
        return Cost(self.name, sum(self.cpu), sum(self.wall), self.server.memory().rss_mb, sum(self.counts))

    def microseconds(self) -> float:
        """Return the server's CPU time for a request: the median of the rounds."""
        return statistics.median(cpu / count for cpu, count in zip(self.cpu, self.counts, strict=True)) * 1e6

    def ratios(self, baseline: Case) -> list[float]:
        """Return requests for a CPU second over the baseline's, by round."""
        mine = [count / cpu for count, cpu in zip(self.counts, self.cpu, strict=True)]
        other = [count / cpu for count, cpu in zip(baseline.counts, baseline.cpu, strict=True)]
        return [a / b for a, b in zip(mine, other, strict=True)]


@dataclass(frozen=True)
class Comparison:
    """Cases beside a baseline of the same rounds, each with its least ratio, None if it is only told."""

    baseline: Case
    cases: tuple[tuple[Case, float | None], ...]

    def all(self) -> list[Case]:
        """Return the baseline and the cases."""
        return [self.baseline, *(case for case, _ in self.cases)]

    def lines(self) -> list[Line]:
        """Return each case's median ratio, and where the middle half of the rounds lies."""
        lines = []
        for case, least in self.cases:
            low, middle, high = statistics.quantiles(case.ratios(self.baseline), n=4, method="inclusive")
            lines += [
                Line(f"{case.name}: requests for a CPU second against {self.baseline.name}", middle, "×", least=least),
                Line("    a quarter of the rounds is below", low, "×"),
                Line("    a quarter of the rounds is above", high, "×"),
            ]
        return lines


def rounds(comparisons: Sequence[Comparison], times: int) -> None:
    """Measure comparisons that share rounds; every other round goes backwards.

    Raises:
        LoadError: A server does not answer as it should.
    """
    cases = list(dict.fromkeys(case for comparison in comparisons for case in comparison.all()))
    for case in cases:
        _load(case)
    for number in range(times):
        print(f"  … round {number + 1} of {times}: {cases[-1].name} and others", file=sys.stderr, flush=True)
        for case in cases if number % 2 == 0 else reversed(cases):
            count, cpu, wall = _load(case)
            case.counts.append(count)
            case.cpu.append(cpu)
            case.wall.append(wall)


def _load(case: Case) -> tuple[int, float, float]:
    """Return answers, CPU seconds and seconds of one round."""
    with case.server.awake():
        start = case.server.settled_cpu_seconds()
        answers = closed_loop(case.traffic, CONNECTIONS, lambda: case.server.cpu_seconds() - start >= ROUND_CPU_SECONDS)
        spent = case.server.settled_cpu_seconds() - start
    if case.deployment is not None:
        for body in answers.bodies:
            _check(body)
        case.deployment.forget_old_logs()
    return answers.count, spent, answers.seconds


def _check(body: bytes) -> None:
    """Raise unless an answer of the service holds risks, and nothing else but risks.

    Raises:
        LoadError: It does not.
    """
    content = msgspec.json.decode(body)
    predictions = content.get("predictions", [content])
    if not all(0 < prediction["churn_risk"] < 1 for prediction in predictions):
        raise LoadError(f"an answer without a risk: {body[:300].decode()}")

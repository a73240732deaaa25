"""What a request to the service costs, beside the same framework answering a fixed reply and beside pandas.

`python benchmarks/serving.py` takes some minutes; `--quick` has fewer rounds. Server and client have a processor each
where there are two. The service runs as in production: both logs are on, and standard output is a pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from http_load import Traffic, closed_loop, open_loop
from measure import Cost, Line, measure, report
from server_process import Cores, ServerProcess
from serving_cases import Case, Comparison, rounds
from serving_world import BATCH_ROWS, World, requests

from churn_serving.key_file import generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_world import Deployment

    from churn_serving.manifest import ModelType

ROUNDS, QUICK_ROUNDS = 20, 6

LATENCY_CONNECTIONS = 64
LATENCY_LOAD = 0.7
LATENCY_SECONDS = 5.0
LATENCY_ROUNDS = 3
SATURATING_CPU_SECONDS = 2.0

PANDAS_ROWS = 300

LEAST_BY_FEATURES = {"logistic regression": 0.90, "trees": 0.75}
LEAST_BY_ID = 0.90
LEAST_BATCH = 0.70
LEAST_AGAINST_PANDAS = 30.0
MOST_P99 = 10.0
"""Times the median."""

MOST_HELD_UP = 1.0
"""Per cent."""

MODELS: dict[str, ModelType] = {"logistic regression": "logistic_regression", "trees": "hist_gradient_boosting"}

TOLD = "logistic regression"
"""The model with which other settings are tried."""

SERVICE = [sys.executable, "-m", "churn_serving", "--host", "127.0.0.1", "--port", "{port}"]
BASELINE = [sys.executable, str(Path(__file__).parent / "serving_baselines.py"), "{port}"]


@dataclass(frozen=True)
class Served:
    """A running server, and what it serves; None for fixed replies."""

    server: ServerProcess
    deployment: Deployment | None = None

    def case(self, name: str, sent: Sequence[bytes], mark: bytes = b'"churn_risk":') -> Case:
        """Return requests to it as a case."""
        return Case(name, self.server, Traffic(self.server.port, sent, mark), self.deployment)


class Bench:
    """The servers, all running, and what is asked of them.

    Args:
        world: What is served.
        folder: Where deployments, keys and logs go.
        cores: Where servers run.
        stack: Ends the servers.

    Attributes:
        fixed: The server of fixed replies.
        services: The service with each model.
        single_fixed: Requests with features for fixed replies.
        single: The same to each model.
    """

    def __init__(self, world: World, folder: Path, cores: Cores, stack: contextlib.ExitStack) -> None:
        self._world = world
        self._folder = folder
        self._core = cores.server
        self._stack = stack
        self._rows = world.rows()
        self._plain = requests(self._rows, batch_path="/predict/batch")
        self.fixed = Served(self._started(ServerProcess("fixed replies", BASELINE, folder, {}, cores.server)))
        self.services = {model: self._service(model, model) for model in MODELS}
        self.single_fixed = self.fixed.case("fixed reply, features", self._plain.features)
        self.single = {
            model: found.case(f"{model}, features", self._plain.features) for model, found in self.services.items()
        }

    def groups(self) -> tuple[list[Comparison], list[Comparison]]:
        """Return what is compared with one row, and with many; the latter share their rounds."""
        return [self._by_features(), self._by_id()], self._batches()

    def against_pandas(self, model: str) -> list[Line]:
        """Compare a request to the service with a row through pandas and scikit-learn."""
        from serving_pandas import one_by_one

        artifact = self._world.artifact(MODELS[model])
        cost = measure(f"{model}, one-row pandas", one_by_one, artifact, [*self._rows.values()], PANDAS_ROWS)
        plain = cost.cpu_seconds / cost.amount * 1e6
        ratio = plain / self.single[model].microseconds()
        return [
            Line(f"{model}: one-row pandas, CPU of a row", plain, "µs"),
            Line(f"{model}: that over the CPU of a request", ratio, "×", least=LEAST_AGAINST_PANDAS),
        ]

    def _by_features(self) -> Comparison:
        limited = [(self.single[model], least) for model, least in LEAST_BY_FEATURES.items()]
        told = [self._without_logs(), self._with_keys(), self._of_several_workers()]
        return Comparison(self.single_fixed, (*limited, *((case, None) for case in told)))

    def _by_id(self) -> Comparison:
        cases = [found.case(f"{model}, by id", self._plain.by_id) for model, found in self.services.items()]
        baseline = self.fixed.case("fixed reply, by id", self._plain.by_id)
        return Comparison(baseline, tuple((case, LEAST_BY_ID) for case in cases))

    def _batches(self) -> list[Comparison]:
        rows = f"{BATCH_ROWS:,} rows"
        cases = [found.case(f"{model}, {rows}", self._plain.batch) for model, found in self.services.items()]
        short = requests(self._rows, batch_path="/batch/short").batch
        long = requests(self._rows, batch_path="/batch").batch
        decoded = self.fixed.case(f"short fixed reply, {rows} decoded", short, b'"rows":')
        answered = self.fixed.case(f"{BATCH_ROWS:,} fixed replies, {rows} decoded", long)
        return [
            Comparison(decoded, tuple((case, LEAST_BATCH) for case in cases)),
            Comparison(answered, tuple((case, None) for case in cases)),
        ]

    def _without_logs(self) -> Case:
        off = {"CHURN_SERVING__PREDICTION_LOG": "false", "CHURN_SERVING__ACCESS_LOG_SAMPLE": "0"}
        return self._service("without logs", TOLD, off).case(f"{TOLD}, features, no logs", self._plain.features)

    def _with_keys(self) -> Case:
        key, entry = generate("bench", ["predict"])
        others = [generate(f"other{number}", ["read"])[1] for number in range(4)]
        path = self._folder / "keys.yaml"
        path.write_text("".join(found.line() for found in (*others, entry)))
        sent = requests(self._rows, batch_path="/predict/batch", headers=[f"Authorization: Bearer {key}"])
        found = self._service("with keys", TOLD, {"CHURN_SERVING__API_KEYS_FILE": str(path)})
        return found.case(f"{TOLD}, features, API keys", sent.features)

    def _of_several_workers(self) -> Case:
        counters = self._folder / "counters"
        counters.mkdir()
        found = self._service("with shared counters", TOLD, {"PROMETHEUS_MULTIPROC_DIR": str(counters)})
        return found.case(f"{TOLD}, features, counters as of several workers", self._plain.features)

    def _service(self, name: str, model: str, environment: dict[str, str] | None = None) -> Served:
        deployment = self._world.deployment(MODELS[model], self._folder / name)
        settings = deployment.environment() | (environment or {})
        return Served(self._started(ServerProcess(name, SERVICE, self._folder, settings, self._core)), deployment)

    def _started(self, server: ServerProcess) -> ServerProcess:
        return self._stack.enter_context(server)


def latency(case: Case, *, spin: bool) -> list[Line]:
    """Measure latency at `LATENCY_LOAD` of the rate that saturates the server.

    The quietest of a few runs counts: what another process does at the same time only ever adds. If even then requests
    found no free connection, the server was not loaded in part but overrun, and the ratio would say nothing.
    """
    with case.server.awake():
        saturating = _saturating_rate(case)
        runs = [
            open_loop(case.traffic, LATENCY_CONNECTIONS, LATENCY_LOAD * saturating, LATENCY_SECONDS, spin=spin)
            for _ in range(LATENCY_ROUNDS)
        ]
    half, most, held_up = min(
        (*(float(value) * 1e3 for value in np.percentile(run.seconds, [50, 99])), run.held_up * 100) for run in runs
    )
    is_limited = case.deployment is not None
    return [
        Line(f"{case.name}: most requests a second, {LATENCY_CONNECTIONS} connections", saturating, "/s"),
        Line(f"    at {LATENCY_LOAD:.0%} of that: median latency", half, "ms"),
        Line("    99 % are faster than", most, "ms"),
        Line("    that over the median", most / half, "×", limit=MOST_P99 if is_limited else None),
        Line("    requests that found no free connection", held_up, "%", limit=MOST_HELD_UP if is_limited else None),
    ]


def _saturating_rate(case: Case) -> float:
    end = case.server.cpu_seconds() + SATURATING_CPU_SECONDS
    answers = closed_loop(case.traffic, LATENCY_CONNECTIONS, lambda: case.server.cpu_seconds() >= end)
    return answers.count / answers.seconds


def memory(servers: Sequence[ServerProcess], after: str) -> list[Line]:
    """Tell what each server holds after some work."""
    lines = []
    for server in servers:
        found = server.memory()
        lines += [
            Line(f"{server.name}: resident memory after {after}", found.rss_mb, "MB"),
            Line("    its share of what others map too (PSS)", found.pss_mb, "MB"),
            Line("    its own, of no file", found.anonymous_mb, "MB"),
        ]
    return lines


def dropped(case: Case) -> Line:
    """Tell how many rows the prediction log could not take: a closed loop leaves its writer no rest."""
    prefix = b"churn_prediction_log_dropped_total "
    with case.server.awake():
        found = [line for line in case.server.get("/metrics").splitlines() if line.startswith(prefix)]
    return Line(f"{case.server.name}, rows that the prediction log dropped", float(found[0].split()[1]), "")


def undisturbed(cases: Sequence[Case]) -> Line:
    """Tell how much of its processor a loaded server got: if far below 1, others ran there or on the client's."""
    shares = [cpu / wall for case in cases for cpu, wall in zip(case.cpu, case.wall, strict=True)]
    return Line("CPU seconds of a loaded server a second (1 on a quiet machine)", statistics.median(shares), "")


def main() -> int:
    """Measure, print, and say by the exit code whether every limit holds."""
    options = _options()
    if not Path("/proc/self/smaps_rollup").exists():
        print("this reads other processes' clocks and memory: run it on Linux", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        world = World(options.world) if options.world else World.seeded(folder / "world")
        cores = Cores.of_machine()
        if cores.client is not None:
            os.sched_setaffinity(0, {cores.client})
        bench = Bench(world, folder, cores, stack)
        costs, lines = _measured(bench, cores, QUICK_ROUNDS if options.quick else ROUNDS)
    return 0 if report("serving_quick" if options.quick else "serving", costs, lines) else 1


def _measured(bench: Bench, cores: Cores, times: int) -> tuple[list[Cost], list[Line]]:
    one_row, batches = bench.groups()
    servers = [found.server for found in (bench.fixed, *bench.services.values())]
    for group in one_row:
        rounds([group], times)
    held = memory(servers, "requests of one row")
    rounds(batches, times)
    held += memory(servers, f"requests of {BATCH_ROWS:,} rows")
    comparisons = [*one_row, *batches]
    cases = list(dict.fromkeys(case for comparison in comparisons for case in comparison.all()))
    lines = [line for comparison in comparisons for line in comparison.lines()]
    lines += [line for model in MODELS for line in bench.against_pandas(model)]
    lines += [Line(f"{case.name}: CPU of a request", case.microseconds(), "µs") for case in cases]
    for case in (bench.single_fixed, *bench.single.values()):
        print(f"  … latency: {case.name}", file=sys.stderr, flush=True)
        lines += latency(case, spin=cores.are_two)
    lines += [*held, *(dropped(case) for case in bench.single.values()), undisturbed(cases)]
    return [case.cost() for case in cases], lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}")
    parser.add_argument(
        "--world", type=Path, metavar="FOLDER", help="where `churn seed` has been run; it is only read. Else it is run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Deployments to serve: small models, published features and scores, a server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import numpy as np
from artifact_factory import FEATURES, draft, linear_scorer, open_registry, rows_of, table, tree_scorer
from litestar.testing import TestClient
from online_tables import DAY, publisher
from online_tables import draft as table_draft

from churn_serving.app import create_app
from churn_serving.online.scores import COLUMNS
from churn_serving.published import Published
from churn_serving.settings import ClockSettings, Paths, ServiceSettings, ServingSettings

ROOT = Path(__file__).parents[2]
TODAY = DAY + timedelta(days=1)
PLANS = ("free", "pro", "team", "enterprise")
SECURITY_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
"""Of every answer."""

BROWSER_HEADERS = SECURITY_HEADERS | {"x-frame-options": "DENY", "referrer-policy": "no-referrer"}
"""Of every answer that a browser may show."""


def until(condition, timeout=5.0, what="the condition"):
    """Wait until `condition()` is true, and return what it returned; errors of the network count as not yet."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(httpx.TransportError):
            if found := condition():
                return found
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout} s"
        time.sleep(0.02)


def people(count=24, seed=3):
    """Users and their features as JSON holds them, None where missing."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows_of(table(count, seed))]
    return {f"u{number:03}": row for number, row in enumerate(plain)}


def _plain(value):
    if value is None or isinstance(value, str):
        return value
    return None if math.isnan(value) else float(value)


def _cells(row):
    for feature in FEATURES:
        value = row.get(feature.name)
        if value is None:
            yield math.nan
        else:
            yield PLANS.index(value) if feature.kind == "category" else value


PEOPLE = people()
"""Users of a snapshot."""

GONE = "u005"
"""The one of them who is not at risk."""


class World:
    """One deployment in a folder: its registry, what it has published, and ways to serve it."""

    def __init__(self, root, signing_key=None):
        self.root = root
        self.paths = Paths(data=root / "data", artifacts=root / "artifacts")
        self.published = Published(self.paths)
        self.registry = open_registry(self.paths.artifacts, signing_key)
        self.alias = self.registry.alias.path

    def register(self, seed, kind="trees", artifact=None):
        """Register a model of its own and return its version."""
        scorer = tree_scorer(seed, trees=6) if kind == "trees" else linear_scorer(seed)
        version = self.registry.new_version("candidate_hgb" if kind == "trees" else "baseline_logreg")
        content = artifact or f"joblib bytes of {version}".encode()
        reference = {"features": [{"name": "active_days_7d", "typical": 4.0}, {"name": "plan", "typical": "pro"}]}
        self.registry.register(
            draft(version, scorer),
            content,
            scorer,
            metrics={"model_type": scorer.kind, "metrics": {"pr_auc": 0.7}},
            extra_files={"reference.json": msgspec.json.encode(reference)},
        )
        return version

    def promote(self, version):
        self.registry.promote(version, actor="tests", reason="it is better")
        return version

    def serve_new(self, seed, kind="trees"):
        """Register a model and make it the production model."""
        return self.promote(self.register(seed, kind))

    def artifact(self, version):
        """The joblib file of a version."""
        return self.paths.artifacts / "models" / f"{version}.joblib"

    def put(self, content):
        """Replace the alias by hand, in one step: a look never finds it half written."""
        aside = self.root / "aside"
        aside.write_bytes(content)
        aside.replace(self.alias)

    def scorer(self, version):
        return self.registry.load(version).scorer

    def score(self, version, values):
        """What a version's own scorer gives these values."""
        scorer = self.scorer(version)
        return scorer.score_row(scorer.encode_row(values))

    def publish(self, users, day=DAY, *, left=(), folder=None):
        """Publish a feature snapshot; those in `left` are not at risk."""
        matrix = [[0.0 if user_id in left else 1.0, *_cells(row)] for user_id, row in users.items()]
        columns = ("at_risk", *(feature.name for feature in FEATURES))
        made = table_draft(list(users), columns=columns, matrix=matrix, day=day, levels={"plan": PLANS})
        return publisher(folder or self.published.features).publish(made)

    def publish_scores(self, day, risks, version):
        """Publish a daily list: risks by user, the highest first."""
        matrix = [[risk, rank] for rank, risk in enumerate(risks.values(), 1)]
        made = table_draft(list(risks), columns=COLUMNS, matrix=matrix, day=day, metadata={"model_version": version})
        return publisher(self.published.scores, 90, stem="scores").publish(made)

    def settings(self, today=TODAY, **serving):
        """Settings that look for news all the time."""
        return ServiceSettings(
            paths=self.paths,
            clock=ClockSettings(today=today),
            serving=ServingSettings(**{"reload_seconds": 0.05, "prediction_log": False} | serving),
        )

    def client(self, today=TODAY, **serving):
        """The service in this process; a context manager."""
        return TestClient(create_app(self.settings(today, **serving)), raise_server_exceptions=False)

    def server(self, *options, today=TODAY, environment=None, **serving):
        """The service in a process of its own; a context manager."""
        return Server(self, options, self.variables(today, serving) | (environment or {}))

    def variables(self, today=TODAY, serving=None):
        """The environment of a server: none of this shell's settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
        paths = {"CHURN_PATHS__DATA": str(self.paths.data), "CHURN_PATHS__ARTIFACTS": str(self.paths.artifacts)}
        own = {f"CHURN_SERVING__{name.upper()}": str(value) for name, value in (serving or {}).items()}
        clock = {"CHURN_CLOCK__TODAY": str(today)} if today else {}
        return inherited | {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.root)} | paths | clock | own


class Server:
    """A server process on a free port of the loopback, ended with the `with` block whatever happens."""

    def __init__(self, world, options, environment):
        self._command = [sys.executable, "-m", "churn_serving", "--host", "127.0.0.1", "--port", "0", *options]
        self._world = world
        self._environment = environment
        self.stdout, self.stderr = world.root / "server.out", world.root / "server.err"
        self.process = None
        self.port = 0
        self.http = None

    def __enter__(self):
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self._world.root,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self.port = until(self._listening, 30.0, "a listening server")
            self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10.0)
            until(lambda: self.http.get("/live").status_code == 200, 30.0, "a live server")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.http is not None:
            self.http.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: the server and its workers
        self.process.wait(10)

    def _listening(self):
        assert self.process.poll() is None, self.stderr.read_text()
        for line in self.errors():
            if "listening on http://127.0.0.1:" in line["message"]:
                return int(line["message"].split("127.0.0.1:")[1].split()[0])
        return None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=20.0):
        """The exit code."""
        return self.process.wait(timeout)

    def errors(self):
        """The lines of standard error; each must be JSON."""
        return [json.loads(line) for line in self.stderr.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def accesses(self):
        """The lines of standard output; each must be JSON."""
        return [json.loads(line) for line in self.stdout.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def fresh(self, method, path, **more):
        """A request over a connection of its own, so that any worker may get it."""
        with httpx.Client(base_url=self.http.base_url, timeout=10.0) as once:
            return once.request(method, path, **more)

    def connect(self):
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10.0)

    def is_refusing(self):
        """Whether new connections are refused."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False


def head(length, path="/predict", **headers):
    """The head of a POST with a body of `length` bytes, None for one in chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: churn", framing, "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(connection):
    """Status, headers and JSON body of the next answer on a plain connection."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, json.loads(stream.read(int(headers["content-length"])))


def metric(text, name, **labels):
    """The sum of a metric's samples that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    total, found = 0.0, False
    for line in text.splitlines():
        if line.startswith((name + "{", name + " ")) and all(part in line for part in wanted):
            total, found = total + float(line.rpartition(" ")[2]), True
    return total if found else None


def log_odds(risk):
    return math.log(risk / (1 - risk))


def bits(value):
    """A float's bits, for comparisons in which 0.1 is not nearly 0.1."""
    return np.float64(value).tobytes()


def real_today():
    """The day by the machine's clock, UTC, and those around it."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=1), today + timedelta(days=1)


def predict(http, query="", **body):
    answer = http.post(f"/predict{query}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def batch(http, instances, query=""):
    answer = http.post(f"/predict/batch{query}", json={"instances": instances})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def post(http, body, path="/predict"):
    """Send bytes as JSON."""
    return http.post(path, content=body, headers={"content-type": "application/json"})


def refused(reply, status):
    """The problem that a reply tells, which gives nothing away."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    problem = reply.json()
    assert problem["status_code"] == status
    assert problem["detail"]
    for word in ("Traceback", "/tmp", "site-packages", ".py", "msgspec", "Error:"):  # noqa: S108 - must not be told
        assert word not in reply.text
    return problem

"""Deployments that are fit for production, to be spoilt in one place each."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import artifact_factory as make
import dagster as dg
import msgspec
import pytest
from builders import USERS, Export, run
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
)
from dagster._daemon.types import DaemonHeartbeat

from churn_assets.notify import messages
from churn_assets.notify.channel import channels_of
from churn_assets.notify.memory import Memory
from churn_assets.readiness.checkout import Checkout, installed_version
from churn_assets.readiness.premises import Premises
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace
from churn_serving import atomic
from churn_serving.registry import Registry

NOW = datetime(2026, 1, 20, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
DAY = "2026-01-19"
GOOD = {"pr_auc": 0.72, "recency_pr_auc": 0.55, "ece": 0.01, "prevalence": 0.3}
VERSION = installed_version()
RESULTS = [
    ("fixed reply, features: most requests a second, 64 connections", 50.0),
    ("logistic regression, features: most requests a second, 64 connections", 9400.0),
    ("trees, features: most requests a second, 64 connections", 8500.0),
    ("trees, features: CPU of a request", 90.0),
]

BASE = {
    "namespace": "apiVersion: v1\nkind: Namespace\nmetadata: {name: churn-mlops}\n",
    "pvc": "apiVersion: v1\nkind: PersistentVolumeClaim\n"
    "metadata: {name: churn-mlops-pvc}\n"
    "spec: {resources: {requests: {storage: 5Gi}}}\n",
    "configmap": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: churn-mlops-config}\n"
    "data:\n  config.yaml: |\n    serving: {api_keys_file: /app/keys/keys.yaml}\n    notify: {urls: []}\n",
    "seed-model-job": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: churn-seed-model}\n"
    f"spec: {{template: {{spec: {{containers: [{{name: seed, image: 'techitfactory/churn-ml:{VERSION}'}}]}}}}}}\n",
    "api-deployment": f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: churn-api}}
spec:
  template:
    spec:
      containers:
        - name: api
          image: techitfactory/churn-api:{VERSION}
          env:
            - {{name: CHURN_SIGNING_KEY, valueFrom: {{secretKeyRef: {{name: churn-secrets, key: signing-key}}}}}}
            - {{name: DAGSTER_POSTGRES_URL, value: "postgresql://$(USER):$(PASSWORD)@postgres/dagster"}}
      volumes: [{{name: storage, persistentVolumeClaim: {{claimName: churn-mlops-pvc}}}}]
""",
    "api-service": "apiVersion: v1\nkind: Service\nmetadata: {name: churn-api}\nspec: {ports: [{port: 8000}]}\n",
    "drift-cronjob": "apiVersion: batch/v1\nkind: CronJob\n"
    "metadata: {name: churn-drift-daily}\nspec: {suspend: true}\n",
    "retrain-cronjob": "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: churn-retrain-weekly}\n"
    "spec: {suspend: true}\n",
    "kustomization": "resources: [namespace.yaml]\nconfigMapGenerator:\n  - {name: dagster, files: [dagster.yaml]}\n",
    "dagster": "telemetry: {enabled: false}\n",
}
FILES = {
    **{f"deployment/k8s/base/{name}.yaml": text for name, text in BASE.items()},
    "deployment/k8s/overlays/large/patch.yaml": "- {op: replace, path: /spec/replicas, value: 5}\n",
    "deployment/compose.yaml": "services:\n"
    f"  api: {{image: 'techitfactory/churn-api:${{VER:-{VERSION}}}', environment: {{CHURN_SERVING__HOST: 0.0.0.0}}}}\n"
    "  postgres: {image: 'postgres:17.2', environment: {POSTGRES_PASSWORD: '${POSTGRES_PASSWORD:?}'}}\n",
    "deployment/docker/Dockerfile.ml": "FROM python:3.11-slim\n",
    "deployment/docker/Dockerfile.api": "FROM python:3.11-slim\n",
    "deployment/monitoring/prometheus/prometheus.yml": "scrape_configs:\n"
    "  - {job_name: churn-api, static_configs: [{targets: ['churn-api:8000']}]}\n",
    "deployment/monitoring/prometheus/alerts.yml": "groups:\n  - name: churn\n    rules:\n"
    "      - {alert: ChurnApiDown, expr: 'up{job=\"churn-api\"} == 0'}\n"
    "      - {record: 'churn:requests', expr: 'sum(rate(churn_api_requests_total[5m]))'}\n",
    "deployment/monitoring/grafana/churn.json": json.dumps(
        {"title": "Churn", "panels": [{"targets": [{"expr": "rate(churn_api_requests_total[5m])"}]}]}
    ),
    "deployment/RUNBOOK.md": "# Runbook\n\n### 2. Rollback Model\n\n```bash\nchurn models rollback\n```\n",
    "pyproject.toml": "[project]\n",
    "Makefile": "lint:\n\t@echo all is clean\n",
    "churn_assets/__init__.py": "",
    "tests/test_one.py": "",
    "requirements/pipeline.txt": "# locked\npytest=={pytest} \\\n    --hash=sha256:00\n    # via dev\n"
    'colorama==0.0.1 ; sys_platform == "win32" \\\n    --hash=sha256:00\n',
    "benchmarks/results/serving.json": json.dumps(
        {"lines": [{"name": name, "value": value, "unit": "/s"} for name, value in RESULTS]}
    ),
}


class SourceTree:
    """A checkout with everything in place, committed and reviewed."""

    def __init__(self, root):
        self.root = root

    @classmethod
    def grown(cls, root):
        """A new one."""
        tree = cls(root)
        for name, text in FILES.items():
            tree.write(name, text.replace("{pytest}", pytest.__version__))
        tree.write(".gitignore", ".pytest_cache/\n")
        tree.git("init", "--quiet")
        tree.commit("Begin\n\nReviewed-by: Ada <ada@example.com>")
        tree.tested()
        return tree

    def copied(self, root):
        """The same, somewhere else, to be spoilt."""
        shutil.copytree(self.root, root)
        return SourceTree(root)

    def write(self, name, text):
        """Put a file there."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def edit(self, name, old, new):
        """Replace a piece of a file, which must be there."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def remove(self, name):
        """Take a file away."""
        (self.root / name).unlink()

    def git(self, *arguments):
        """Run Git as somebody whom no configuration of this machine knows."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, "-c", "tag.gpgsign=false", *arguments], cwd=self.root, check=True, timeout=30)

    def commit(self, message):
        """Commit all that is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def tested(self, failed=()):
        """Leave what pytest leaves behind."""
        self.write(".pytest_cache/v/cache/nodeids", json.dumps(["tests/test_one.py::test_it", *failed]))
        if failed:
            self.write(".pytest_cache/v/cache/lastfailed", json.dumps(dict.fromkeys(failed, True)))

    @property
    def checkout(self):
        """The same, as the checks know it."""
        return Checkout(self.root)


class Place:
    """A deployment in a folder; settings may be laid over the defaults."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.now = NOW
        self.source = None
        self.deep = False
        self.known = {}
        paths = {"data": folder / "data", "artifacts": folder / "artifacts"}
        self.content = {"paths": paths, "clock": {"today": NOW.date()}, **settings}

    def configure(self, **settings):
        """Change sections of the settings."""
        for name, section in settings.items():
            self.content[name] = {**self.content.get(name, {}), **section}
        return self

    @property
    def workspace(self):
        """As the checks know it."""
        return Workspace(Settings.model_validate(self.content))

    @property
    def layout(self):
        """Where everything lies."""
        return self.workspace.layout

    @property
    def registry(self):
        """The models, by a clock that shows `now` and a second more each time."""
        clock = make.Clock()
        clock.now = self.now
        return Registry(self.layout.artifacts, os.environ.get("CHURN_SIGNING_KEY"), clock=clock)

    def premises(self):
        """What a check is asked about; `known` stands for what would be asked of a service or of Dagster."""
        premises = Premises(self.workspace, self.now, self.source.checkout if self.source else None, self.deep)
        premises.__dict__.update(self.known)
        return premises

    def ask(self, check):
        """What a check answers now."""
        return check(self.premises())

    def register(self, seed, *, kind="trees", metrics=GOOD, days_ago=1):
        """Register a model that was trained some days ago, and return its version."""
        trained = self.now - timedelta(days=days_ago)
        scorer = make.tree_scorer(seed, trees=2) if kind == "trees" else make.linear_scorer(seed)
        prefix = "candidate_hgb" if kind == "trees" else "baseline_logreg"
        version = f"{prefix}_{trained:%Y%m%dT%H%M}{seed:02}Z"
        extra = {"reference.json": b'{"rows": 1000}'}
        content = {"model_type": scorer.kind, "metrics": dict(metrics)}
        registry = self.registry
        registry.register(
            make.draft(version, scorer, trained), f"bytes {seed}".encode(), scorer, metrics=content, extra_files=extra
        )
        return version

    def promote(self, version):
        """Let a version serve."""
        self.registry.promote(version, actor="tests", reason="it is better")
        return version

    def serve(self, seed=1, **registered):
        """Register a model and let it serve."""
        return self.promote(self.register(seed, **registered))

    def drift(self, **changes):
        """Write a drift report."""
        report = {
            "status": "OK",
            "as_of_date": DAY,
            "what_to_do": "Nothing.",
            "headline": "The population is the one that was learned from.",
            "feed": {"status": "OK", "findings": []},
        }
        atomic.write_json(self.layout.latest_drift, report | changes)

    def performance(self, **changes):
        """Write a performance report."""
        report = {"status": "OK", "as_of_date": DAY, "headline": "Predictions came true.", "what_to_do": "Nothing."}
        atomic.write_json(self.layout.latest_performance, report | changes)

    def backup(self, at=NOW - timedelta(days=1), **changes):
        """Write what a backup leaves behind."""
        record = {"at": at.isoformat(), "destination": "s3://vault", "name": "b1", "files": 12, "bytes": 3_400_000}
        atomic.write_json(self.layout.artifacts / "upkeep" / "last_backup.json", record | changes)

    def tested(self, day=TODAY, urls=None):
        """Write down that a test message came through each channel."""
        memory = Memory(self.layout.told)
        for channel in channels_of(self.workspace.settings.notify.urls if urls is None else urls):
            message = messages.Message("test", channel.name, "test", "")
            with memory.held() as alone:
                assert alone
                assert memory.remember(message, day)


def ingest(folder, *, bad=0, good=30, limit=0.5):
    """A day's events through the project's own validation, some of which no user has; returns the workspace."""
    export = Export(folder)
    export.users(*USERS)
    rows = [f"a,2024-01-08 08:{number:02}:00,login,,," for number in range(good)]
    rows += [f"stranger,2024-01-08 09:{number:02}:00,login,,," for number in range(bad)]
    export.events("a,2024-01-01 08:00:00,login,,,", *rows)
    export.configure(validation={"max_reject_share": limit})
    return run(export, daily=False).workspace


class Service:
    """A double of the scoring service on the loopback: answers by path, 404 for others."""

    def __init__(self, answers):
        self.answers = answers
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self):
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(service):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = service.answers.get(self.path, (404, "{}"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_args):
            pass

    return Handler


def answers_of(version, status=200, degraded=()):
    """What a service answers that serves a version."""
    ready = {"status": "ready", "model_version": version, "degraded": list(degraded)}
    text = f'# HELP churn_api_requests_total ...\nchurn_api_requests_total{{path="/"}} 1\nchurn_model_info{{}} {1}\n'
    return {
        "/live": (200, '{"status":"live"}'),
        "/ready": (status, json.dumps(ready if status == 200 else {"detail": "no model"})),
        "/metrics": (200, text),
    }


@dg.op
def nothing():
    """Do nothing, successfully."""


def succeed(instance, job, **tags):
    """Let a job of that name succeed now."""
    definition = dg.JobDefinition(name=job, graph_def=dg.GraphDefinition(name=job, node_defs=[nothing]))
    assert definition.execute_in_process(instance=instance, tags=tags).success


def beat(instance, at):
    """Let every task of the daemon report at a moment."""
    for task in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), task, "one", []))


def switch_off(instance, name, timing):
    """Stop a schedule or a sensor, as the UI does."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("churn"), "__repository__"), name
    )
    data = ScheduleInstigatorData("0 1 * * *") if timing == "SCHEDULE" else SensorInstigatorData()
    state = InstigatorState(origin, InstigatorType[timing], InstigatorStatus.STOPPED, data)
    instance.add_instigator_state(state)


@contextlib.contextmanager
def dagster_home(folder):
    """The instance of a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def decoded(path):
    """A JSON file's content."""
    return msgspec.json.decode(path.read_bytes())

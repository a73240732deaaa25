"""The real Prometheus and Alertmanager, as child processes on the loopback, with this repository's configuration."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from http_world import until
from outside_programs import lacking

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deployment" / "monitoring"
RULES = MONITORING / "prometheus" / "rules"
OFTEN = "500ms"
"""Between two visits, in the place of 15 seconds."""

URL_FILE_SINCE = (0, 26)
"""The Alertmanager that learned to read a webhook's address from a file."""


def program(*names):
    """The path of an installed program, under any of its names; without it the test is skipped, and in CI fails."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        refuse = pytest.fail if os.environ.get("CI", "").lower() == "true" else lacking
        refuse(f"{names[0]} is not installed: apt-get install prometheus prometheus-alertmanager")
    return found


def ran(*line):
    """Run a program to its end: exit code and everything that it said."""
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def read_yaml(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules(kind):
    """All rules of a kind, `record` or `alert`; with `expr`, all."""
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in read_yaml(path)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Tower:
    """A child process that answers over HTTP once it is ready; ended with the `with` block whatever happens."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10.0)

    def __enter__(self):
        with (self.folder / "log").open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self._process = subprocess.Popen(self.line(), cwd=self.folder, **streams)
        try:
            until(self._is_ready, 30.0, type(self).__name__)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.http.close()
        self._process.kill()
        self._process.wait(10)

    def _is_ready(self):
        assert self._process.poll() is None, (self.folder / "log").read_text()
        return self.http.get("/-/ready").status_code == 200

    def write(self, name, content):
        """Write a file of its configuration."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path


class Prometheus(Tower):
    """Prometheus with this repository's configuration; only addresses and times are others.

    Args:
        folder: For its files.
        service: The port of the service.
        alertmanager: The port of the one who is told.
        patience: The `for` of every alert; None for what the rules say.
    """

    def __init__(self, folder, service, alertmanager=1, patience=None):
        super().__init__(folder)
        self._addresses = {"churn-api": service, "prometheus": self.port, "alertmanager": alertmanager}
        self._patience = patience

    def line(self):
        config = self.write("prometheus.yml", self._config())
        for path in RULES.glob("*.yml"):
            self.write(f"rules/{path.name}", self._hasty(read_yaml(path)))
        return [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--rules.alert.resend-delay={OFTEN}",  # what fires before Alertmanager is found is told again
        ]

    def _config(self):
        config = read_yaml(MONITORING / "prometheus" / "prometheus.yml")
        config["global"] = {"scrape_interval": OFTEN, "scrape_timeout": OFTEN, "evaluation_interval": OFTEN}
        for job in config["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [f"127.0.0.1:{self._addresses[job['job_name']]}"]}]
        told = [f"127.0.0.1:{self._addresses['alertmanager']}"]
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": told}]}]
        return config

    def _hasty(self, file):
        for rule in (rule for group in file["groups"] for rule in group["rules"]):
            if self._patience and "for" in rule:
                rule["for"] = self._patience
        return file

    def query(self, expr):
        """The values that an expression gives now, with their labels."""
        answer = self.http.get("/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", f"{expr}: {answer}"
        assert answer["data"]["resultType"] == "vector", expr
        return [(found["metric"], float(found["value"][1])) for found in answer["data"]["result"]]

    def has(self, expr):
        return bool(self.query(expr))

    def health(self):
        """Every loaded rule's name, health and last error."""
        groups = self.http.get("/api/v1/rules").json()["data"]["groups"]
        return [(rule["name"], rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]]

    def wait_for_rules(self):
        """Wait until every rule has been evaluated."""
        until(lambda: all(health != "unknown" for _, health, _ in self.health()), 30.0, "every rule's evaluation")


class Alertmanager(Tower):
    """Alertmanager with this repository's routes; only addresses and times are others.

    Args:
        folder: For its files.
        addresses: Where each receiver's messages go.
    """

    def __init__(self, folder, addresses):
        super().__init__(folder)
        self._addresses = addresses
        self._lasts = itertools.count()

    def line(self):
        return [
            program("alertmanager", "prometheus-alertmanager"),
            f"--config.file={self.write('alertmanager.yml', self._config())}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]

    def _config(self):
        config = readable(read_yaml(MONITORING / "alertmanager" / "alertmanager.yml"), self.folder, self._addresses)
        for route in (config["route"], *config["route"]["routes"]):
            route |= {"group_wait": "100ms", "group_interval": "200ms"}
        return config

    def post(self, *alerts):
        """Tell it of alerts by their labels, as Prometheus does."""
        answer = self.http.post("/api/v2/alerts", json=[{"labels": labels} for labels in alerts])
        assert answer.status_code == 200, answer.text

    def inhibited(self, namespace):
        """Whether each alert of a namespace is silenced by another, by name."""
        found = self.http.get("/api/v2/alerts", params={"filter": f'namespace="{namespace}"'}).json()
        return {one["labels"]["alertname"]: bool(one["status"]["inhibitedBy"]) for one in found}

    def settle(self):
        """Wait until it has thought about every alert that was posted: it does so one by one."""
        last = {"namespace": f"last-{next(self._lasts)}", "job": "churn-api", "component": "api"}
        self.post(last | {"alertname": "ChurnApiNotReady"})
        self.post(last | {"alertname": "ChurnApiSlow"})
        until(lambda: self.inhibited(last["namespace"]).get("ChurnApiSlow"), 10.0, "the last alert's silence")


def readable(config, folder, addresses):
    """The configuration with its receivers' addresses in files, or in itself for an Alertmanager without them."""
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            address = addresses[receiver["name"]]
            if version() >= URL_FILE_SINCE:
                place = folder / Path(hook["url_file"]).name
                place.write_text(address, encoding="utf-8")
                hook["url_file"] = str(place)
            else:
                del hook["url_file"]
                hook["url"] = address
    return config


def version():
    """The installed Alertmanager's, as (major, minor)."""
    _, said = ran(program("amtool"), "--version")
    return tuple(int(part) for part in said.split("version ")[1].split(".")[:2])


@contextlib.contextmanager
def changed_rules(folder, change):
    """A copy of rules and their tests, each alert changed."""
    shutil.copytree(MONITORING / "prometheus", folder, dirs_exist_ok=True)
    path = folder / "rules" / "alerts.yml"
    content = read_yaml(path)
    for rule in (rule for group in content["groups"] for rule in group["rules"]):
        change(rule)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    yield sorted((folder / "tests").glob("*.yml"))

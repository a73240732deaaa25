"""Dagster's instance as Compose and the cluster configure it, on a real PostgreSQL server."""

import contextlib
import itertools
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy.exc
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster_postgres.utils import DagsterPostgresException
from docker_files import FOLDER, ROOT
from manifest_files import base
from manifest_files import named as object_named
from postgres_server import PASSWORD, Database, Server, programs
from small_world import SMALL_WORLD

CONFIGURATIONS = {
    "compose": yaml.safe_load((ROOT / "deployment" / "compose" / "dagster.yaml").read_text(encoding="utf-8")),
    "cluster": yaml.safe_load(object_named(base(), "ConfigMap", "churn-dagster-instance")["data"]["dagster.yaml"]),
}
FAR_AWAY = "America/New_York"
FEW = SMALL_WORLD | {"CHURN_SOURCE__SYNTHETIC__USERS": "40", "CHURN_SOURCE__SYNTHETIC__HISTORY_DAYS": "20"}
ASSET = dg.AssetKey("any")
NUMBERS = itertools.count()
PATIENCE = 60

WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
import dagster as dg
first = int(sys.argv[1])
with dg.DagsterInstance.get() as instance, ThreadPoolExecutor(2) as pool:
    def write(number):
        instance.report_runless_asset_event(dg.AssetMaterialization("any", metadata={"number": number}))
    list(pool.map(write, range(first, first + 50)))
"""
"""Writes fifty events about one asset."""

BUILT = {"raw_users", "raw_events", "validated_users", "validated_events"}


@pytest.fixture(scope="module")
def server():
    with Server.running() as running:
        yield running


@dataclass(frozen=True)
class Container:
    """What a container of the deployment has: an instance's configuration, a password in a file, a folder.

    Attributes:
        folder: Where commands run.
        database: Dagster's.
    """

    folder: Path
    database: Database

    @classmethod
    def of(cls, configuration, folder, database):
        """One with a configuration of the deployment, but for the server's port."""
        (folder / "config.yaml").write_text("{}")
        (folder / "password").write_text(PASSWORD)
        content = database.configured(CONFIGURATIONS[configuration])
        if "local_artifact_storage" in content:
            content["local_artifact_storage"]["config"] = {"base_dir": str(folder / "tmp")}
        (folder / "home").mkdir()
        (folder / "home" / "dagster.yaml").write_text(yaml.safe_dump(content))
        return cls(folder, database)

    @property
    def environment(self):
        """As the deployment sets it."""
        foreign = ("CHURN_", "DAGSTER_", "PYTEST_", "PG")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {
            "CHURN_MLOPS_CONFIG": str(self.folder / "config.yaml"),
            "DAGSTER_HOME": str(self.folder / "home"),
            "DAGSTER_PG_PASSWORD_FILE": str(self.folder / "password"),
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
        }
        return kept | FEW | ours | self.database.environment

    def run(self, *line):
        """Run a command behind the images' entry point."""
        return subprocess.run(
            ["sh", FOLDER / "entrypoint", *line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def churn(self, *words):
        """Run a `churn` command."""
        return self.run(sys.executable, "-m", "churn_assets", *words)


@pytest.fixture(scope="module")
def containers(server, tmp_path_factory):
    """One of each configuration in which history was built; for its database's sessions, the time is New York's."""
    made = {
        name: Container.of(name, tmp_path_factory.mktemp(name), server.database(f"history_{name}", timezone=FAR_AWAY))
        for name in CONFIGURATIONS
    }
    with ThreadPoolExecutor(len(made)) as pool:
        for done in pool.map(lambda container: container.churn("build", "data"), made.values()):
            assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(params=sorted(CONFIGURATIONS))
def built(request, containers):
    """Each of them; tests only look at it."""
    return containers[request.param]


def test_a_run_and_its_events_are_in_the_database(built):
    assert built.database.rows("SELECT pipeline_name, status FROM runs") == [("history_job", "SUCCESS")]
    query = "SELECT DISTINCT asset_key FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
    assert {row[0] for row in built.database.rows(query)} == {f'["{name}"]' for name in BUILT}
    assert list(built.folder.rglob("*.db")) == []


def test_times_are_utc_wherever_the_server_is(built):
    assert built.database.rows("SHOW timezone") == [(FAR_AWAY,)]
    [(created, updated)] = built.database.rows("SELECT create_timestamp, update_timestamp FROM runs")
    now = datetime.now(UTC).replace(tzinfo=None)
    assert timedelta(0) <= now - updated <= now - created < timedelta(minutes=30)


def test_the_line_that_a_backup_prints_saves_the_database(built):
    told = built.churn("backup", "saved")
    assert told.returncode == 0, told.stderr
    line = told.stdout[told.stdout.index("pg_dump") :].splitlines()[0]
    path = f"{programs()}:{os.environ['PATH']}"
    environment = built.environment | {"PGPASSWORD": PASSWORD, "PATH": path}
    subprocess.run(["sh", "-c", line], cwd=built.folder, env=environment, timeout=60, check=True)
    asked = [programs() / "pg_restore", "--list", "dagster.dump"]
    listed = subprocess.run(asked, cwd=built.folder, capture_output=True, text=True, timeout=60, check=True)
    assert {"runs", "event_logs"} <= set(re.findall(r"TABLE DATA public (\w+)", listed.stdout))


# What follows has a database of its own.


@pytest.fixture
def container(server, tmp_path, monkeypatch):
    """One of Compose, with an empty database; this process may open its instance."""
    made = Container.of("compose", tmp_path, server.database(f"empty_{next(NUMBERS)}", timezone=FAR_AWAY))
    for name, value in {**made.environment, "DAGSTER_PG_PASSWORD": PASSWORD, "PGTZ": "UTC"}.items():
        if name.startswith(("DAGSTER_", "PG")):
            monkeypatch.setenv(name, value)
    return made


def opened():
    """The instance, as a process finds it at its start."""
    return dg.DagsterInstance.get()


def numbers(instance, page=40):
    """What was written about the asset, read as sensors do: page by page, from a cursor on."""
    found, cursor = [], None
    while True:
        part = instance.fetch_materializations(ASSET, limit=page, cursor=cursor, ascending=True)
        found += [record.asset_materialization.metadata["number"].value for record in part.records]
        if not part.has_more:
            return found
        cursor = part.cursor


def write(instance, number):
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, metadata={"number": number}))


def test_the_password_is_asked_for(container):
    (container.folder / "password").write_text("another")
    code, said = health(container)
    assert code == 1
    assert "password authentication failed" in said


def test_the_daemons_health_is_its_heartbeat(container):
    with opened() as instance:
        assert health(container) == (1, "SCHEDULER has never reported")
        for task in ("SCHEDULER", "SENSOR"):
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), task, None))
    assert health(container) == (0, "")
    container.database.execute("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '10 minutes'")
    code, said = health(container)
    assert code == 1
    assert re.fullmatch(r"SCHEDULER has not reported for 6\d\d s", said)


def health(container):
    """What the healthcheck of the daemon says."""
    asked = ["env", f"PGPORT={container.database.port}", sys.executable, FOLDER / "healthcheck.py", "daemon", "300"]
    done = container.run(*asked)
    return done.returncode, done.stderr.strip()


def test_writers_at_the_same_time_lose_nothing(container):
    """Processes begun at once on an empty database, each with two threads, all about one asset."""
    lines = [[sys.executable, "-c", WRITER, str(first)] for first in (0, 50)]
    with ThreadPoolExecutor(len(lines)) as pool:
        ended = list(pool.map(lambda line: container.run(*line), lines))
    assert [done.returncode for done in ended] == [0, 0], "\n".join(done.stderr for done in ended)
    with opened() as instance:
        assert sorted(numbers(instance)) == list(range(100))


@pytest.mark.usefixtures("container")
def test_an_open_instance_goes_on_after_a_crash_and_what_it_wrote_is_there(server):
    written, ended = [], threading.Event()

    def keep_writing(instance):
        for number in itertools.count():
            if ended.is_set():
                return
            with contextlib.suppress(dg.DagsterError, DagsterPostgresException, sqlalchemy.exc.OperationalError):
                write(instance, number)
                written.append(number)

    with opened() as instance, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(keep_writing, instance)
        try:
            until(lambda: writing.done() or len(written) > 20)
            server.stop("immediate")
            server.start()
            before = len(written)
            until(lambda: writing.done() or len(written) > before + 20)
        finally:
            ended.set()
        writing.result()
        assert len(written) > before
        found = numbers(instance)
    assert set(written) <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.usefixtures("container")
def test_ticks_and_cursors_survive_a_restart(server):
    schedule, sensor = origin("drift_daily"), origin("run_failure_alert")
    with opened() as instance:
        ticked(instance, schedule, InstigatorType.SCHEDULE, ScheduleInstigatorData("0 1 * * *"))
        ticked(instance, sensor, InstigatorType.SENSOR, SensorInstigatorData(cursor="seen up to here"))
    server.stop()
    server.start()
    with opened() as instance:
        for one in (schedule, sensor):
            [tick] = instance.get_ticks(one.get_id(), one.get_selector().get_id())
            assert (tick.status, tick.skip_reason) == (TickStatus.SKIPPED, f"{one.instigator_name} had nothing to do")
        state = instance.get_instigator_state(sensor.get_id(), sensor.get_selector().get_id())
        assert state.instigator_data.cursor == "seen up to here"


def origin(name):
    """Where Dagster says that a schedule or sensor comes from."""
    location = RegisteredCodeLocationOrigin("churn")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)


def ticked(instance, one, kind, data):
    """Leave what the daemon leaves after a tick that asked for nothing."""
    selector = one.get_selector().get_id()
    instance.add_instigator_state(InstigatorState(one, kind, InstigatorStatus.RUNNING, data))
    tick = TickData(one.get_id(), one.instigator_name, kind, TickStatus.STARTED, time.time(), selector_id=selector)
    begun = instance.create_tick(tick)
    instance.update_tick(begun.with_status(TickStatus.SKIPPED, skip_reason=f"{one.instigator_name} had nothing to do"))


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

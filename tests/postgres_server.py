"""A real PostgreSQL server that a test starts, stops and breaks."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from outside_programs import lacking

DEBIANS = Path("/usr/lib/postgresql")
USER = PASSWORD = "dagster"  # noqa: S105 - of a server on this machine, for a minute
NOT_ROOT = "nobody"
FIRST_PORT = 15432
"""Below those that connections are given, so that nobody takes it while the server is down."""

KEEPER = '"$0" -D data >>log 2>&1 & read -r _; kill -QUIT $! 2>/dev/null; wait'
"""Runs the server until nobody holds the other end of its input: a test that is killed leaves none behind."""

PATIENCE = 60

SETTINGS = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "50", "shared_buffers": "16MB"}


def programs():
    """The folder of `initdb`, `pg_ctl`, `pg_dump`, …; without them the test is skipped."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    folders = sorted(DEBIANS.glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return folders[-1] if folders else lacking("PostgreSQL is not installed: apt-get install postgresql")


@dataclass(frozen=True)
class Database:
    """One of the server's databases, empty at first.

    Attributes:
        port: Of the server, on 127.0.0.1.
        name: Its name.
    """

    port: int
    name: str

    @property
    def environment(self):
        """What the deployment's processes are told of it, but for the password."""
        return {"DAGSTER_PG_HOST": "127.0.0.1", "DAGSTER_PG_USER": USER, "DAGSTER_PG_DB": self.name}

    def configured(self, instance):
        """The content of a `dagster.yaml` with this server's port in the place of the usual one."""
        (storage,) = instance["storage"].values()
        return instance | {"storage": {"postgres": {"postgres_db": storage["postgres_db"] | {"port": self.port}}}}

    def rows(self, query):
        """The rows that a query finds."""
        with contextlib.closing(connected(self.port, self.name)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def execute(self, statement):
        """Change something behind Dagster's back."""
        with (
            contextlib.closing(connected(self.port, self.name)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


@dataclass(frozen=True)
class Server:
    """A server in a folder of its own.

    Attributes:
        folder: Where.
        port: On 127.0.0.1.
    """

    folder: Path
    port: int
    _keepers: list = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def running(cls):
        """A new one, as long as the context lasts."""
        programs()
        folder = Path(tempfile.mkdtemp(prefix="churn-postgres-"))  # where a user other than root can reach it
        server = cls(folder, free_port())
        try:
            server._prepare()
            server.start()
            yield server
        finally:
            server._let_go()
            shutil.rmtree(folder)

    def start(self):
        """Start it, and wait until it answers."""
        line = ["sh", "-c", KEEPER, programs() / "postgres"]
        self._keepers.append(subprocess.Popen(line, stdin=subprocess.PIPE, cwd=self.folder, user=runs_as()))
        end = time.monotonic() + PATIENCE
        while self._refuses():
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, mode="fast"):
        """Stop it: `fast` ends sessions, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "-w", "-D", "data", "-m", mode)
        self._let_go()

    def database(self, name, **settings):
        """Make a database; settings are those of its sessions."""
        with contextlib.closing(connected(self.port, "postgres")) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(f"CREATE DATABASE {name}")
            for key, value in settings.items():
                cursor.execute(f"ALTER DATABASE {name} SET {key} TO %s", [value])
        return Database(self.port, name)

    def _prepare(self):
        (self.folder / "password").write_text(PASSWORD)
        if runs_as():
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, NOT_ROOT)
        who = ["--username", USER, "--pwfile", "password", "--auth", "scram-sha-256"]
        self._run("initdb", "-D", "data", *who, "--encoding", "UTF8", "--no-locale", "--no-sync")
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _refuses(self):
        try:
            connected(self.port, "postgres").close()
        except psycopg2.OperationalError:
            return True
        return False

    def _let_go(self):
        while self._keepers:
            self._keepers.pop().communicate(timeout=PATIENCE)

    def _run(self, program, *arguments):
        subprocess.run(
            [programs() / program, *arguments],
            cwd=self.folder,
            user=runs_as(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=True,
        )


def connected(port, name):
    """A connection to a database."""
    return psycopg2.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname=name)


def runs_as():
    """Whom the server runs as: as root it refuses to."""
    return NOT_ROOT if os.getuid() == 0 else None


def free_port():
    """A port that nobody listens on."""
    first = FIRST_PORT + os.getpid() % 1000
    for port in range(first, first + 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port from {first} on is free")

# ruff: noqa: INP001 - it stands alone in the images
"""Says whether the service in this container is well, by its exit code.

`http URL` wants an answer of 2xx, `grpc PORT` a code location that serves, `daemon SECONDS` a heartbeat of schedules
and of sensors that is no older, in Dagster's database. None imports Dagster, which would take seconds each time.
"""

import os
import sys
import urllib.request

TIMEOUT_SECONDS = 4.0
TASKS = ("SCHEDULER", "SENSOR")
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url: str) -> str:
    """Return what is wrong with a web server; empty if nothing is."""
    with NO_PROXY.open(url, timeout=TIMEOUT_SECONDS) as answer:
        return "" if answer.status < 300 else f"{url} answers {answer.status}"


def grpc(port: str) -> str:
    """Return what is wrong with a code location; empty if nothing is."""
    from grpc import insecure_channel
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = HealthCheckRequest(service="DagsterApi")
        answer = HealthStub(channel).Check(asked, timeout=TIMEOUT_SECONDS)
    return "" if answer.status == HealthCheckResponse.SERVING else f"the code location's status is {answer.status}"


def daemon(seconds: str) -> str:
    """Return what is wrong with the daemon; empty if nothing is."""
    import psycopg2

    asked = (
        "SELECT EXTRACT(EPOCH FROM now() AT TIME ZONE 'utc' - timestamp) FROM daemon_heartbeats WHERE daemon_type = %s"
    )
    with (
        psycopg2.connect(
            host=os.environ["DAGSTER_PG_HOST"],
            user=os.environ["DAGSTER_PG_USER"],
            password=os.environ["DAGSTER_PG_PASSWORD"],
            dbname=os.environ["DAGSTER_PG_DB"],
            connect_timeout=int(TIMEOUT_SECONDS),
        ) as connection,
        connection.cursor() as cursor,
    ):
        for task in TASKS:
            cursor.execute(asked, (task,))
            row = cursor.fetchone()
            if row is None or row[0] > float(seconds):
                return f"{task} has not reported for {row[0]:.0f} s" if row else f"{task} has never reported"
    return ""


def main() -> str:
    """Ask; return what is wrong, which `sys.exit` turns into exit code 1, or nothing."""
    kind, argument = sys.argv[1:]
    try:
        return {"http": http, "grpc": grpc, "daemon": daemon}[kind](argument)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not well
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main() or 0)

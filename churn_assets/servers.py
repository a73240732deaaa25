"""The scoring services of this deployment: which version each of them serves."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_serving.settings import ServingSettings

TIMEOUT_SECONDS = 2.0
LOOK_SECONDS = 0.2
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}  # noqa: S104 - they are told apart, not bound
"""Where a service answers that listens there."""


@dataclass(frozen=True)
class Server:
    """What one service said of itself.

    Attributes:
        url: Where it is.
        version: What it serves; None if nothing, or if it does not answer.
        problem: What is wrong; empty if nothing is.
        runs: Whether anything answered.
    """

    url: str
    version: str | None
    problem: str = ""
    runs: bool = True


def ask_servers(settings: ServingSettings) -> list[Server]:
    """Ask every service what it serves.

    Args:
        settings: Where they are: `servers`, of each all addresses behind its name; else host and port of this one.
    """
    return [_ask(url) for url in _urls(settings)]


def seconds_until(settings: ServingSettings, version: str, patience: float) -> float | None:
    """Wait until every service that runs serves a version; return after how many seconds.

    None if none runs, or if one has not taken it up after `patience` seconds.
    """
    began = time.monotonic()
    while True:
        running = [server for server in ask_servers(settings) if server.runs]
        if running and all(server.version == version for server in running):
            return time.monotonic() - began
        if not running or time.monotonic() - began > patience:
            return None
        time.sleep(LOOK_SECONDS)


def _urls(settings: ServingSettings) -> Iterator[str]:
    host = LOOPBACK.get(settings.host, settings.host)
    for url in settings.servers or [f"http://{host}:{settings.port}"]:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme == "https":  # certificates are for names
            yield url.rstrip("/")
            continue
        try:
            found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError:
            yield url.rstrip("/")
            continue
        addresses = dict.fromkeys(str(address[0]) for *_, address in found)
        named = (f"[{address}]" if ":" in address else address for address in addresses)
        yield from (f"{parts.scheme}://{address}:{port}{parts.path.rstrip('/')}" for address in named)


def _ask(url: str) -> Server:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as configured
            content = json.load(answer)
            return Server(url, content["model_version"], "; ".join(content.get("degraded", [])))
    except urllib.error.HTTPError as error:
        return Server(url, None, f"not ready ({error.code}): {_detail(error)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Server(url, None, f"not running: {getattr(error, 'reason', error)}", runs=False)


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason

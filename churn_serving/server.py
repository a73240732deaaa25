"""Runs the service: one process, or several that a supervisor keeps alive."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET
from socket import socket as Socket  # noqa: N812 - a class
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess

from churn_serving.logs import json_logging
from churn_serving.security import Keys, refuse_open_listen
from churn_serving.settings import ServiceSettings, read_settings
from churn_serving.telemetry import MULTIPROCESS

if TYPE_CHECKING:
    from litestar import Litestar

BACKLOG = 2048

SWITCH_SECONDS = 0.0005
"""How long another thread may keep the event loop waiting for the interpreter; ten times less than by default."""

GC_THRESHOLDS = (10_000, 20, 50)
"""Collections are rarer than by default: a batch makes thousands of objects, and no cycles."""

_log = logging.getLogger(__name__)


class ListenError(OSError):
    """The service cannot listen where it was told to."""


def serve(settings: ServiceSettings) -> int:
    """Serve until told to stop.

    Args:
        settings: As configured. Workers read the same configuration again.

    Returns:
        The process's exit code: 0 after SIGTERM or SIGINT, once running requests were answered.

    Raises:
        OpenListenError: It would listen to a network without asking for keys.
        KeyFileError: The API keys cannot be used.
        ListenError: The address is taken, or not of this machine.
    """
    serving = settings.serving
    if serving.api_keys_file:
        Keys(serving.api_keys_file)
    refuse_open_listen(
        serving.host, has_keys=serving.api_keys_file is not None, allow_anonymous=serving.allow_anonymous
    )
    json_logging.configure(serving.log_level.upper())
    config = uvicorn.Config(
        "churn_serving.server:worker_app",
        factory=True,
        host=serving.host,
        port=serving.port,
        workers=serving.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=serving.shutdown_seconds,
    )
    socket = _listen(serving.host, serving.port)
    return _serve_many(config, socket) if serving.workers > 1 else _serve_one(config, socket)


def _listen(host: str, port: int) -> Socket:
    """Return a socket that is bound to an address.

    Raises:
        ListenError: The address is taken, or not of this machine.
    """
    found = Socket(AF_INET6 if ":" in host else AF_INET)
    found.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(BACKLOG)  # who comes before the model is loaded waits, and is not turned away
    except OSError as error:
        found.close()
        raise ListenError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): stop what listens there, or choose another "
            "`--port` or `--host`"
        ) from None
    found.set_inheritable(True)
    _log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, found.getsockname()[1])
    return found


def worker_app() -> Litestar:
    """Return the application of a worker process, and make the process fit for it."""
    from churn_serving.app import create_app

    settings = read_settings(ServiceSettings)
    json_logging.configure(settings.serving.log_level.upper())
    np.seterr(all="ignore")  # a score that is not finite is refused; NumPy's warnings would only fill the log
    sys.setswitchinterval(SWITCH_SECONDS)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the application listens to it
    try:
        app = create_app(settings)
    except Exception:  # noqa: BLE001 - whatever it is
        _log.exception("the service cannot start")
        sys.exit(uvicorn.config.STARTUP_FAILURE)  # tells the supervisor that another try would end the same way
    app.on_startup.append(_freeze)
    return app


def _freeze() -> None:
    """Spare the collector what lives as long as the process: a full collection would hold up requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it; it gives back what loading has used
        ctypes.CDLL(None).malloc_trim(0)


def _serve_one(config: uvicorn.Config, socket: Socket) -> int:
    signal.signal(signal.SIGTERM, _ended)  # uvicorn raises the signal again when it has stopped
    signal.signal(signal.SIGINT, _ended)
    server = uvicorn.Server(config)
    server.run(sockets=[socket])
    return 0 if server.started else 1


def _ended(number: int, _: object) -> None:
    _log.info("stopped by %s", signal.Signals(number).name)


def _serve_many(config: uvicorn.Config, socket: Socket) -> int:
    folder = tempfile.mkdtemp(prefix="churn_serving_")
    os.environ[MULTIPROCESS] = folder
    try:
        supervisor = Supervisor(config, [socket])
        supervisor.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if supervisor.was_stopped else 1


class Supervisor(Multiprocess):
    """Keeps the workers alive. SIGHUP has every worker look for a new model at once; nothing is restarted for that."""

    @property
    def was_stopped(self) -> bool:
        """Whether it ended because it was told to, and not because no worker could start."""
        return all(process.exitcode != uvicorn.config.STARTUP_FAILURE for process in self.processes)

    def handle_hup(self) -> None:
        """Pass the signal on."""
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

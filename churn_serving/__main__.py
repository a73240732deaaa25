"""`python -m churn_serving`: the scoring service, which needs nothing of the pipeline."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from churn_serving.settings import ServiceSettings, SettingsError, read_settings

VARIABLES = {
    "host": "CHURN_SERVING__HOST",
    "port": "CHURN_SERVING__PORT",
    "workers": "CHURN_SERVING__WORKERS",
    "api_keys": "CHURN_SERVING__API_KEYS_FILE",
    "allow_anonymous": "CHURN_SERVING__ALLOW_ANONYMOUS",
    "log_level": "CHURN_SERVING__LOG_LEVEL",
}
"""An option is its environment variable, so that worker processes see it too."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; a known error is one line and exit code 1."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a service to be told
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for name, variable in VARIABLES.items():
        value = getattr(options, name)
        if value is not None:
            os.environ[variable] = str(value)
    try:
        settings = read_settings(ServiceSettings)
        from churn_serving.key_file import KeyFileError
        from churn_serving.security import OpenListenError
        from churn_serving.server import ListenError, serve

        try:
            return serve(settings)
        except (KeyFileError, ListenError, OpenListenError) as error:
            return _fail(str(error))
    except SettingsError as error:
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="churn serve",
        description="The scoring service over HTTP. It finds new models and new features by itself; SIGHUP has it look "
        "at once, SIGTERM has it finish what it does and stop.",
        epilog="Every other setting stands under `serving:` in the file that CHURN_MLOPS_CONFIG names.",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8000)")
    parser.add_argument("--workers", type=int, help="processes that share the port (1)")
    parser.add_argument(
        "--api-keys", type=Path, metavar="FILE", help="YAML list of API keys; `churn keys new` adds one"
    )
    parser.add_argument(
        "--allow-anonymous",
        action="store_const",
        const="true",
        help="listen on other addresses than loopback without asking for keys",
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="(info)")
    return parser


def _fail(text: str) -> int:
    sys.stderr.write(f"churn serve: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

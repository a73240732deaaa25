"""The service's own words, as JSON lines on standard error. What a request holds is never logged."""

from __future__ import annotations

import logging
import sys

import msgspec

from churn_serving.logs.timestamps import utc_text

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.asgi")
"""Loggers that uvicorn may have set up for itself."""


class JsonFormatter(logging.Formatter):
    """One JSON object a record: `time`, `level`, `logger`, `message`, and `exception` with its traceback, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline; line breaks inside it are escaped."""
        line = {
            "time": utc_text(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _plain(record.getMessage()),
        }
        trouble = [self.formatException(record.exc_info)] if record.exc_info else []
        trouble += [record.stack_info] if record.stack_info else []
        if trouble:
            line["exception"] = _plain("\n".join(trouble))
        return msgspec.json.encode(line).decode()


def configure(level: str | int) -> None:
    """Send what the root logger and uvicorn's have to say to standard error, as JSON.

    Uvicorn's own access log is switched off: it writes raw paths, which hold user ids. Run uvicorn with
    `log_config=None`, or it sets up its loggers anew.

    Args:
        level: The lowest level that is shown, such as `INFO`.

    Raises:
        ValueError: There is no such level.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [handler]
    for name in UVICORN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    access.disabled = True


def _plain(text: str) -> str:
    """Return text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()

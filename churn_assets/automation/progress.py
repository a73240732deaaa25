"""What a person at a terminal sees of a run: a line a step, with what it says of itself while it works."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster import DagsterEvent, InitLoggerContext


class _StepLines(logging.Handler):
    """Steps as they start and end; on a terminal one line is rewritten while a step works."""

    def __init__(self) -> None:
        super().__init__()
        self._live = sys.stderr.isatty()
        self._began: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        event: DagsterEvent | None = meta.get("dagster_event") or getattr(record, "dagster_event", None)
        step = meta.get("step_key") or (event.step_key if event else None) or ""
        if event is None:
            self._say(step, meta.get("orig_message") or record.getMessage(), record.levelno)
        elif event.is_step_start:
            self._began[step] = time.monotonic()
            self._say(step, "…", logging.INFO)
        elif event.is_step_success or event.is_step_failure:
            seconds = time.monotonic() - self._began.pop(step, time.monotonic())
            self._done("✓" if event.is_step_success else "✗", step, f"{seconds:.1f} s")

    def _say(self, step: str, text: str, level: int) -> None:
        if level >= logging.WARNING:
            self._done("!", step, text)
        elif self._live:
            sys.stderr.write(f"\r\x1b[2K  {step:<18} {text}"[:160])
            sys.stderr.flush()

    def _done(self, mark: str, step: str, text: str) -> None:
        start = "\r\x1b[2K" if self._live else ""
        sys.stderr.write(f"{start}{mark} {step:<18} {text}\n")
        sys.stderr.flush()


def _progress(init_context: InitLoggerContext) -> logging.Logger:
    del init_context
    logger = logging.Logger("churn.progress", level=logging.DEBUG)  # noqa: LOG001 - one a run, as Dagster wants it
    logger.addHandler(_StepLines())
    return logger


progress = dg.LoggerDefinition(_progress, description="A line a step, for people at a terminal.")
"""The logger that the `churn` command chooses."""

"""The Dagster instance of a deployment: where runs, ticks and events are recorded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg

HOME = "DAGSTER_HOME"


def instance() -> dg.DagsterInstance:
    """The Dagster instance of this deployment: at `DAGSTER_HOME`, else in `.dagster` below the working directory."""
    if not os.environ.get(HOME):
        home = Path(".dagster").resolve()
        home.mkdir(exist_ok=True)
        configured = Path("dagster.yaml")
        if configured.exists():
            shutil.copyfile(configured, home / "dagster.yaml")
        os.environ[HOME] = str(home)
    return dg.DagsterInstance.get()

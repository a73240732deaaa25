"""What Dagster hands to every asset."""

from __future__ import annotations

import functools

import dagster as dg

from churn_assets.workspace import Workspace


class ChurnWorkspace(dg.ConfigurableResource[Workspace]):
    """The deployment that `CHURN_MLOPS_CONFIG` and the environment describe."""

    def get(self) -> Workspace:
        """Settings, files, source and features; read once a run."""
        return _load()


@functools.cache
def _load() -> Workspace:
    return Workspace.load()

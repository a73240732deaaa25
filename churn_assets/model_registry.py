"""The registry of a deployment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from churn_serving.registry import Registry

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace


def open_registry(workspace: Workspace) -> Registry:
    """The registry of this deployment; it signs and checks with `CHURN_SIGNING_KEY`, if that is set."""
    return Registry(workspace.layout.artifacts, os.environ.get("CHURN_SIGNING_KEY"))

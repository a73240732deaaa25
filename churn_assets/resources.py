"""What Dagster hands to every asset, and how expected errors reach the people who look at a run."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import dagster as dg

from churn_assets.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator


class ChurnWorkspace(dg.ConfigurableResource[Workspace]):
    """The deployment that `CHURN_MLOPS_CONFIG` and the environment describe."""

    def get(self) -> Workspace:
        """Settings, files, source and features; read once a process."""
        return load_workspace()


@functools.cache
def load_workspace() -> Workspace:
    """The deployment of this process.

    Raises:
        SettingsError: The configuration is refused.
    """
    return Workspace.load()


@contextlib.contextmanager
def clear_failure(*expected: type[Exception]) -> Iterator[None]:
    """Fail the step with the message alone, and without a retry, on an error that a retry cannot mend.

    Raises:
        dagster.Failure: One of the expected errors happened inside.
    """
    try:
        yield
    except expected as error:
        raise dg.Failure(str(error), allow_retries=False) from error

"""What all checks look at: read once, and only if one of them asks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from churn_assets.model_registry import open_registry
from churn_assets.model_report import age_in_words
from churn_assets.readiness.checkout import Checkout, installed_version
from churn_assets.readiness.finding import Answer, warns
from churn_assets.readiness.manifests import Deployment
from churn_assets.servers import Server, ask_servers

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.automation.health import Health
    from churn_assets.layout import Layout
    from churn_assets.settings import Settings
    from churn_assets.workspace import Workspace
    from churn_serving.alias import Production
    from churn_serving.registry import Registry


@dataclass(frozen=True)
class Premises:
    """One deployment at one moment.

    Attributes:
        workspace: The deployment.
        now: The moment, UTC, by the machine's clock.
        checkout: The project's source, if this runs from it.
        deep: Whether to ask what takes minutes or a cluster.
    """

    workspace: Workspace
    now: datetime
    checkout: Checkout | None = None
    deep: bool = False

    @classmethod
    def here(cls, workspace: Workspace, *, deep: bool = False) -> Self:
        """What there is around this process."""
        return cls(workspace, datetime.now(UTC), Checkout.find(), deep)

    @property
    def settings(self) -> Settings:
        """As configured."""
        return self.workspace.settings

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return self.workspace.layout

    @cached_property
    def registry(self) -> Registry:
        """All models."""
        return open_registry(self.workspace)

    @cached_property
    def production(self) -> Production | None:
        """What serves; None if nothing does.

        Raises:
            ForeignAliasError: The alias holds no registered model.
        """
        return self.registry.production()

    @cached_property
    def servers(self) -> list[Server]:
        """What the services said of themselves."""
        return ask_servers(self.settings.serving)

    @cached_property
    def health(self) -> Health:
        """What Dagster's instance knows."""
        from churn_assets.automation.health import take_pulse

        return take_pulse()

    @cached_property
    def deployment(self) -> Deployment | None:
        """The files that describe images, cluster and monitoring; None if they are not here."""
        return Deployment.read(self.checkout.deployment) if self.checkout else None

    def ago(self, moment: datetime) -> str:
        """How long ago, in words."""
        return f"{age_in_words(self.now - moment)} ago"


def read_report(path: Path) -> dict[str, Any] | None:
    """A report of ours; None if it has not been written.

    Raises:
        ValueError: It is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no JSON object")  # noqa: TRY004 - the file is wrong, not the caller
    return content


def not_here(premises: Premises) -> Answer:
    """What a check says that looks for files of the deployment where there are none."""
    if premises.checkout is None:
        fix = f"in a checkout of {installed_version()}: churn doctor --only deployment"
        return warns("this is no checkout, so the files of `deployment/` are not here", fix)
    return warns(f"{premises.checkout.deployment} is not there", "git checkout -- deployment")

"""Another version comes to serve by a person's hand: promoted, or rolled back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.model_registry import open_registry
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.operator import operator
from churn_assets.servers import ask_servers, seconds_until
from churn_assets.training.suitability import assert_suitable
from churn_serving.errors import ForeignAliasError, UnknownVersionError

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace
    from churn_serving.alias import Production
    from churn_serving.registry import Registry

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Switch:
    """What became of it.

    Attributes:
        version: What serves now.
        previous: What served before; None if nothing registered did.
        servers: Services that run.
        seconds: Until all of them had taken it up; None if none runs or one has not.
    """

    version: str
    previous: str | None
    servers: int
    seconds: float | None

    @property
    def told(self) -> str:
        """What the services make of it, in words."""
        if not self.servers:
            return "no service runs; the next to start takes it up"
        if self.seconds is None:
            return f"not all of {self.servers} serve it yet: look at `churn status`"
        return f"{self.servers} of {self.servers} serve it, after {self.seconds:.1f} s"


def promote(workspace: Workspace, version: str, *, reason: str, force: bool = False) -> Switch:
    """Make a version serve, whatever gates said of it.

    Args:
        workspace: The deployment.
        version: Which.
        reason: Why.
        force: Even if today's features lack some that it was trained on.

    Raises:
        UnsuitableModelError: It cannot score today's features.
        ArtifactError: It is unknown, or something about it is wrong.
    """
    registry = open_registry(workspace)
    if not force:
        assert_suitable(workspace, registry.show(version))
    previous = _serving(registry)
    return _settled(workspace, registry.promote(version, actor=operator(), reason=reason), previous)


def roll_back(workspace: Workspace, version: str | None, *, reason: str, force: bool = False) -> Switch:
    """Make a version serve that served before; by default the last one.

    Args:
        workspace: The deployment.
        version: Which; the one that served before this one if None.
        reason: Why.
        force: As for `promote`.

    Raises:
        UnsuitableModelError: It cannot score today's features.
        ArtifactError: There is none, or something about it is wrong.
    """
    registry = open_registry(workspace)
    registry.reconcile()
    target = version or registry.previous_production()
    if target is None:
        raise UnknownVersionError("no version served before this one; name one of `churn models list`")
    if not force:
        assert_suitable(workspace, registry.show(target))
    previous = _serving(registry)
    return _settled(workspace, registry.rollback(target, actor=operator(), reason=reason), previous)


def _settled(workspace: Workspace, production: Production, previous: str | None) -> Switch:
    """Tell people, and wait for the services."""
    if production.version != previous:
        at = f"{production.promoted_at:%Y-%m-%d %H:%M:%S}"
        told = (production.version, previous, production.actor, production.promoted_because, at)
        Notifier.of(workspace).tell(messages.switched(*told), today=workspace.settings.today)
    serving = workspace.settings.serving
    running = sum(server.runs for server in ask_servers(serving))
    seconds = seconds_until(serving, production.version, PATIENCE_SECONDS) if running else None
    return Switch(production.version, previous, running, seconds)


def _serving(registry: Registry) -> str | None:
    try:
        production = registry.production()
    except ForeignAliasError:
        return None
    return production.version if production else None

"""Model versions: the newest stay, and of the others those that serve, may serve again, or are spoken of."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.model_registry import open_registry
from churn_assets.upkeep.retention import Item, Plan, plan_of
from churn_assets.upkeep.retention_needs import versions_alarmed
from churn_serving.errors import ForeignAliasError, UnknownVersionError
from churn_serving.history import SERVING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.layout import Layout
    from churn_assets.workspace import Workspace
    from churn_serving.registry import Registry
    from churn_serving.versions import VersionSummary

SERVES = "it serves"
SERVED = "it served before"
BEFORE = "a rollback goes to it"
ALARMED = "an alert stands about it"
UNKNOWN = "it is not known which version serves"


def plan_models(workspace: Workspace, keep: int, actor: str) -> Plan:
    """Plan to keep the newest `keep` versions, and those that are needed.

    Args:
        workspace: Where.
        keep: How many.
        actor: Who cleans, for the registry's history.
    """
    layout, registry = workspace.layout, open_registry(workspace)
    versions = registry.versions()
    needed = _needed(layout, registry, versions)
    old = [_item(layout, summary, needed.get(summary.version, "")) for summary in reversed(versions[keep:])]

    def remove(item: Item) -> None:
        with contextlib.suppress(UnknownVersionError):  # somebody else has removed it
            registry.remove(item.name, actor=actor, reason=f"older than the newest {keep} versions")

    def finish(_removed: Sequence[Item]) -> None:
        removed = {entry.version for entry in registry.history() if entry.action == "removed"}
        for card in cards_left(layout):
            if card.stem.removeprefix("model_") in removed:  # by a clean-up that died, too
                card.unlink(missing_ok=True)

    return plan_of("models", f"{keep} newest", old, remove, finish)


def cards_left(layout: Layout) -> list[Path]:
    """Cards of versions that have been removed."""
    pages = sorted(layout.reports.glob("model_*.html"))
    return [page for page in pages if not layout.version_folder(page.stem.removeprefix("model_")).exists()]


def _needed(layout: Layout, registry: Registry, versions: Sequence[VersionSummary]) -> dict[str, str]:
    """Version → what needs it."""
    try:
        production = registry.production()
    except ForeignAliasError:
        production = None
    if production is None:
        return {summary.version: UNKNOWN for summary in versions}
    needed = dict.fromkeys(versions_alarmed(layout), ALARMED)
    for role in ("baseline", "candidate"):
        newest = next((summary.version for summary in versions if summary.role == role), "")
        needed[newest] = f"the newest {role}"
    served = [entry.version for entry in registry.history() if entry.action in SERVING]
    needed[next((version for version in reversed(served) if version != production.version), "")] = SERVED
    needed[registry.previous_production() or ""] = BEFORE
    needed[production.version] = SERVES
    return needed


def _item(layout: Layout, summary: VersionSummary, needed: str) -> Item:
    version = summary.version
    folder = layout.version_folder(version)
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    files += [layout.models / f"{version}.joblib", layout.metrics / f"{version}.json", layout.model_card(version)]
    return Item(version, _day_of(summary, folder), sum(map(_size, files)), needed)


def _day_of(summary: VersionSummary, folder: Path) -> date:
    """When it was trained; when its files were written, if its manifest cannot be read."""
    if summary.created_at:
        return summary.created_at.astimezone(UTC).date()
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC).date()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

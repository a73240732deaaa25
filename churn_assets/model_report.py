"""What the `churn models` commands say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn_assets.model_registry import open_registry
from churn_assets.report import production_version
from churn_assets.servers import ask_servers
from churn_serving.errors import ForeignAliasError
from churn_serving.history import SERVING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from churn_assets.training.switching import Switch
    from churn_assets.workspace import Workspace
    from churn_serving.history import Entry
    from churn_serving.registry import Registry

LISTED = ("pr_auc", "roc_auc", "ece", "lift_at_10pct")
TOLD_ACTIONS = SERVING | {"refused"}
LONGEST_REASON = 60


def model_rows(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a version, newest first."""
    registry, now = open_registry(workspace), datetime.now(UTC)
    serving, decisions = production_version(registry), _decisions(registry)
    servers = ask_servers(workspace.settings.serving)
    return [
        {
            "": "*" if summary.version == serving else "",
            "version": summary.version,
            "type": summary.model_type,
            "age": age_in_words(now - summary.created_at) if summary.created_at else "",
            **{name: summary.metrics.get(name) for name in LISTED},
            **_decided(decisions.get(summary.version)),
            "runs on": ", ".join(server.url for server in servers if server.version == summary.version),
            "problem": summary.problem,
        }
        for summary in registry.versions()
    ]


def model_details(workspace: Workspace, version: str) -> dict[str, Any]:
    """What is known of one version.

    Raises:
        UnknownVersionError: There is no such version.
    """
    registry = open_registry(workspace)
    manifest = registry.show(version)
    return {
        "version": manifest.version,
        "serves": version == production_version(registry),
        "type": manifest.model_type,
        "trained": manifest.created_at.isoformat(timespec="seconds"),
        "periods": "\n".join(f"{name}: {p.first} … {p.last}, {p.rows:,} rows" for name, p in manifest.training.items()),
        **{name: value for name, value in manifest.metrics.items() if value is not None},
        "threshold": manifest.threshold,
        "features": len(manifest.features),
        "data": manifest.data_fingerprint,
        "code": manifest.code_version,
        "problems": "\n".join(str(problem) for problem in registry.verify(version)) or "none",
        "history": "\n".join(
            f"{entry.time:%Y-%m-%d %H:%M} {entry.action} by {entry.actor}: {entry.reason}"
            for entry in registry.history()
            if entry.version == version
        ),
        "model card": workspace.layout.model_card(version),
    }


def switch_summary(switch: Switch) -> dict[str, Any]:
    """What serves now, and who has taken it up."""
    return {
        "production model": switch.version,
        "before": switch.previous or "none",
        "services": switch.told,
        "next": "churn status   churn models history",
    }


def verify_rows(workspace: Workspace, versions: list[str], tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Check versions again, one row each; if none is named, all of them, and whether the alias is one.

    Raises:
        UnknownVersionError: There is no such version.
    """
    registry = open_registry(workspace)
    chosen = versions or [summary.version for summary in registry.versions()]
    rows = [] if versions else _foreign_alias(registry)
    for number, version in enumerate(chosen, start=1):
        problems = registry.verify(version)
        rows.append({"version": version, "sound": not problems, "problems": "; ".join(map(str, problems))})
        if number % 50 == 0:
            tell(f"{number} of {len(chosen)} versions checked")
    return rows


def _foreign_alias(registry: Registry) -> list[dict[str, Any]]:
    """A row for the alias if it is no version; as one, it is checked with them."""
    try:
        registry.production()
    except ForeignAliasError as error:
        return [{"version": registry.alias.path.stem, "sound": False, "problems": str(error)}]
    return []


def history_rows(registry: Registry) -> list[dict[str, Any]]:
    """One row an entry, oldest first; what was only intended is told by what became of it."""
    return [
        {
            "number": entry.number,
            "time": entry.time.isoformat(timespec="seconds"),
            "action": entry.action,
            "version": entry.version,
            "by": entry.actor,
            "reason": entry.reason,
        }
        for entry in registry.history()
        if entry.action != "intended"
    ]


def age_in_words(age: timedelta) -> str:
    """Days, or hours in the first two days."""
    return f"{age.days} d" if age.days >= 2 else f"{age.total_seconds() / 3600:.0f} h"


def _decisions(registry: Registry) -> dict[str, Entry]:
    """The last that was decided of each version."""
    return {entry.version: entry for entry in registry.history() if entry.action in TOLD_ACTIONS}


def _decided(entry: Entry | None) -> dict[str, str]:
    if entry is None:
        return {"decided": "", "by": "", "why": ""}
    why = entry.reason if len(entry.reason) <= LONGEST_REASON else f"{entry.reason[: LONGEST_REASON - 1]}…"
    return {"decided": f"{entry.action} {entry.time:%Y-%m-%d}", "by": entry.actor, "why": why}

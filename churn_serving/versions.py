"""The versions in the registry's folder, listed without reading more than has to be."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from churn_serving.bundle import MANIFEST
from churn_serving.manifest import ModelType, Role

if TYPE_CHECKING:
    from pathlib import Path


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a list; `problem` says why its manifest cannot be read, and is empty if it can."""

    version: str
    model_type: ModelType | None = None
    role: Role | None = None
    created_at: datetime | None = None
    artifact_sha256: str = ""
    metrics: dict[str, Any] = {}
    problem: str = ""


class Versions:
    """All versions under one folder. A manifest is read again only when its file changes.

    Args:
        root: The registry's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[tuple[int, int], VersionSummary]] = {}

    def names(self) -> list[str]:
        """Return the versions' names, sorted."""
        return sorted(path.name for path in self._root.glob("[!.]*") if (path / MANIFEST).is_file())

    def newest_first(self) -> list[VersionSummary]:
        """Return all versions by the time in their names."""
        summaries = [self._summary(name) for name in self.names()]
        return sorted(summaries, key=lambda s: (s.version.rpartition("_")[2], s.version), reverse=True)

    def of_digest(self, digest: str, likely: str = "") -> str:
        """Return the version whose joblib file has this SHA-256, empty if none has; `likely` is looked at first."""
        if not digest:
            return ""
        if likely and (self._root / likely / MANIFEST).is_file() and self._summary(likely).artifact_sha256 == digest:
            return likely
        return next((s.version for s in self.newest_first() if s.artifact_sha256 == digest), "")

    def _summary(self, name: str) -> VersionSummary:
        path = self._root / name / MANIFEST
        stat = path.stat()
        stamp = stat.st_mtime_ns, stat.st_size
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            try:
                summary = msgspec.json.decode(path.read_bytes(), type=VersionSummary)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                summary = VersionSummary(version=name, problem=f"{path} cannot be read: {error}")
            known = self._known[name] = (stamp, msgspec.structs.replace(summary, version=name))
        return known[1]

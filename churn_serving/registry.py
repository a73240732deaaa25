"""The registry: immutable model versions, the alias that says which one serves, and the history of both.

Layout under `artifacts`: `models/<version>.joblib` and the alias `models/production_latest.joblib`;
`metrics/<version>.json` and `metrics/production_latest.json`; `registry/<version>/` with the manifest and the compiled
scorer, `registry/history.jsonl`, and `registry/.lock`.

The alias's bytes are the truth about what serves; the history and the metrics follow it. Whoever takes the lock first
writes down what happened since: a change that a dead process had begun, or one made by hand.
"""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from churn_serving import bundle
from churn_serving.alias import Alias, Production
from churn_serving.atomic import PART_SUFFIX, write_bytes, write_json
from churn_serving.errors import (
    ArtifactError,
    ChampionChangedError,
    DigestError,
    ForeignAliasError,
    MissingFileError,
    RegistryBusyError,
    UnknownVersionError,
    VersionExistsError,
)
from churn_serving.history import SERVING, Entry, History, serving_order
from churn_serving.manifest import Manifest, sha256
from churn_serving.owned_lock import LockHeldError, owned_lock
from churn_serving.production_metrics import write_latest
from churn_serving.reconciliation import ITSELF, Found, unwritten
from churn_serving.versions import Versions, VersionSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from churn_serving.scorer import Scorer

ANYTHING = ""
"""No version has this name: a promotion that does not mind what it replaces."""


class Registry:
    """Model versions on shared storage.

    Args:
        artifacts: The folder `paths.artifacts`.
        signing_key: Signs new versions; unsigned ones are then refused.
        clock: Gives the time, UTC.
        lock_timeout: Seconds to wait for another process.
    """

    def __init__(
        self,
        artifacts: Path,
        signing_key: str | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lock_timeout: float = 30.0,
    ) -> None:
        self.root = artifacts / "registry"
        self.models = artifacts / "models"
        self.metrics = artifacts / "metrics"
        self.alias = Alias(self.models / "production_latest.joblib")
        self._history = History(self.root / "history.jsonl")
        self._signing_key = signing_key or None
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._versions = Versions(self.root)

    def new_version(self, prefix: str) -> str:
        """Return a free version of this instant, for example `candidate_hgb_20260105T030012Z`.

        Args:
            prefix: `candidate_hgb` or `baseline_logreg`.
        """
        moment = self._clock().astimezone(UTC)
        while True:
            version = f"{prefix}_{moment:%Y%m%dT%H%M%SZ}"
            if not (self.root / version).exists() and not self._artifact(version).exists():
                return version
            moment += timedelta(seconds=1)

    def register(
        self,
        draft: Manifest,
        artifact: bytes,
        scorer: Scorer,
        *,
        metrics: Mapping[str, Any],
        extra_files: Mapping[str, bytes] | None = None,
    ) -> Manifest:
        """Add a version. It is visible once all of it is there; the rename of its folder is the last step.

        Args:
            draft: The manifest; `artifact`, digests and signature are filled in.
            artifact: The joblib file's bytes.
            scorer: The compiled model.
            metrics: Becomes `metrics/<version>.json`.
            extra_files: Further files for the version's folder, such as the drift reference.

        Returns:
            The manifest as written. Registering the same again changes nothing.

        Raises:
            VersionExistsError: The version, or a file of its name under `models/`, exists with other content.
            ArtifactError: The manifest does not describe the scorer.
            RegistryBusyError: Another process holds the lock.
        """
        version, path = draft.version, self._artifact(draft.version)
        draft = msgspec.structs.replace(draft, artifact=path.name, artifact_sha256=sha256(artifact))
        with self._locked(f"registering {version}"):
            if path.exists() and sha256(path.read_bytes()) != draft.artifact_sha256:
                raise VersionExistsError(
                    f"{path} exists with other content and is never overwritten; take a new version"
                )
            if not (self.root / version).exists():
                write_bytes(path, artifact)
                write_json(self.metrics / f"{version}.json", dict(metrics))
            manifest = bundle.write_version(self.root, draft, scorer, extra_files or {}, self._signing_key)
            if not any(e.action == "registered" and e.version == version for e in self._history.entries()):
                self._append("registered", version, evidence={"artifact_sha256": draft.artifact_sha256})
        return manifest

    def versions(self) -> list[VersionSummary]:
        """Return all versions, the newest first. Only their manifests are read, and only once."""
        return self._versions.newest_first()

    def show(self, version: str) -> Manifest:
        """Return a version's manifest, unverified.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: The manifest cannot be read.
        """
        return bundle.read_manifest(self._folder(version))

    def verify(self, version: str) -> list[ArtifactError]:
        """Return everything that is wrong with a version, its joblib file included.

        Raises:
            UnknownVersionError: There is no such version.
        """
        problems = bundle.verify(self._folder(version), self._signing_key)
        try:
            self._artifact_bytes(version)
        except ArtifactError as error:
            problems.append(error)
        return problems

    def load(self, version: str) -> bundle.LoadedModel:
        """Return a version's model, fully verified. Its joblib file is not opened.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: Something about it is wrong.
        """
        return bundle.load_verified(self._folder(version), self._signing_key)

    def production(self) -> Production | None:
        """Return what the alias holds; None if there is no alias.

        Raises:
            ForeignAliasError: Its bytes are those of no registered version.
        """
        digest = self.alias.digest()
        if not digest:
            return None
        serving = [entry for entry in self._history.entries() if entry.action in SERVING and entry.alias == digest]
        version = self._versions.of_digest(digest, likely=serving[-1].version if serving else "")
        if not version:
            raise ForeignAliasError(
                f"{self.alias.path} (SHA-256 {digest[:12]}...) is no registered model: truncated or foreign; "
                "copy a file of models/ onto it, or run `churn models rollback`"
            )
        if serving:
            return Production(version, digest, serving[-1].time, serving[-1].reason, serving[-1].actor)
        since = datetime.fromtimestamp(self.alias.path.stat().st_mtime, UTC)
        return Production(version, digest, since, "the alias was changed by hand", "outside")

    def previous_production(self) -> str | None:
        """Return the version to which a rollback goes, None if there is none."""
        order = serving_order([*self._history.entries(), *self._unwritten()])
        digest = self.alias.digest()
        likely = next((entry.version for entry in reversed(order) if entry.alias == digest), "")
        current = self._versions.of_digest(digest, likely=likely)
        before = [entry.version for entry in order if entry.version != current]
        return next((version for version in reversed(before) if (self.root / version).exists()), None)

    def promote(
        self,
        version: str,
        *,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        instead_of: str | None = ANYTHING,
    ) -> Production:
        """Make a version the production model, if it passes every check.

        Args:
            version: Which.
            actor: Who does it.
            reason: Why; the service tells it as `promoted_because`.
            evidence: Gates and figures, for the history.
            instead_of: The version that it was judged against (None: none served). If another serves by now, nothing
                changes.

        Returns:
            What serves now. If the version serves already, nothing changes.

        Raises:
            ArtifactError: The version is unknown or something about it is wrong; nothing changes.
            ChampionChangedError: Another version than `instead_of` serves.
            RegistryBusyError: Another process holds the lock.
        """
        with self._locked(f"promoting {version}"):
            serving = self._serving_version(likely=instead_of or "") or None
            if instead_of not in {ANYTHING, serving}:
                raise ChampionChangedError(f"{version} was judged against {instead_of}, and {serving} serves by now")
            return self._switch(version, "promoted", actor, reason, dict(evidence or {}))

    def rollback(self, version: str | None = None, *, actor: str, reason: str = "rolled back") -> Production:
        """Go back to a version, by default the one that served before.

        Raises:
            UnknownVersionError: There is nothing to go back to.
            ArtifactError: As `promote`.
            RegistryBusyError: Another process holds the lock.
        """
        with self._locked("rolling back"):
            target = version or self.previous_production()
            if target is None:
                raise UnknownVersionError("no version served before this one; name one of `churn models list`")
            return self._switch(target, "rolled back", actor, reason, {})

    def refuse(
        self, version: str, *, actor: str, reasons: list[str], evidence: Mapping[str, Any] | None = None
    ) -> None:
        """Write down that a version was not promoted, and why.

        Raises:
            UnknownVersionError: There is no such version.
            RegistryBusyError: Another process holds the lock.
        """
        self._folder(version)
        with self._locked(f"refusing {version}"):
            self._append("refused", version, actor=actor, reason="; ".join(reasons), evidence=dict(evidence or {}))

    def remove(self, version: str, *, actor: str, reason: str) -> None:
        """Take a version out for good: its folder, its joblib file and its metrics.

        Its folder goes first, by one rename: from then on it is no version, and what is left of it is cleared up by the
        next who takes the lock.

        Raises:
            UnknownVersionError: There is no such version.
            ArtifactError: It serves, or a rollback would go to it.
            RegistryBusyError: Another process holds the lock.
        """
        folder = self._folder(version)
        with self._locked(f"removing {version}"):
            if version in {self._serving_version(), self.previous_production()}:
                raise ArtifactError(f"{version} serves, or is what a rollback goes to: it is not removed")
            intent = self._append("intended", version, intends="removed", actor=actor, reason=reason)
            bundle.remove_folder(folder)
            self._append("removed", version, answers=intent.number, actor=actor, reason=reason)
            self._remove_orphans()

    @contextlib.contextmanager
    def still(self, doing: str) -> Iterator[None]:
        """Keep the registry as it is while the block runs, for whoever copies it; others are told what for.

        Raises:
            RegistryBusyError: Another process holds the lock.
        """
        with self._locked(doing):
            yield

    def reconcile(self) -> list[Entry]:
        """Write down what happened unwritten, and return it.

        Raises:
            RegistryBusyError: Another process holds the lock.
        """
        before = len(self._history.entries())
        with self._locked("reconciling"):
            return self._history.entries()[before:]

    def history(self) -> list[Entry]:
        """Return the history, oldest first."""
        return self._history.entries()

    def verify_history(self) -> int | None:
        """Return the number of the first line of the history that was tampered with, None if all are sound."""
        return self._history.first_bad_line()

    def _switch(
        self,
        version: str,
        action: Literal["promoted", "rolled back"],
        actor: str,
        reason: str,
        evidence: dict[str, Any],
    ) -> Production:
        self.load(version)
        artifact = self._artifact_bytes(version)
        digest = sha256(artifact)
        if not self._serves(version, digest):
            noted = {"actor": actor, "reason": reason, "evidence": evidence, "alias": digest}
            intent = self._append("intended", version, intends=action, **noted)
            self.alias.replace(artifact)
            self._append(action, version, answers=intent.number, **noted)
        self._write_production_metrics()
        production = self.production()
        if production is None or production.version != version:
            raise ForeignAliasError(f"{self.alias.path} was changed by hand while {version} was put there; try again")
        return production

    def _serves(self, version: str, digest: str) -> bool:
        """Whether the alias holds these bytes, and holds them for this version: a twin has the same."""
        production = self.production() if self.alias.digest() == digest else None
        return production is not None and production.version == version

    @contextlib.contextmanager
    def _locked(self, doing: str) -> Iterator[None]:
        """Hold the registry's lock, which the system frees if this process dies, and catch up with what happened."""
        lock = owned_lock(self.root / ".lock", doing, timeout=self._lock_timeout, since=self._clock())
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except LockHeldError as error:
                raise RegistryBusyError(f"the registry is {error}") from None
            self._catch_up()
            yield

    def _serving_version(self, likely: str = "") -> str:
        """The version of the alias's bytes, empty if none; of twins, byte for byte, the likely one."""
        return self._versions.of_digest(self.alias.digest(), likely=likely)

    def _remove_orphans(self) -> None:
        """Remove what lies elsewhere of versions that were removed; by hand, only what the hand removed is gone."""
        removed = {entry.version for entry in self._history.entries() if entry.action == "removed" and entry.answers}
        for version in removed - set(self._versions.names()):
            self._artifact(version).unlink(missing_ok=True)
            (self.metrics / f"{version}.json").unlink(missing_ok=True)

    def _catch_up(self) -> None:
        for folder in self.root.glob(f".*{PART_SUFFIX}"):  # of a process that died; a living one holds the lock
            shutil.rmtree(folder, ignore_errors=True)
        for entry in self._unwritten():
            self._history.append(entry)
        self._remove_orphans()
        self._write_production_metrics()

    def _unwritten(self) -> list[Entry]:
        return unwritten(self._history.entries(), Found(self.root, self._versions, self.alias.digest(), self._clock()))

    def _write_production_metrics(self) -> None:
        """Make `metrics/production_latest.json` that of the production model; leave it alone if there is none."""
        try:
            production = self.production()
        except ForeignAliasError:
            return
        if production is None:
            return
        write_latest(self.metrics, production)

    def _append(self, action: Any, version: str, **fields: Any) -> Entry:
        return self._history.append(self._entry(action, version, **fields))

    def _entry(self, action: Any, version: str, *, actor: str = ITSELF, **fields: Any) -> Entry:
        return Entry(number=0, time=self._clock(), actor=actor, action=action, version=version, **fields)

    def _artifact(self, version: str) -> Path:
        return self.models / f"{version}.joblib"

    def _artifact_bytes(self, version: str) -> bytes:
        path = self._artifact(version)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise MissingFileError(f"{path} is missing; restore it from a backup, or retrain") from None
        if sha256(content) != self.show(version).artifact_sha256:
            raise DigestError(f"{path} is not what was registered (SHA-256 differs); restore it from a backup")
        return content

    def _folder(self, version: str) -> Path:
        folder = self.root / version
        if version != folder.name or version.startswith(".") or not folder.is_dir():
            known = ", ".join(summary.version for summary in self.versions()[:5]) or "none"
            raise UnknownVersionError(f"there is no version {version!r}; the newest are: {known}")
        return folder

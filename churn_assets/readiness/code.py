"""Code Quality: what can be said of the source without running its tests."""

from __future__ import annotations

import importlib.metadata
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from churn_assets.readiness.checkout import installed_version
from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.readiness.premises import Premises

LINT = "`make lint` passes"
TEST = "`make test` passes"
REVIEW = "Code reviewed and approved"
LINT_SECONDS = 900.0
SHOWN = 3
"""Names that are told; of more, how many."""


def lint(premises: Premises) -> Answer:
    """Whether the linters and the type checker are content; they are only run if asked for."""
    if premises.checkout is None:
        return _installed_only()
    if not premises.deep:
        return warns("not run now, it takes a minute or more", "churn doctor --deep --only code")
    ran = premises.checkout.run("make", "--no-print-directory", "lint", seconds=LINT_SECONDS)
    if ran.code == 0:
        return passes("ran now, exit code 0")
    return fails(f"ran now, exit code {ran.code}: {ran.first_line}", "make lint")


def commit(premises: Premises) -> Answer:
    """Whether what runs is a commit, which others have tested too."""
    if premises.checkout is None:
        return _installed_only()
    head = premises.checkout.git("rev-parse", "--short", "HEAD")
    changed = premises.checkout.git("status", "--porcelain")
    if head is None or changed is None:
        return warns("this is no Git repository, so nobody can say which code this is", "git clone the project")
    if changed:
        number = len(changed.splitlines())
        return warns(f"{number} files differ from commit {head}, so no test of it counts", "git stash, or git commit")
    return passes(f"no file differs from commit {head}")


def packages(premises: Premises) -> Answer:
    """Whether the installed packages are those that the lock file names."""
    if premises.checkout is None:
        return _installed_only()
    lock = premises.checkout.root / "requirements" / "pipeline.txt"
    pinned = locked_versions(lock)
    wrong = [f"{name} {_installed(name) or 'missing'}, not {version}" for name, version in pinned.items()
             if _installed(name) != version]  # fmt: skip
    if wrong:
        return fails(f"{len(wrong)} of {len(pinned)} packages differ from {lock.name}: {_some(wrong)}", "make setup")
    return passes(f"{len(pinned)} installed packages are those of requirements/{lock.name}")


def last_tests(premises: Premises) -> Answer:
    """What pytest remembers of its last run here."""
    if premises.checkout is None:
        return _installed_only()
    cache = premises.checkout.root / ".pytest_cache" / "v" / "cache"
    try:
        known, ran_at = len(json.loads((cache / "nodeids").read_bytes())), (cache / "nodeids").stat().st_mtime
    except FileNotFoundError:
        return warns("no run is on record here", "make test")
    failed = sorted(json.loads((cache / "lastfailed").read_bytes())) if (cache / "lastfailed").exists() else []
    when = f"{datetime.fromtimestamp(ran_at, UTC):%Y-%m-%d %H:%M} UTC"
    if failed:
        return fails(f"{len(failed)} tests failed when last run ({when}): {_some(failed)}", "make test")
    if premises.checkout.sources_changed() > ran_at:
        return warns(f"the source has changed since the last run of tests ({when})", "make test")
    return passes(f"none of {known} tests failed when last run ({when}), and nothing has changed since")


def review(premises: Premises) -> Answer:
    """Whether somebody has put a name to this commit: as its reviewer, or by a tag with a message."""
    if premises.checkout is None:
        return _installed_only()
    git = premises.checkout.git
    reviewers = git("log", "-1", "--format=%(trailers:key=Reviewed-by,valueonly,separator=%x2C )")
    tags = git("for-each-ref", "--points-at=HEAD", "--format=%(objecttype) %(refname:short)", "refs/tags")
    if reviewers:
        return passes(f"reviewed by {reviewers}")
    annotated = [line.partition(" ")[2] for line in (tags or "").splitlines() if line.startswith("tag ")]
    if annotated:
        return passes(f"tagged {', '.join(annotated)}")
    return warns(
        "the commit names no reviewer and has no annotated tag",
        f"once it is approved: git tag -a v{installed_version()} -m 'reviewed by NAME'",
    )


def locked_versions(lock: Path) -> dict[str, str]:
    """The packages that a lock file asks for on this machine, and which version of each.

    Raises:
        FileNotFoundError: It is not there.
        packaging.requirements.InvalidRequirement: A line is no requirement.
    """
    from packaging.requirements import Requirement

    lines = (line.rstrip("\\").strip() for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    asked = [Requirement(line) for line in lines if not line.startswith(("#", "--"))]
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate()]
    return {one.name: next(iter(one.specifier)).version for one in wanted}


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installed_only() -> Answer:
    version = installed_version()
    return warns(
        f"version {version} is installed, and its source is not here",
        f"in a checkout of {version}: churn doctor --deep --only code",
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


SECTION = Section(
    "code",
    "Code Quality",
    (
        Check(LINT, "linters and types", lint, LINT_SECONDS + 10),
        Check(TEST, "commit", commit),
        Check(TEST, "packages", packages),
        Check(TEST, "last run", last_tests),
        Check(REVIEW, "who", review),
    ),
)

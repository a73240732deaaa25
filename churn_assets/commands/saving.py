"""Backups: made, listed, verified, brought back."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.commands.terminal import AsJson, fail, say, show, show_json, show_rows, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn_assets.upkeep.backup import Saved
    from churn_assets.upkeep.restore import Restored
    from churn_assets.workspace import Workspace

app = typer.Typer()

SAY_EVERY_SECONDS = 5.0


@app.command()
def backup(
    destination: Annotated[
        str | None, typer.Argument(metavar="DEST", help="Folder or fsspec URL; else `backup.destination`.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the backups there instead.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and stored byte again; send what is damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save data, models, history, settings and Dagster's database; only what is new is sent.

    DEST is a folder or an fsspec URL, by default `backup.destination`. It may run while jobs and the service do. API
    keys and environment variables are not saved.
    """
    from churn_assets.upkeep.backup import back_up

    place = workspace()
    chosen = destination or place.settings.backup.destination
    if not chosen:
        fail("say where to: `churn backup DEST`, or `backup.destination` in the settings")
    if listed:
        _show_backups(chosen, as_json=as_json)
        return
    with _disk_errors_told():
        saved = back_up(place, chosen, progress=_Lines(), dry_run=dry_run, verify=verify)
    if dry_run and not as_json:
        show_rows(
            [{"would send": f"{file.root}/{file.path}", "bytes": file.size} for file in saved.sent], as_json=False
        )
    show(_saved(saved, dry_run=dry_run), as_json=as_json)


@app.command()
def restore(  # noqa: PLR0913, PLR0917 - one option a kind
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder or fsspec URL with backups.")],
    name: Annotated[str, typer.Option("--backup", help="Which one; else the newest.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Move aside what is there; nothing is lost.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only read every byte of it and say what is damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back: every byte is checked before anything that is there is touched.

    SRC is where `churn backup` has written to. Stop Dagster first. Exits with 1 if the registry is not sound
    afterwards, or with --verify if anything is damaged.
    """
    from churn_assets.upkeep import restore as restoring

    if verify:
        _verify(source, name, as_json=as_json)
        return
    place = workspace()
    if dry_run:
        _show_plan(place, source, name, force=force, as_json=as_json)
        return
    with _disk_errors_told():
        restored = restoring.restore(place, source, progress=_Lines(), name=name, force=force)
    show(_restored(restored), as_json=as_json)
    for problem in restored.problems:
        say(f"churn: {problem}")
    if restored.problems:
        raise typer.Exit(1)


def _saved(saved: Saved, *, dry_run: bool) -> dict[str, Any]:
    manifest = saved.manifest
    return {
        "backup": "none: a dry run" if dry_run else manifest.name,
        "destination": saved.destination,
        "files": len(manifest.files),
        "bytes": manifest.size,
        "new files": len(saved.sent),
        "new bytes": saved.sent_bytes,
        "seconds": round(saved.seconds, 1),
        "serves": manifest.serves or None,
        "steady": manifest.steady,
        "Dagster's database": manifest.database,
        "not included": "\n".join(manifest.excluded),
    }


def _restored(restored: Restored) -> dict[str, Any]:
    return {
        "backup": restored.manifest.name,
        "files": restored.files,
        "bytes": restored.manifest.size,
        "seconds": round(restored.seconds, 1),
        "serves": restored.serves or None,
        "problems": "\n".join(restored.problems) or "none",
        "what was there": "\n".join(map(str, restored.moved)) or "nothing",
        "notes": "\n".join(restored.notes),
    }


def _show_backups(destination: str, *, as_json: bool) -> None:
    from churn_assets.upkeep.backup_inspection import list_backups
    from churn_assets.upkeep.backup_store import Store

    store = Store(destination)
    rows = list_backups(store)
    show_rows(rows, as_json=as_json)
    if not rows:
        say(f"No backup in {store.shown} yet.")


def _show_plan(place: Workspace, source: str, name: str, *, force: bool, as_json: bool) -> None:
    from churn_assets.upkeep.restore import plan_restore

    plan = plan_restore(place, source, name=name, force=force)
    content = {
        "backup": plan.manifest.name,
        "files": len(plan.files),
        "bytes": sum(file.size for file in plan.files.values()),
        "serves": plan.manifest.serves or None,
        "would fill": ", ".join(plan.roots),
        "notes": "\n".join(plan.notes),
    }
    show(content, as_json=as_json)


def _verify(source: str, name: str, *, as_json: bool) -> None:
    from churn_assets.upkeep.backup_inspection import inspect
    from churn_assets.upkeep.backup_store import Store

    found = inspect(Store(source), name, progress=_Lines())
    damaged = [{"damaged": f"{file.root}/{file.path}", "sha256": file.sha256} for file in found.damaged]
    if as_json:
        show_json({"backup": found.manifest.name, "files": len(found.manifest.files), "damaged": damaged})
    else:
        show_rows(damaged, as_json=False)
        say(f"{found.manifest.name}: {len(found.manifest.files)} files, {len(damaged)} of them damaged")
    if damaged:
        raise typer.Exit(1)


@contextlib.contextmanager
def _disk_errors_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror or error}; see to it, then run the same command again")


class _Lines:
    """Progress: on a terminal one line that is rewritten, else a plain line every few seconds."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = time.monotonic()

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Tell how far it is."""
        now = time.monotonic()
        if now - self._said < (0.1 if self._live else SAY_EVERY_SECONDS) and not (self._live and done == total):
            return
        self._said = now
        line = f"{doing}: {done:,} of {total:,}"
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{line}" + ("\n" if done == total and total else ""))
            sys.stderr.flush()
        else:
            say(line)

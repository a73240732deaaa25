"""A shift to watch the loop by: the generated people behave differently in the newest days, until it is taken away.

One small file says that it is on. The generated source obeys it, and reads the days that it touches anew as long as
the file does not say that this has been done; so a rebuild that was cut short is completed by whatever reads next.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec

from churn_assets.ingest.source import SourceError
from churn_serving import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.workspace import Workspace

DAYS = 67
"""Newest days that are shifted unless told otherwise. A week of them moves the scores far enough, and another lets the
fallen volume count as the new usual instead of as a broken feed; but only after two months do labels of shifted days
reach the rows that are learned from. Before that, the answer to the alert is the old model again."""

STRENGTH = 0.55
"""As strong as it is unless told otherwise. From about 0.6 on so many leave that challengers often fail the gate for
calibration: they are calibrated on weeks in which the shift had only begun."""


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """A shift in behaviour on top of what the settings say; the stronger of the two counts.

    Attributes:
        strength: Up to 1; 0 when it has been taken away and its days have not been read anew yet.
        first_day: From this day on.
        read: Whether the days from then on have been read since it changed.
    """

    strength: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    first_day: date
    read: bool = False

    @property
    def is_on(self) -> bool:
        """Whether it shifts anything."""
        return self.strength > 0.0


def start_demo(workspace: Workspace, strength: float = STRENGTH, days: int = DAYS) -> Demo:
    """Shift the newest days. Whatever reads events next reads them anew.

    A shift that is on already keeps its first day if that is earlier: no day has to be shifted back.

    Args:
        workspace: Where.
        strength: Above 0, up to 1.
        days: How many of the newest whole days; no more than there are.

    Returns:
        The shift as it is from now on: the days from its first are to be built anew.

    Raises:
        SourceError: The source is not the generated one, or what says that a shift is on is damaged.
        ValueError: The strength or the number of days is impossible.
    """
    _require_generated(workspace)
    if not 0.0 < strength <= 1.0:
        raise ValueError(f"strength must be above 0 and at most 1, not {strength}")
    if days < 1:
        raise ValueError(f"days must be at least 1, not {days}")
    first = max(workspace.history_start, workspace.settings.yesterday - timedelta(days=days - 1))
    return _changed(workspace.layout, strength, first)


def stop_demo(workspace: Workspace) -> Demo | None:
    """Take the shift away. Whatever reads events next reads the days that it touched anew, and removes the file.

    Returns:
        What is left of it: the days from its first are to be built anew. None if none was on.

    Raises:
        SourceError: The source is not the generated one, or what says that a shift is on is damaged.
    """
    _require_generated(workspace)
    running = read_demo(workspace.layout)
    return _changed(workspace.layout, 0.0, running.first_day) if running else None


def read_demo(layout: Layout) -> Demo | None:
    """Return the shift that is on, or was on until its days are read anew; else None.

    Raises:
        SourceError: The file that says so is damaged.
    """
    path = _path(layout)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Demo)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise SourceError(f"{path} is damaged ({error}): delete it, and build all days again") from error


def acknowledge_demo(layout: Layout, seen: Demo) -> None:
    """Note that the days from the first on have been read as `seen` has it, unless it has changed meanwhile."""
    if seen.read or read_demo(layout) != seen:
        return
    if seen.is_on:
        _write(layout, msgspec.structs.replace(seen, read=True))
    else:
        _path(layout).unlink(missing_ok=True)


def shifted_snapshots(workspace: Workspace, demo: Demo) -> tuple[date, date] | None:
    """Return the first and last day of those `user_features` that were built with other events, or None."""
    days = [day for day in workspace.layout.user_features.days() if day >= demo.first_day]
    return (days[0], days[-1]) if days else None


def _changed(layout: Layout, strength: float, first_day: date) -> Demo:
    running = read_demo(layout)
    if running:
        first_day = min(first_day, running.first_day)
        if (running.strength, running.first_day) == (strength, first_day):
            return running
    demo = Demo(strength=strength, first_day=first_day)
    _write(layout, demo)
    return demo


def _write(layout: Layout, demo: Demo) -> None:
    atomic.write_bytes(_path(layout), msgspec.json.format(msgspec.json.encode(demo)) + b"\n")


def _path(layout: Layout) -> Path:
    return layout.data / "raw" / "demo_drift.json"


def _require_generated(workspace: Workspace) -> None:
    kind = workspace.settings.source.kind
    if kind != "synthetic":
        raise SourceError(
            f"`source.kind` is {kind}: only the generated platform can be shifted (`source.kind: synthetic`); "
            "nobody's own data are touched for a demonstration"
        )

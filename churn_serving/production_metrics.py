"""`metrics/production_latest.json`: the metrics of what serves, and since when and why it does."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from churn_serving.atomic import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from churn_serving.alias import Production


def write_latest(metrics: Path, production: Production) -> None:
    """Make the file that of the production model; leave it untouched if it says so already.

    Args:
        metrics: The folder of all versions' metrics.
        production: What serves.

    Raises:
        OSError: The file cannot be written.
    """
    source, target = metrics / f"{production.version}.json", metrics / "production_latest.json"
    content = msgspec.json.decode(source.read_bytes()) if source.exists() else {}
    content |= {
        "version": production.version,
        "promoted_at": production.promoted_at.isoformat(),
        "promoted_because": production.promoted_because,
    }
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        if msgspec.json.decode(target.read_bytes()) == content:
            return
    write_json(target, content)

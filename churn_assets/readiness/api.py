"""API: whether every service answers, with what is in production, and how much it was seen to bear."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns
from churn_assets.servers import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from churn_assets.readiness.premises import Premises

HEALTH = "Health checks working (`/live`, `/ready`)"
METRICS = "Metrics exposed (`/metrics`)"
LOAD = "Load tested (100+ req/s)"

LEAST_RATE = 100.0
"""Requests a second, as the checklist has it."""

LEAST_METRICS = ("churn_api_requests_total", "churn_model_info")
MOST_BYTES = 8 * 2**20
RATE_LINE = "most requests a second"
BASELINE = "fixed reply"
"""What the benchmark calls a server that scores nothing."""


LOAD_RECORD = "upkeep/load.json"
"""In `paths.artifacts`; `examples/http/load.py --record` writes it."""


class LoadRecord(msgspec.Struct, frozen=True):
    """A load test of this deployment, at `artifacts/upkeep/load.json`.

    Attributes:
        at: When.
        requests_per_second: How many were answered.
        failed: How many were not.
    """

    at: datetime
    requests_per_second: float
    failed: int = 0


@dataclass(frozen=True)
class Load:
    """A load that was borne.

    Attributes:
        rate: Requests a second.
        failed: How many were not answered.
        source: Where that stands.
    """

    rate: float
    failed: int
    source: str


def live(premises: Premises) -> Answer:
    """Whether each service's process answers."""
    silent = [server.url for server in premises.servers if not _answers(f"{server.url}/live")]
    if silent:
        return fails(f"no answer from {', '.join(f'{url}/live' for url in silent)}", "churn serve")
    return passes(f"{len(premises.servers)} of {len(premises.servers)} answer 200")


def ready(premises: Premises) -> Answer:
    """Whether each service has a verified model."""
    lame = [server for server in premises.servers if server.version is None]
    if lame:
        fix = "churn models verify" if lame[0].runs else "churn serve"
        return fails("; ".join(f"{server.url}: {server.problem}" for server in lame), fix)
    degraded = [f"{server.url}: {server.problem}" for server in premises.servers if server.problem]
    if degraded:
        return warns(f"ready, but {'; '.join(degraded)}", "churn status")
    return passes(f"{len(premises.servers)} of {len(premises.servers)} are ready")


def version(premises: Premises) -> Answer:
    """Whether each service serves what the registry says."""
    if premises.production is None:
        return fails("no model serves", "churn seed")
    wanted = premises.production.version
    running = [server for server in premises.servers if server.version is not None]
    if not running:
        return fails(f"no service serves {wanted}", "churn serve")
    others = [f"{server.url} serves {server.version}" for server in running if server.version != wanted]
    if others:
        return fails(f"{'; '.join(others)}, and {wanted} is in production", "churn models verify")
    return passes(f"{len(running)} of {len(premises.servers)} serve {wanted}")


def metrics(premises: Premises) -> Answer:
    """Whether each service tells Prometheus what it does."""
    for server in premises.servers:
        text = _get(f"{server.url}/metrics")
        if text is None:
            return fails(f"no answer from {server.url}/metrics", "churn serve")
        lacking = [name for name in LEAST_METRICS if f"\n{name}" not in f"\n{text}"]
        if lacking:
            return fails(f"{server.url}/metrics lacks {', '.join(lacking)}", "let `serving.servers` name this service")
    return passes(f"{len(premises.servers)} of {len(premises.servers)} expose {', '.join(LEAST_METRICS)}")


def load(premises: Premises) -> Answer:
    """How many requests a second are on record."""
    found = _load(premises)
    fix = f"python examples/http/load.py USER_ID --record {premises.layout.artifacts / LOAD_RECORD}"
    if found is None:
        return warns("no load test is on record", fix)
    told = f"{found.rate:,.0f} requests a second, {found.failed} failed ({found.source})"
    if found.failed or found.rate < LEAST_RATE:
        return fails(f"{told}; {LEAST_RATE:.0f} without a failure are asked for", fix)
    return passes(told)


def _load(premises: Premises) -> Load | None:
    """The load of this deployment, else the benchmark's."""
    own = premises.layout.artifacts / LOAD_RECORD
    if own.exists():
        record = msgspec.json.decode(own.read_bytes(), type=LoadRecord)
        return Load(record.requests_per_second, record.failed, f"{own}, {record.at:%Y-%m-%d}")
    if premises.checkout is None:
        return None
    results = premises.checkout.root / "benchmarks" / "results" / "serving.json"
    if not results.exists():
        return None
    lines = json.loads(results.read_bytes())["lines"]
    rates = [one["value"] for one in lines if RATE_LINE in one["name"] and not one["name"].startswith(BASELINE)]
    return Load(min(rates), 0, f"the slowest case of {results.relative_to(premises.checkout.root)}") if rates else None


def _answers(url: str) -> bool:
    return _get(url) is not None


def _get(url: str) -> str | None:
    """What a service answers; None if it does not, or not with 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as configured
            content: bytes = answer.read(MOST_BYTES)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return content.decode(errors="replace")


SECTION = Section(
    "api",
    "API",
    (
        Check(HEALTH, "live", live),
        Check(HEALTH, "ready", ready),
        Check(HEALTH, "version", version),
        Check(METRICS, "names", metrics),
        Check(LOAD, "on record", load),
    ),
)

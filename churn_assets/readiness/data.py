"""Data Pipeline: the gate between raw and trusted data, the feed, the backups."""

from __future__ import annotations

import csv
from datetime import UTC, date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow.parquet as pq

from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns
from churn_assets.readiness.premises import read_report
from churn_assets.upkeep.backup_files import RECORD
from churn_assets.upkeep.backup_manifest import BackupRecord

if TYPE_CHECKING:
    from churn_assets.layout import DayTable
    from churn_assets.readiness.premises import Premises

GATES = "Validation gates in place"
QUALITY = "Data quality monitored"
BACKUPS = "Backups configured"

GATED = ("validated_users", "validated_events")
LENIENT_SHARE = 0.2
"""A gate that lets more through than this stops hardly anything."""

REPORT_FAILS_DAYS = 7
"""A week without a look at the feed: nobody watches it."""


def gate_limit(premises: Premises) -> Answer:
    """How many rows may be rejected before a run stops."""
    limit = premises.settings.validation.max_reject_share
    fix = "set `validation.max_reject_share` to 0.02"
    if limit >= 1:
        return fails("`validation.max_reject_share` is 1: no run ever stops", fix)
    if limit > LENIENT_SHARE:
        return warns(f"a run stops only when more than {limit:.0%} of the rows are rejected", fix)
    return passes(f"a run stops when more than {limit:.2%} of the rows are rejected")


def gate_contract(premises: Premises) -> Answer:
    """Whether the checks of the contract block what comes after them."""
    blocking = {gate.asset: gate.check for gate in premises.health.gates if gate.blocking}
    open_ones = [asset for asset in GATED if asset not in blocking]
    if open_ones:
        return fails(
            f"nothing blocks after {' and '.join(open_ones)}", "set `blocking=True` in churn_assets/ingest/assets.py"
        )
    return passes(f"blocking checks: {', '.join(f'{asset}.{blocking[asset]}' for asset in GATED)}")


def gate_newest_day(premises: Premises) -> Answer:
    """How much of the newest day was rejected, and whether it came through."""
    layout = premises.layout
    days = layout.raw_events.days()
    if not days:
        return fails("no day has been ingested yet", "churn seed")
    day, limit = days[-1], premises.settings.validation.max_reject_share
    quarantine = layout.quarantine_file("events", day)
    rows, rejected = _rows(layout.raw_events, day), _csv_rows(quarantine)
    share = rejected / rows if rows else 0.0
    told = f"{rejected:,} of {rows:,} rows of {day} rejected ({share:.2%})"
    if layout.events.stamp(day) is None:
        return fails(f"{told}; the day did not pass the gate", f"mend what {quarantine} names, then `churn score`")
    if share > limit:
        return fails(f"{told}, above {limit:.2%}", f"mend what {quarantine} names, then `churn score`")
    return passes(told)


def feed(premises: Premises) -> Answer:
    """Whether the newest report calls the feed sound."""
    report = read_report(premises.layout.latest_drift)
    if report is None:
        return fails("nobody has looked at the feed yet", "churn drift")
    found = report.get("feed") or {}
    if found.get("status") == "FAULT":
        fix = report.get("what_to_do") or "mend the source, then `churn drift`"
        return fails(f"broken as of {report['as_of_date']}: {' '.join(found.get('findings', []))}", fix)
    if not found:
        return warns(f"the report of {report['as_of_date']} says nothing of the feed", "churn drift")
    return passes(f"sound as of {report['as_of_date']}; drift {report['status']}")


def report_age(premises: Premises) -> Answer:
    """Whether the newest report is about the newest days."""
    report = read_report(premises.layout.latest_drift)
    if report is None:
        return fails("there is no report", "churn drift")
    behind = (premises.settings.yesterday - date.fromisoformat(report["as_of_date"])).days
    told = f"the newest report is of {report['as_of_date']}, {max(behind, 0)} days behind"
    if behind >= REPORT_FAILS_DAYS:
        return fails(told, "churn drift")
    if behind >= premises.settings.notify.stale_after_days:
        return warns(told, "churn drift")
    return passes(told)


def backup_destination(premises: Premises) -> Answer:
    """Where backups go, and whether that outlives this disk."""
    destination = premises.settings.backup.destination
    if not destination:
        return fails(
            "`backup.destination` is empty", "set `backup.destination` to a folder elsewhere, or an fsspec URL"
        )
    if "://" in destination:
        return passes(f"{destination.partition('://')[0]}://…")
    folder = Path(destination)
    if not folder.is_dir():
        return fails(f"{folder} is not there", f"mount it, or make it: mkdir -p {folder}")
    data = next(place for place in (premises.layout.data, *premises.layout.data.absolute().parents) if place.exists())
    if folder.stat().st_dev == data.stat().st_dev:
        return warns(f"{folder} is on the same disk as the data", "set `backup.destination` to another disk or a URL")
    return passes(str(folder))


def backup_age(premises: Premises) -> Answer:
    """How old the newest backup is."""
    limit = premises.settings.backup.max_age_days
    fix = f"churn backup {premises.settings.backup.destination or 'DEST'}"
    path = premises.layout.artifacts / RECORD
    try:
        record = msgspec.json.decode(path.read_bytes(), type=BackupRecord)
    except FileNotFoundError:
        return fails("no backup is on record", fix)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return fails(f"{path} cannot be read: {error}", fix)
    at = record.at if record.at.tzinfo else record.at.replace(tzinfo=UTC)
    told = f"{record.name}, {record.files:,} files, {record.bytes / 1e6:,.1f} MB, made {premises.ago(at)}"
    if (premises.now - at).days > limit:
        return fails(f"{told}; {limit} days are allowed", fix)
    return passes(told) if record.files else fails(f"{told}: it is empty", fix)


def _rows(table: DayTable, day: date) -> int:
    return int(pq.ParquetFile(table.path(day)).metadata.num_rows)


def _csv_rows(path: Path) -> int:
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            return max(sum(1 for _ in csv.reader(lines)) - 1, 0)
    except FileNotFoundError:
        return 0


SECTION = Section(
    "data",
    "Data Pipeline",
    (
        Check(GATES, "limit", gate_limit),
        Check(GATES, "contract", gate_contract),
        Check(GATES, "newest day", gate_newest_day),
        Check(QUALITY, "feed", feed),
        Check(QUALITY, "newest report", report_age),
        Check(BACKUPS, "destination", backup_destination),
        Check(BACKUPS, "newest", backup_age),
    ),
)

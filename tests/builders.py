"""What several tests build: a customer's export, the deployment that reads it, and a run over both."""

import csv
import gzip
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from churn_assets.features.build import build_user_daily
from churn_assets.ingest import build, validation
from churn_assets.layout import Built, days_between
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

START = date(2024, 1, 1)
TODAY = date(2024, 1, 9)
DAYS = days_between(START, date(2024, 1, 8))

USER_HEADER = "id,joined,plan,paid,country,channel"
EVENT_HEADER = "user,when,what,minutes,score,price"
USER_COLUMNS = {
    "user_id": "id",
    "signup_date": "joined",
    "plan": "plan",
    "is_paid": "paid",
    "country": "country",
    "marketing_source": "channel",
}
EVENT_COLUMNS = {
    "user_id": "user",
    "event_time": "when",
    "event_type": "what",
    "watch_minutes": "minutes",
    "quiz_score": "score",
    "amount": "price",
}
USERS = ("a,2023-12-01,free,false,DE,organic", "b,2023-12-15,pro,true,GB,email", "c,2024-01-02,basic,true,US,social")
EVENTS = (
    "a,2024-01-01 08:00:00,login,,,",
    "a,2024-01-02 08:00:00,video_watch,12.5,,",
    "a,2024-01-08 09:30:00,login,,,",
    "b,2024-01-03 10:00:00,quiz_attempt,,80,",
    "b,2024-01-03 11:00:00,payment_success,,,29.99",
    "c,2024-01-05 23:59:59,login,,,",
)


def quiet(_line):
    """Progress that nobody reads."""


def merged(content, changes):
    """Nested mappings, the second laid over the first; `columns` are replaced as a whole."""
    found = dict(content)
    for key, value in changes.items():
        inner = found.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict) and key != "columns"
        found[key] = merged(inner, value) if both else value
    return found


@dataclass
class Export:
    """A customer's export in `folder`/in, read by a deployment in `folder`/data; every row may be rejected."""

    folder: Path
    changes: dict = field(default_factory=dict)

    def file(self, name, text, encoding="utf-8"):
        """Put a file into the export: text, bytes, or a table for Parquet."""
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text if isinstance(text, bytes) else text.encode(encoding)
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        return path

    def users(self, *rows, header=USER_HEADER, name="users.csv", encoding="utf-8"):
        """Put a file of users into the export."""
        return self.file(name, "\n".join([header, *rows, ""]), encoding)

    def events(self, *rows, header=EVENT_HEADER, name="events.csv", encoding="utf-8"):
        """Put a file of events into the export."""
        return self.file(name, "\n".join([header, *rows, ""]), encoding)

    def configure(self, **changes):
        """Change the settings of every later `workspace`."""
        self.changes = merged(self.changes, changes)
        return self

    def source(self, **changes):
        """Change `source` of every later `workspace`."""
        return self.configure(source=changes)

    def events_from(self, *specs):
        """Say how event files are read, as changes to the usual mapping."""
        usual = {"path": "events.csv", "columns": EVENT_COLUMNS}
        return self.source(files={"events": [usual | spec for spec in specs]})

    def users_from(self, **spec):
        """Say how the users file is read, as changes to the usual mapping."""
        return self.source(files={"users": spec})

    def settings(self):
        """The deployment's settings."""
        usual = {
            "paths": {"data": self.folder / "data", "artifacts": self.folder / "artifacts"},
            "clock": {"today": TODAY},
            "source": {
                "kind": "files",
                "start_date": START,
                "files": {
                    "root": str(self.folder / "in"),
                    "users": {"path": "users.csv", "columns": USER_COLUMNS},
                    "events": [{"path": "events.csv", "columns": EVENT_COLUMNS}],
                },
            },
            "validation": {"max_reject_share": 1.0},
        }
        return Settings.model_validate(merged(usual, self.changes))

    def workspace(self):
        """A deployment as a new process would see it."""
        return Workspace(self.settings())


@dataclass(frozen=True)
class Ingested:
    """What one run over an export did."""

    workspace: Workspace
    users: validation.Tally
    raw: Built
    validated: Built
    events: validation.Tally
    daily: Built

    @property
    def clean_users(self):
        """Validated users, as rows."""
        return self.workspace.layout.users.read().to_pylist()

    @property
    def clean_events(self):
        """Validated events of all days, as rows."""
        return clean_events(self.workspace)

    @property
    def rules(self):
        """How many events each rule rejected."""
        return self.events.by_rule

    @property
    def rejected(self):
        """The quarantine of events, as rows of text."""
        return quarantined(self.workspace, "events_*.csv")


def clean_events(workspace):
    """Validated events of all days, as rows."""
    layout = workspace.layout
    return [row for day in layout.events.days() for row in layout.events.read(day).to_pylist()]


def quarantined(workspace, pattern):
    """Rows of the quarantine files that a pattern names."""
    rows = []
    for path in sorted(workspace.layout.quarantine.glob(pattern)):
        with path.open(newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    return rows


def run(export, days=DAYS, *, daily=True):
    """Ingest, validate and (if `daily`) sum up, as a daily run does."""
    workspace = export.workspace()
    build.ingest_users(workspace)
    raw = build.ingest_events(workspace, days, quiet)
    users = build.validate_users(workspace)["users"]
    validated, tally = build.validate_events(workspace, days, quiet)
    daily = build_user_daily(workspace, days, quiet) if daily and validated.days else Built()
    return Ingested(workspace, users, raw, validated, tally, daily)


def validate(export, days=DAYS):
    """Ingest and validate, as a daily run does."""
    return run(export, days, daily=False)


def files_of(folder):
    """Every file below a folder with its bytes and modification time."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def changed(before, after):
    """Names of the files that differ in bytes or modification time."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def rule_counts(rows):
    """How often each rule stands in quarantined rows."""
    return dict(Counter(row["rule"] for row in rows))

"""The settings that say what raw data are: where they come from, what events and users there are."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from churn_serving.settings import Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Days = Annotated[int, Field(ge=1, le=3650)]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("not a time zone of the IANA data base, such as UTC or Europe/Berlin") from None
    return name


def _cron(text: str) -> str:
    if len(text.split()) != 5:
        raise ValueError("not a cron line of five fields, such as `0 1 * * *`")
    return text


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Cron = Annotated[str, AfterValidator(_cron)]


Scenario = Literal[
    "behaviour",
    "gradual",
    "countries",
    "new_source",
    "season",
    "minutes_in_seconds",
    "half_missing",
    "concept",
]


class SyntheticSettings(Section):
    """The generated platform."""

    seed: int = 7
    users: int = Field(default=2000, ge=1, le=50_000_000, description="Signed up by the 150th day.")
    history_days: int = Field(default=150, ge=1, le=3650, description="Days of history before the first run.")
    scenario: Scenario = Field(default="behaviour", description="What happens if `drift` is above 0.")
    drift: float = Field(default=0.0, ge=0.0, le=1.0, description="Strength of the scenario.")
    drift_from: date | None = Field(default=None, description="Its first day; else the first day of history.")
    drift_until: date | None = Field(default=None, description="Its last day; else it stays.")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.drift_from and self.drift_until and self.drift_until < self.drift_from:
            raise ValueError("drift_until must not be before drift_from")
        return self


class FileSettings(Section):
    """One table of a file source, and how its columns are called.

    Attributes:
        path: A file, a glob or an fsspec URL; relative to `source.files.root`.
        columns: Our name → the source's. Only what the source has.
        event_type: Every row is this event (for files that hold one kind).
        event_types: The source's event name → ours, or null to leave such rows out.
    """

    path: str
    columns: dict[str, str]
    format: Literal["auto", "csv", "parquet"] = "auto"
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: str = "utf-8"
    event_type: str | None = None
    event_types: dict[str, str | None] | None = None

    @model_validator(mode="after")
    def _one_way_to_name_events(self) -> Self:
        if self.event_type is not None and self.event_types is not None:
            raise ValueError("give `event_type` or `event_types`, not both")
        return self


class FilesSettings(Section):
    """A source of CSV or Parquet files."""

    root: str = Field(default=".", description="Folder or URL that relative paths count from.")
    users: FileSettings
    events: list[FileSettings] = Field(min_length=1)
    engagements: FileSettings | None = None

    @model_validator(mode="after")
    def _maps_what_is_required(self) -> Self:
        _require(self.users, "users", ["user_id", "signup_date"])
        for spec in self.events:
            kind = [] if spec.event_type else ["event_type"]
            _require(spec, f"events ({spec.path})", ["user_id", "event_time", *kind])
        if self.engagements:
            _require(self.engagements, "engagements", ["user_id", "started_on"])
        return self


def _require(spec: FileSettings, table: str, columns: list[str]) -> None:
    missing = [column for column in columns if column not in spec.columns]
    if missing:
        raise ValueError(f"{table}: `columns:` must map {', '.join(missing)}")


class SourceSettings(Section):
    """Where raw data comes from."""

    kind: Literal["synthetic", "files"] = "synthetic"
    start_date: date | None = Field(default=None, description="First day of history; else found in the source.")
    time_zone: TimeZone = Field(default="UTC", description="Zone of times that do not say theirs.")
    synthetic: SyntheticSettings = SyntheticSettings()
    files: FilesSettings | None = None

    @model_validator(mode="after")
    def _kind_is_described(self) -> Self:
        if self.kind == "files" and self.files is None:
            raise ValueError("`kind: files` needs a `files:` section; examples/oulad has one")
        return self


class EventType(Section):
    """One kind of event.

    Attributes:
        counts: Name of the count in `user_daily` and of the features `<counts>_<w>d`; none are made without it.
        phrase: The count in words, as a reason says it.
        activity: Whether the user did it; a payment that happens by itself is no sign of life.
    """

    counts: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    phrase: str = ""
    activity: bool = True


DEFAULT_EVENT_TYPES = {
    "login": EventType(counts="logins", phrase="logins"),
    "video_watch": EventType(),
    "quiz_attempt": EventType(counts="quiz_attempts", phrase="quiz attempts"),
    "enroll": EventType(counts="enrolls", phrase="course enrolments"),
    "support_ticket": EventType(counts="support_tickets", phrase="support tickets"),
    "payment_success": EventType(counts="payment_success", phrase="successful payments", activity=False),
    "payment_failed": EventType(counts="payment_failed", phrase="failed payments", activity=False),
}


class EventSettings(Section):
    """The vocabulary: which events there are. Given types are added to the default ones; null takes one away."""

    types: dict[str, EventType | None] = Field(default_factory=dict)

    @property
    def vocabulary(self) -> dict[str, EventType]:
        """Event types by name, in a fixed order."""
        merged = DEFAULT_EVENT_TYPES | self.types
        return {name: kind for name, kind in merged.items() if kind is not None}


class UserSettings(Section):
    """What is known of a user beside plan, payment, country and marketing source."""

    attributes: dict[str, str] = Field(
        default_factory=dict, description="Further categorical columns of the users table, with their meaning."
    )

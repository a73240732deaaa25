"""Forgets a person: everything that is known of them here goes, and no source brings them back.

The tombstone comes first: from then on nothing that is read from the source has them. Then files are rewritten from raw
data downwards, each as a whole, so that every file is what would be built without them. Killed at any point, the same
command goes on where it stopped. At the end everything is searched again, and only if nothing is found the receipt says
`done`.

A run that read a file before it was rewritten may write the person back. So nothing begins while a run is at work, and
runs that began meanwhile are waited for before the last search.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec

from churn_assets.ingest.tombstones import add_tombstone, read_tombstones
from churn_assets.upkeep.backup_files import Places
from churn_assets.upkeep.exclusive import exclusive
from churn_assets.upkeep.forget_csv import daily_lists
from churn_assets.upkeep.forget_leftovers import remains, remove_leftovers
from churn_assets.upkeep.forget_log import PredictionLogLines
from churn_assets.upkeep.forget_monitoring import join_again, monitoring_places
from churn_assets.upkeep.forget_parquet import derived_tables
from churn_assets.upkeep.forget_places import ForgetError, Found
from churn_assets.upkeep.forget_published import published_places
from churn_assets.upkeep.forget_raw import RawTables
from churn_assets.upkeep.forget_receipt import (
    Receipt,
    Touched,
    last_receipt,
    may_have_learned,
    not_covered,
    write_receipt,
)
from churn_assets.upkeep.forget_stamps import Freshness
from churn_assets.upkeep.restore_swap import refuse_if_interrupted
from churn_serving.logs.rotated_file import CHECK_SECONDS
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.published import Published

if TYPE_CHECKING:
    from churn_assets.ingest.tombstones import Tombstone
    from churn_assets.upkeep.forget_places import Place
    from churn_assets.workspace import Workspace

SWEEPS = 3
"""How often everything is searched at most: what a service answered meanwhile is found by the second."""

MARGIN_SECONDS = 1.0
"""Added to the time in which a running service takes up what is new, and lets go of what was before."""

AT_WORK = (
    "at work, and may write the person back: run this again once they have ended, or with `--wait SECONDS`. A run "
    "whose process was killed can be ended in the UI (`make ui`); `--force` does not look at runs"
)
BEGUN_MEANWHILE = (
    "begun meanwhile, and may write the person back. The person has been erased: run this again once they have ended"
)

DATED = frozenset({"raw_events", "validated_events", "user_daily"})
"""Kinds whose files say on which days somebody did something."""


class UnknownPersonError(ForgetError):
    """Nothing here is about such a person."""


class RunsInFlightError(ForgetError):
    """Dagster runs are at work that may write the person back."""


@dataclass(frozen=True)
class Surroundings:
    """What an erasure has to know of the world beside the files.

    Attributes:
        runs: Names the runs that are at work; empty if none is.
        other: Further places, such as Dagster's storage.
        at_rest: Whether `runs` can be relied on; false if an operator said not to mind them.
        patience: Seconds to wait for runs; 0 to refuse at once.
        clock: Gives the time, UTC.
        pause: Lets seconds pass.
    """

    runs: Callable[[], list[str]] = list
    other: tuple[Place, ...] = ()
    at_rest: bool = True
    patience: float = 0.0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    pause: Callable[[float], None] = time.sleep

    def wait(self, consequence: str) -> None:
        """Wait until no run is at work.

        Raises:
            RunsInFlightError: One is, for longer than there is patience.
        """
        waited = 0.0
        while at_work := self.runs():
            if waited >= self.patience:
                raise RunsInFlightError(f"{', '.join(at_work)}: {consequence}")
            self.pause(1.0)
            waited += 1.0


@dataclass
class Forgetting:
    """One person to be forgotten.

    Attributes:
        workspace: Where.
        user_id: Who, as the users table has it.
        surroundings: Runs, clock and other places.
    """

    workspace: Workspace
    user_id: str
    surroundings: Surroundings = field(default_factory=Surroundings)

    def __post_init__(self) -> None:
        self.user_id = _checked(self.user_id)
        layout = self.workspace.layout
        log = Published(self.workspace.settings.paths).prediction_log
        self._raw = RawTables(self.workspace, self.user_id)
        self._places: list[Place] = [
            *self._raw.places(),
            *derived_tables(layout, self.user_id),
            *published_places(layout, self.user_id),
            daily_lists(layout, self.user_id),
            *monitoring_places(layout, self.user_id),
            PredictionLogLines(log, self.user_id, self.surroundings.clock),
            *self.surroundings.other,
        ]

    def standing(self) -> Tombstone | None:
        """The person's tombstone, if they have one."""
        return read_tombstones(self.workspace.layout.tombstones).of(self.user_id)

    def look(self) -> tuple[Touched, ...]:
        """What would be touched; nothing is.

        Raises:
            UnreadableFileError: A file is damaged.
        """
        with self._raw.searching():
            return _summed(self._find())

    def run(self, *, asked_by: str, anyway: bool = False) -> Receipt | None:
        """Forget the person.

        Args:
            asked_by: Who asks, for the receipt.
            anyway: Write the tombstone also if nothing here is about such a person.

        Returns:
            The receipt; None if they were forgotten before, and nothing was to be done.

        Raises:
            UnknownPersonError: Nothing here is about such a person; nothing was done.
            RunsInFlightError: Runs are at work.
            UpkeepBusyError: Another upkeep is at work; nothing was done.
            BackupError: A restore was cut off; nothing was done.
            UnreadableFileError: A file is damaged; nothing was done.
            ForgetError: The person is still found; what can be done.
            OSError: A file cannot be written. Running this again goes on.
        """
        with exclusive(self.workspace.layout, "forgetting a person"), self._raw.searching():
            refuse_if_interrupted(Places.of(self.workspace))
            self.surroundings.wait(AT_WORK)
            found, standing = self._find(), self.standing()
            begun = last_receipt(self.workspace.layout, standing.hash) if standing else None
            if not found and standing and (begun is None or begun.state == "done"):
                return None
            if not found and not standing and not anyway:
                raise UnknownPersonError(
                    f"nobody called {self.user_id!r} was found, and nothing was done; ids count to the letter. With "
                    "`--anyway` a tombstone is written, so that the source never brings them in"
                )
            receipt = self._begin(found, asked_by, begun)
            started = time.monotonic()
            notes = self._erase(found)
            return self._end(receipt, notes, time.monotonic() - started)

    def _begin(self, found: dict[str, Found], asked_by: str, begun: Receipt | None) -> Receipt:
        """The tombstone, and a receipt that says what is about to happen; or the one of an attempt that broke off."""
        layout, now = self.workspace.layout, self.surroundings.clock()
        stone = add_tombstone(layout.tombstones, self.user_id, now)
        if begun is not None and begun.state == "begun":
            return begun
        receipt = Receipt(
            state="begun",
            hash=stone.hash,
            asked_by=asked_by,
            begun_at=now,
            touched=_summed(found),
            may_have_learned=may_have_learned(self.workspace, _days(found)),
            not_covered=not_covered(self.workspace),
        )
        write_receipt(layout, receipt)
        return receipt

    def _end(self, receipt: Receipt, notes: list[str], seconds: float) -> Receipt:
        done = msgspec.structs.replace(
            receipt,
            state="done",
            finished_at=self.surroundings.clock(),
            seconds=round(seconds, 3),
            notes=tuple(note for note in notes if note),
        )
        write_receipt(self.workspace.layout, done)
        return done

    def _erase(self, found: dict[str, Found]) -> list[str]:
        """Erase and search again until nothing is found; returns what there is to know."""
        layout = self.workspace.layout
        at_rest = self.surroundings.at_rest
        notes = ["" if at_rest else "Dagster's runs and its storage were not looked at"]
        notes.append(remove_leftovers(layout, at_rest=at_rest))
        for _ in range(SWEEPS):
            notes += self._sweep(found)
            self.surroundings.wait(BEGUN_MEANWHILE)
            found = self._find()
            if not found:
                return notes + remains(layout, self.user_id)
        raise ForgetError(
            f"the person is found again and again ({', '.join(found)}): stop what writes there, then run this again"
        )

    def _sweep(self, found: dict[str, Found]) -> list[str]:
        fresh = Freshness.of(self.workspace)
        touched = [place for place in self._places if found.get(place.kind)]
        try:
            for place in touched:
                place.erase(sorted(found[place.kind]))
            fresh.keep(self._raw.reopened)
            if any(place.kind in _READ_BY_OTHERS for place in touched):
                self.surroundings.pause(self._until_taken_up())
            for place in touched:
                place.finish()
        except OnlineStoreError as error:
            raise ForgetError(
                f"what the service serves could not be rewritten: {error}; then run this again"
            ) from error
        return join_again(self.workspace) if touched else []

    def _until_taken_up(self) -> float:
        """Seconds in which running services take up what is published, and begin a log file of their own."""
        return max(self.workspace.settings.serving.reload_seconds, CHECK_SECONDS) * 2 + MARGIN_SECONDS

    def _find(self) -> dict[str, Found]:
        found = {place.kind: place.find() for place in self._places}
        return {kind: files for kind, files in found.items() if files}


_READ_BY_OTHERS = frozenset({"published_features", "published_scores", "prediction_log"})


def _checked(user_id: str) -> str:
    cleaned = user_id.strip(" ")
    if not cleaned:
        raise ForgetError("an empty id is nobody's")
    try:
        cleaned.encode()
    except UnicodeEncodeError:
        raise ForgetError(f"{user_id!r} is not UTF-8, so it is nobody's id") from None
    return cleaned


def _summed(found: dict[str, Found]) -> tuple[Touched, ...]:
    return tuple(Touched(kind=kind, files=len(files), rows=sum(files.values())) for kind, files in found.items())


def _days(found: dict[str, Found]) -> set[date]:
    return {date.fromisoformat(path.stem) for kind in DATED for path in found.get(kind, {})}

"""What answers at this moment: one model and one snapshot that fit together, swapped as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from churn_serving.online.snapshot import Binding, Snapshot
    from churn_serving.serving_model import ServingModel
    from churn_serving.snapshot_scores import SnapshotScores


@dataclass(frozen=True)
class Serving:
    """A model, and everybody's newest features in its terms.

    Attributes:
        model: The model; None while there is none.
        snapshot: The newest features; None while there are none.
        binding: The snapshot read in the model's terms; None while either lacks.
        scores: The scores of its users, made ahead; None while there is no binding.
        model_problem: Why the newest model is not served, if it is not.
        snapshot_problem: Why the newest snapshot is not used, if it is not.
    """

    model: ServingModel | None = None
    snapshot: Snapshot | None = None
    binding: Binding | None = None
    scores: SnapshotScores | None = None
    model_problem: str | None = None
    snapshot_problem: str | None = None


class Current:
    """Where requests find what answers. A request takes it once and keeps it to its end.

    Attributes:
        serving: Replaced by one assignment.
    """

    def __init__(self) -> None:
        self.serving = Serving()


def clock(today: date | None) -> Callable[[], datetime]:
    """Return a clock, UTC; with `today` it always shows that day."""
    if today is None:
        return lambda: datetime.now(UTC)
    return lambda: datetime.combine(today, datetime.now(UTC).timetz())

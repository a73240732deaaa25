"""What was found out about challengers, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churn_assets.training.bootstrap import Estimate
    from churn_assets.training.evaluation import Evaluation
    from churn_assets.training.gates import Verdict
    from churn_serving.bundle import LoadedModel


@dataclass(frozen=True)
class Judged:
    """A challenger on the fresh holdout."""

    model: LoadedModel
    scores: Any
    evaluation: Evaluation
    against_champion: Estimate | None
    verdict: Verdict

    @property
    def version(self) -> str:
        """Its version."""
        return self.model.version


@dataclass(frozen=True)
class Decision:
    """What was decided.

    Attributes:
        champion: The version that served before; None at the first time.
        production: The version that serves now; None if there is none yet.
        promoted: Whether that changed.
        why: One sentence.
        challengers: Who was judged.
    """

    champion: str | None
    production: str | None
    promoted: bool
    why: str
    challengers: tuple[Judged, ...]

"""What a feature is: the one form in which training, batch scoring and the service know their inputs."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

MISSING_CATEGORY = "(missing)"
"""The category of a row that has none; a level of its own if training saw such rows."""

_NO_LOWER, _NO_UPPER = -math.inf, math.inf
_NEVER_MISSING = "never missing"


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One feature: what it means, in which unit, within which bounds.

    Attributes:
        name: Column name in every table and in requests.
        kind: `number` (a float, NaN when missing), `flag` (0 or 1, NaN when missing) or `category` (text).
        meaning: One plain sentence.
        unit: `days`, `events`, `minutes`, `points`, `ratio`, ...; empty for categories.
        null_meaning: What it means that the value is missing.
        lower: Smallest value that is possible at all (not merely usual).
        upper: Largest value that is possible at all; infinite if there is none.
        phrase: The feature in the words of a reason, for example "active days in the last 7 days".
        categories: The levels seen in training, most frequent first; empty until a model is trained.
    """

    name: str
    kind: Literal["number", "flag", "category"]
    meaning: str
    unit: str = ""
    null_meaning: str = _NEVER_MISSING
    lower: float = _NO_LOWER
    upper: float = _NO_UPPER
    phrase: str = ""
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Give equal features equal JSON: bounds are floats, and what equals a default is that very object.

        msgspec leaves out a field only if it *is* its default, and JSON has no infinity to write instead.
        """
        msgspec.structs.force_setattr(self, "lower", _NO_LOWER if self.lower == _NO_LOWER else float(self.lower))
        msgspec.structs.force_setattr(self, "upper", _NO_UPPER if self.upper == _NO_UPPER else float(self.upper))
        if self.null_meaning == _NEVER_MISSING:
            msgspec.structs.force_setattr(self, "null_meaning", _NEVER_MISSING)

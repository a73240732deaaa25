"""What a request may hold: the rules of every field, for the fast reader, the diagnosis and the OpenAPI document."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

if TYPE_CHECKING:
    from churn_serving.schema import FeatureSpec

LARGEST = 1e15
"""No count, no sum of minutes and no ratio is larger; beyond it, sums would lose the smaller terms."""

LONGEST_TEXT = 256
"""Characters of a user id or a category."""

ABSENT = math.nan
"""What a feature holds that was not given: this very object."""

LARGEST_ID = 2**63 - 1
"""Of a user id that is a number."""

UserIdField = (
    Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT, description="The user's id.")]
    | Annotated[int, Meta(ge=-LARGEST_ID - 1, le=LARGEST_ID)]
)


def bounds_of(spec: FeatureSpec) -> tuple[float, float]:
    """Return the smallest and the largest value of a number or flag that a request may hold."""
    return max(spec.lower, -LARGEST), min(spec.upper, LARGEST)


def _type_of(spec: FeatureSpec) -> Any:
    lower, upper = bounds_of(spec)
    description = spec.meaning + (f" Unit: {spec.unit}." if spec.unit else "")
    if spec.kind == "category":
        known = f" Known to the model: {', '.join(spec.categories)}." if spec.categories else ""
        return Annotated[str, Meta(max_length=LONGEST_TEXT, description=description + known)] | None
    if spec.kind == "flag":
        only = {"enum": [0, 1]}
        return Annotated[float, Meta(ge=0, le=1, description=description, extra_json_schema=only)] | bool | None
    return Annotated[float, Meta(ge=lower, le=upper, description=description)] | None


def features_type(features: tuple[FeatureSpec, ...]) -> type[msgspec.Struct]:
    """Return the type of a row's features: one field each, in the schema's order, and no other.

    A field that is not given is `ABSENT`, which no JSON can say; one that is null is None.
    """
    fields = [
        (f"f{position}", _type_of(spec), msgspec.field(default=ABSENT, name=spec.name))
        for position, spec in enumerate(features)
    ]
    return msgspec.defstruct("Features", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def request_type(features: Any) -> type[msgspec.Struct]:
    """Return the type of a request for one user."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("user_id", UserIdField),
        ("snapshot_date", date | None | UnsetType, UNSET),
        ("features", features | None | UnsetType, UNSET),
    ]
    return msgspec.defstruct("PredictRequest", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def batch_type(request: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the type of a request for many users."""
    return msgspec.defstruct("BatchRequest", [("instances", list[request])], forbid_unknown_fields=True)  # type: ignore[valid-type]


def is_flag(value: float | None) -> bool:
    """Whether a number that passed its bounds is one that a flag may have."""
    return value is None or value is ABSENT or value in {0, 1}


def is_whole(value: object) -> bool:
    """Whether a number with a fraction has none, as 7.0: to JSON that is a whole number too."""
    return isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_ID


def number_problem(spec: FeatureSpec, value: object) -> str:
    """Say what is wrong with the value of a number or flag; empty if nothing is."""
    wanted = "0, 1, true, false or null" if spec.kind == "flag" else "a number or null"
    if isinstance(value, bool):
        return "" if spec.kind == "flag" else f"{shown(value)} is no number; allowed is {wanted}"
    if not isinstance(value, int | float):
        return f"{shown(value)} is {_kind(value)}; allowed is {wanted}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not finite; allowed is {wanted}"
    if spec.kind == "flag":
        return "" if value in {0, 1} else f"{shown(value)} is not possible; allowed is {wanted}"
    lower, upper = bounds_of(spec)
    if value < lower:
        return f"{shown(value)} is below {lower:g}, the least that is possible"
    return f"{shown(value)} is above {upper:g}, the most that is possible" if value > upper else ""


def text_problem(value: object) -> str:
    """Say what is wrong with a category; empty if nothing is."""
    if not isinstance(value, str):
        return f"{shown(value)} is {_kind(value)}; allowed is text or null"
    return f"{len(value)} characters are too many; at most {LONGEST_TEXT}" if len(value) > LONGEST_TEXT else ""


def user_id_problem(value: object) -> str:
    """Say what is wrong with a user id; empty if nothing is."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return f"{shown(value)} is {_kind(value)}; a user id is text or a whole number"
    if isinstance(value, int):
        return "" if abs(value) <= LARGEST_ID else "a user id that is a number has at most 64 bits; send it as text"
    if not value:
        return "a user id must not be empty"
    return f"{len(value)} characters are too many; a user id has at most {LONGEST_TEXT}" * (len(value) > LONGEST_TEXT)


def shown(value: object) -> str:
    """A value as an error shows it: short, as JSON has it."""
    if isinstance(value, int) and abs(value) > LARGEST_ID:
        return "a very large number"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = msgspec.json.encode(value).decode() if isinstance(value, str | int | float | bool | None) else _kind(value)
    return text if len(text) <= LONGEST_TEXT // 4 else text[: LONGEST_TEXT // 4] + "…"


def _kind(value: object) -> str:
    names = {bool: "true or false", str: "text", dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value), "a number")

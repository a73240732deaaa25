"""A request that is refused, as Litestar answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar.exceptions import HTTPException

from churn_serving.schemas import FieldProblem, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SHOWN = 20
"""Fields named in one answer."""


class RefusedError(HTTPException):
    """A request, or a row of one, that is not answered.

    Args:
        status_code: As HTTP has it.
        detail: What is wrong and what to do about it.
        fields: The fields that are wrong.
        headers: Further headers of the answer.

    Attributes:
        problem: The answer's body.
        user_id: Whom it is about, in a batch, if that could be read.
    """

    def __init__(
        self,
        status_code: int,
        detail: str,
        fields: Sequence[FieldProblem] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        extra = [{"key": field.key, "message": field.message} for field in fields[:MOST_SHOWN]]
        super().__init__(detail=detail, status_code=status_code, headers=headers, extra=extra or None)
        self.user_id: str | int | None = None
        self.problem = Problem(status_code=status_code, detail=detail, extra=list(fields[:MOST_SHOWN]))


def malformed(detail: str) -> RefusedError:
    """Return the refusal of a body that is no JSON."""
    return RefusedError(400, f"the body is not valid JSON: {detail}")


def wrong_fields(fields: Sequence[FieldProblem], *, is_complete: bool = True) -> RefusedError:
    """Return the refusal of a request whose fields are wrong; the first is named in the detail.

    Args:
        fields: Which, and why.
        is_complete: Whether these are all.
    """
    count = f"{len(fields) - 1}" if is_complete else f"at least {len(fields)}"
    more = f" (and {count} more)" if len(fields) > 1 else ""
    return RefusedError(422, f"{fields[0].key}: {fields[0].message}{more}", fields)

"""What exactly is wrong with a request that the fast reader did not take.

It reads with the standard library, which tells what msgspec does not: repeated keys, and the literals NaN and Infinity.
What it finds nothing wrong with is taken after all.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from datetime import date
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import msgspec

from churn_serving.intake.fields import number_problem, shown, text_problem, user_id_problem
from churn_serving.intake.problems import MOST_SHOWN, malformed, wrong_fields
from churn_serving.schemas import FieldProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from churn_serving.schema import FeatureSpec

FIELDS = ("user_id", "snapshot_date", "features")


class _Repeated(dict[str, Any]):
    """An object in which keys came more than once."""

    repeated: tuple[str, ...] = ()


def read_json(body: bytes) -> Any:
    """Return what `body` holds.

    Raises:
        RefusedError: It is no JSON (400).
    """
    if not body.strip():
        raise malformed('it is empty; send an object such as {"user_id": "u000001"}')
    try:
        content = json.loads(body.decode("utf-8"), object_pairs_hook=_object)
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise malformed(f"it is not UTF-8 (byte {error.start})") from None
    except UnicodeEncodeError:
        raise malformed("a text holds half of a surrogate pair") from None
    except RecursionError:
        raise malformed("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError:
        raise malformed("a number has too many digits") from None
    return content


def check_request(content: Any, specs: Mapping[str, FeatureSpec]) -> None:
    """Raise unless `content` is a request for one user.

    Args:
        content: As `read_json` returns it.
        specs: The model's features by name.

    Raises:
        RefusedError: Fields are wrong (422), each named with what came and what is allowed.
    """
    if not isinstance(content, dict):
        raise wrong_fields([FieldProblem(key="body", message='must be an object such as {"user_id": "u000001"}')])
    problems = chain(_frame_problems(content), _feature_problems(content.get("features"), specs))
    if found := list(islice(problems, MOST_SHOWN)):
        raise wrong_fields(found, is_complete=next(problems, None) is None)


def _frame_problems(content: dict[str, Any]) -> Iterator[FieldProblem]:
    yield from _key_problems(content, FIELDS, "")
    if "user_id" not in content:
        yield FieldProblem(key="user_id", message="is required: text or a whole number")
    elif message := user_id_problem(content["user_id"]):
        yield FieldProblem(key="user_id", message=message)
    given = content.get("snapshot_date")
    if given is not None and not _is_date(given):
        message = f"{shown(given)} is no date; allowed is YYYY-MM-DD, as 2026-01-31, or null"
        yield FieldProblem(key="snapshot_date", message=message)


def _feature_problems(features: Any, specs: Mapping[str, FeatureSpec]) -> Iterator[FieldProblem]:
    if features is None:
        return
    if not isinstance(features, dict):
        yield FieldProblem(key="features", message="must be an object of names and values")
        return
    if not features:
        message = "is empty; leave it out to score the user's newest snapshot, or give the features that are known"
        yield FieldProblem(key="features", message=message)
    yield from _key_problems(features, tuple(specs), "features.")
    for name, value in features.items():
        if value is not None and (spec := specs.get(name)):
            message = text_problem(value) if spec.kind == "category" else number_problem(spec, value)
            if message:
                yield FieldProblem(key=f"features.{name}", message=message)


def _key_problems(content: dict[str, Any], known: tuple[str, ...], prefix: str) -> Iterator[FieldProblem]:
    for name in content:
        if name not in known:
            yield FieldProblem(key=prefix + name[:64], message=f"is not known; {_nearest(name, known, bool(prefix))}")
    for name in getattr(content, "repeated", ()):
        yield FieldProblem(key=prefix + name[:64], message="is given more than once; give it once")


def _nearest(name: str, known: tuple[str, ...], is_feature: bool) -> str:  # noqa: FBT001 - one caller
    close = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.5)
    if close:
        return f"did you mean `{close[0]}`?"
    return "GET /model lists the features" if is_feature else f"allowed are {', '.join(known)}"


def _is_date(value: Any) -> bool:
    try:
        msgspec.convert(value, date)
    except msgspec.ValidationError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) == len(pairs):
        return content
    found = _Repeated(content)
    found.repeated = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return found

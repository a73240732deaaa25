"""Where settings come from: the packaged defaults, one YAML file, environment variables; in that order.

The file is named by `CHURN_MLOPS_CONFIG`. Any key can be overridden by `CHURN_<SECTION>__<KEY>`, and deeper keys by
further `__`. What is unknown, of the wrong type or impossible is refused with its key, its value and what is allowed.
"""

from __future__ import annotations

import difflib
import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

CONFIG_VARIABLE = "CHURN_MLOPS_CONFIG"
"""The environment variable that names the YAML file."""

PREFIX = "CHURN_"
DELIMITER = "__"

Model = TypeVar("Model", bound=BaseModel)


class SettingsError(ValueError):
    """The configuration cannot be used. The message lists every problem, one a line."""


class Section(BaseModel):
    """A part of the settings: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paths(Section):
    """Where everything is kept. Relative paths count from the working directory."""

    data: Path = Field(default=Path("data"), description="Raw data, features, predictions, quarantine.")
    artifacts: Path = Field(default=Path("artifacts"), description="Models, metrics, reports, the registry.")


class ServingSettings(Section):
    """The HTTP service."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    servers: list[str] = Field(
        default_factory=list,
        description="URLs of the services to ask what they serve, of a name all its addresses; else host and port.",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes that share the port.")
    api_keys_file: Path | None = Field(default=None, description="YAML list of API keys (hashes); none are asked for.")
    allow_anonymous: bool = Field(default=False, description="Listen on other addresses than loopback without keys.")
    reload_seconds: float = Field(default=1.0, gt=0, le=60, description="How often to look for a new model or data.")
    features_max_age_hours: float = Field(
        default=48.0, gt=0, description="Scores from older features carry a warning; counted from the end of their day."
    )
    max_batch_rows: int = Field(default=5000, ge=1, le=100_000, description="Rows of one batch request.")
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024, description="Size of a request's body.")
    max_concurrency: int = Field(default=512, ge=1, description="Requests at a time, a worker; more get 503.")
    request_timeout_seconds: float = Field(default=20.0, gt=0, description="Time in which a body must have come.")
    shutdown_seconds: int = Field(default=25, ge=1, description="Time for requests to finish once told to stop.")
    prediction_log: bool = Field(default=True, description="Write a line for every scored row.")
    prediction_log_max_mb: int = Field(default=64, ge=1, description="Size from which a new log file is begun.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Of the log on stderr.")
    access_log_sample: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests in the access log; failed and slow ones always are."
    )


class ClockSettings(Section):
    """What day it is."""

    today: date | None = Field(default=None, description="Pretend that it is this day (UTC); else the real one.")


class ServiceSettings(BaseModel):
    """What the service reads of the file; the pipeline's sections are not its business."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    paths: Paths = Paths()
    clock: ClockSettings = ClockSettings()
    serving: ServingSettings = ServingSettings()


def read_settings(model: type[Model], environment: Mapping[str, str] | None = None) -> Model:
    """Read the settings that `model` describes.

    Args:
        model: The pydantic model of the whole file.
        environment: Stands in for `os.environ`.

    Raises:
        SettingsError: The file is missing or is not YAML, or a key or a value is refused.
    """
    environment = os.environ if environment is None else environment
    content = _read_file(environment.get(CONFIG_VARIABLE, ""))
    for variable, path, value in _overrides(environment):
        _put(content, path, value, variable)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        source = environment.get(CONFIG_VARIABLE) or "defaults and environment"
        lines = [_explain(problem, model) for problem in error.errors()]
        raise SettingsError(f"the configuration ({source}) is refused:\n  " + "\n  ".join(lines)) from None


def _read_file(name: str) -> dict[str, Any]:
    if not name:
        return {}
    path = Path(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{CONFIG_VARIABLE} names {path}, which cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # an impossible date or byte is a ValueError
        raise SettingsError(f"{path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold sections (`paths:`, `source:`, …), not a {type(content).__name__}")
    return {key: {} if value is None else value for key, value in content.items()}


def _overrides(environment: Mapping[str, str]) -> list[tuple[str, list[str], Any]]:
    found = []
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and DELIMITER in variable:
            path = variable.removeprefix(PREFIX).lower().split(DELIMITER)
            found.append((variable, path, _scalar(environment[variable])))
    return found


def _scalar(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # an impossible date is a ValueError
        return text


def _put(content: dict[str, Any], path: list[str], value: Any, variable: str) -> None:
    for key in path[:-1]:
        inner = content.setdefault(key, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{variable}: `{key}` is no section, so nothing can be set inside it")
        content = inner
    content[path[-1]] = value


def _explain(problem: ErrorDetails, model: type[BaseModel]) -> str:
    keys = [str(part) for part in problem["loc"]]
    name = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return f"{name}: unknown key{_nearest(keys, model)}"
    if problem["type"] == "missing":
        return f"{name}: is required"
    if isinstance(problem["input"], dict) or keys[:2] == SECRET:
        return f"{name} is refused: {problem['msg'].removeprefix('Value error, ')}"
    return f"{name}: {problem['input']!r} is refused: {problem['msg'].removeprefix('Value error, ')}"


SECRET = ["notify", "urls"]
"""The key whose values are not repeated in errors: they hold passwords."""


def _nearest(keys: list[str], model: type[BaseModel]) -> str:
    known: type[BaseModel] | None = model
    for key in keys[:-1]:
        field = known.model_fields.get(key) if known else None
        if field:  # else a place in a list, or a name that the file gives
            known = _section_in(field.annotation)
    if known is None:
        return ""
    close = difflib.get_close_matches(keys[-1], known.model_fields, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; allowed are {', '.join(sorted(known.model_fields))}"


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds: itself, or within `list[...]`, `dict[...]`, `... | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)

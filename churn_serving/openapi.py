"""The OpenAPI document: Litestar's, with the scoring routes in the terms of the model that serves."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, ScalarRenderPlugin
from litestar.openapi.spec import Tag

from churn_serving.intake.fields import LONGEST_TEXT, features_type, request_type
from churn_serving.schemas import Prediction, Problem, RefusedRow

if TYPE_CHECKING:
    from litestar.connection import Request

    from churn_serving.serving import Current, Serving

Json = dict[str, Any]

PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; connect-src 'self'; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.scalar.com; "
    "img-src 'self' data: https://cdn.jsdelivr.net; font-src https://fonts.scalar.com; frame-ancestors 'none'"
)
"""What the document's pages may do: their viewers come from a CDN, as Litestar has it."""

OPEN = ("/live", "/ready", "/health", "/metrics")
"""Probes and Prometheus need no key."""

TAGS = {
    "scoring": "Who is about to leave, and why.",
    "models": "What scores, and how it came to do so.",
    "monitoring": "Whether the answers can still be trusted.",
    "operations": "Probes and metrics.",
}

REFUSALS = {
    400: "The body is no JSON.",
    401: "An API key is needed.",
    403: "The API key does not permit this.",
    404: "The user is not known, or not as of that day.",
    408: "The body did not come in time.",
    413: "The body is too large, or has too many rows.",
    415: "The body is not declared as JSON.",
    422: "A field is wrong; `extra` names each.",
    503: "No verified model or no features yet, or too many requests at a time; `Retry-After` says when to come again.",
}


def refusals(*codes: int) -> dict[int, ResponseSpec]:
    """Return the answers of a route other than 200, for Litestar."""
    return {code: ResponseSpec(Problem, generate_examples=False, description=REFUSALS[code]) for code in codes}


def openapi_config(current: Current, *, has_keys: bool, most_rows: int) -> OpenAPIConfig:
    """Return Litestar's configuration of the document and its pages.

    Args:
        current: What serves at the moment.
        has_keys: Whether API keys are asked for.
        most_rows: Of a batch.
    """
    return OpenAPIConfig(
        title="churn",
        version=version("churn-mlops"),
        description="Scores users by their risk of leaving. Every answer carries `X-Request-ID`: the caller's, or one "
        "of ours.",
        tags=[Tag(name=name, description=text) for name, text in TAGS.items()],
        render_plugins=[ScalarRenderPlugin(path="/scalar"), LiveJson(current, has_keys=has_keys, most_rows=most_rows)],
    )


class LiveJson(JsonRenderPlugin):
    """The document, in the terms of what serves when it is asked for.

    Args:
        current: What serves at the moment.
        has_keys: Whether API keys are asked for.
        most_rows: Of a batch.
    """

    def __init__(self, current: Current, *, has_keys: bool, most_rows: int) -> None:
        super().__init__()
        self._current = current
        self._has_keys = has_keys
        self._most_rows = most_rows

    def render(self, request: Request[Any, Any, Any], openapi_schema: Json) -> bytes:
        """Return the document as JSON."""
        serving = self._current.serving
        whole = document(openapi_schema, serving, has_keys=self._has_keys, most_rows=self._most_rows)
        return super().render(request, whole)


def document(common: Json, serving: Serving, *, has_keys: bool, most_rows: int) -> Json:
    """Return the whole document.

    Args:
        common: Litestar's document of all typed routes.
        serving: Its model gives the features, its snapshot an example.
        has_keys: Whether API keys are asked for.
        most_rows: Of a batch.
    """
    features = features_type(serving.model.scorer.features if serving.model else ())
    request = request_type(features)
    types = (request, Prediction, RefusedRow, Problem)
    refs, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    components["Features"]["minProperties"] = 1
    for field in components["Features"]["properties"].values():
        field.pop("default", None)  # a feature that is not given is missing; there is no value that says so
    one, answer, refused_row, problem = refs
    many = _list_of("instances", {"description": _ROWS.format(most_rows), "anyOf": [one, {}]})
    answers = _list_of("predictions", {"anyOf": [answer, refused_row]})
    refused = _refused(problem)
    paths = {
        "/predict": _operation("predict", _body(one, _examples(serving)), answer, refused),
        "/predict/batch": _operation("predict_batch", _body(many, _batch_examples(serving)), answers, refused),
    }
    whole = {**common, "paths": {**paths, **common["paths"]}}
    whole["paths"]["/users/{user_id}"]["get"]["parameters"] = [_USER]
    known = common.get("components", {}).get("schemas", {})
    whole["components"] = {**common.get("components", {}), "schemas": {**known, **components}}
    if has_keys:
        whole["components"]["securitySchemes"] = _SCHEMES
        whole["security"] = [{"bearer": []}, {"api_key": []}]
        for path in OPEN:
            whole["paths"][path]["get"]["security"] = []
    return whole


SUMMARIES = {"predict": "Score one user.", "predict_batch": "Score many users, each on its own."}

_ROWS = "A `PredictRequest`; at most {} of them. A row that is none is answered as such, the others are scored."
_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "description": "Add the three strongest reasons.",
    "schema": {"type": "boolean", "default": False},
}
_USER = {
    "name": "user_id",
    "in": "path",
    "required": True,
    "description": "The user's id; what a path must not hold is percent-encoded.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _list_of(name: str, items: Json) -> Json:
    rows = {"type": "array", "items": items}
    return {"type": "object", "required": [name], "properties": {name: rows}, "additionalProperties": False}


def _operation(name: str, body: Json, answer: Json, refused: Json) -> Json:
    ok = {"description": "Scored.", "content": {"application/json": {"schema": answer}}}
    return {
        "post": {
            "operationId": name,
            "tags": ["scoring"],
            "summary": SUMMARIES[name],
            "description": "Without `features`, the user's newest snapshot is scored.",
            "parameters": [_EXPLAIN],
            "requestBody": body,
            "responses": {"200": ok, **refused},
        }
    }


def _body(schema: Json, examples: Json) -> Json:
    content = {"schema": schema, **({"examples": examples} if examples else {})}
    return {"required": True, "content": {"application/json": content}}


def _refused(problem: Json) -> Json:
    content = {"application/json": {"schema": problem}}
    return {str(code): {"description": text, "content": content} for code, text in REFUSALS.items()}


def _examples(serving: Serving) -> Json:
    """Requests that this very server answers."""
    examples: Json = {}
    snapshot = serving.snapshot
    at_risk = (row for row in range(snapshot.rows) if snapshot.at_risk(row)) if snapshot else iter(())
    if snapshot and (row := next(at_risk, None)) is not None:
        user = snapshot.table.user_id(row)
        examples["by id"] = {"summary": "The newest features of a user", "value": {"user_id": user}}
    if serving.model is not None:
        values = {name: value for name, value in serving.model.manifest.golden[0].values.items() if value is not None}
        value = {"user_id": "somebody new", "features": values}
        examples["by features"] = {"summary": "Features of your own", "value": value}
    return examples


def _batch_examples(serving: Serving) -> Json:
    instances = [example["value"] for example in _examples(serving).values()]
    return {"both": {"summary": "By id and by features", "value": {"instances": instances}}} if instances else {}

"""The API as an OpenAPI 3.1 document, made from the routes, the bodies of requests and the kinds of events."""

from __future__ import annotations

from functools import cache
from typing import Any

from .. import __version__
from ..definition.written import LABEL_PATTERN
from ..protocol import CONSOLE
from .answers import ANSWERS
from .exposition import CONTENT_TYPE
from .kinds import COMMON, KINDS, Kind, Schema
from .routes import ROUTES, Parameter, Route
from .wishes import Wish

_REFERENCE = "#/components/schemas/{model}"

_STREAMS: dict[str, tuple[str, Schema]] = {
    "events": ("application/x-ndjson", {"type": "string"}),
    "outcome": ("application/x-ndjson", {"type": "string"}),
    "octets": ("application/octet-stream", {"type": "string", "format": "binary"}),
    "metrics": (CONTENT_TYPE, {"type": "string"}),
    "picture": ("image/png", {"type": "string", "format": "binary"}),
}
"""What comes back that is no one JSON value: its content type, and its schema as OpenAPI can say it."""

_MEANINGS = {
    "events": "`Event` objects, one a line.",
    "outcome": "`Event` objects, one a line; the last is the `outcome`. To hang up does not end the work.",
}

_FAILURES = {
    "400": "The request makes no sense, or its body is not valid.",
    "403": "Who asks has no right to it.",
    "404": "There is no such guest, or no such path.",
    "409": "vmd understood, and could not or would not.",
    "413": "The body is too large.",
    "503": "Too many streams are open.",
    "504": "It did not come in time.",
}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vmd's control API",
            "version": __version__,
            "description": "HTTP/1.1 over the unix socket `vmd.sock` in vmd's runtime directory.",
        },
        "paths": paths,
        "components": {"schemas": {**ANSWERS, **_bodies(), **_events()}},
    }


def _operation(route: Route) -> dict[str, Any]:
    words = [_parameter(parameter) for parameter in route.query]
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "pattern": LABEL_PATTERN}}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.help,
        "description": f"Takes the right to {route.right}.",
        "parameters": ([name] if "{name}" in route.path else []) + words,
        "responses": {**_answer(route), **_failures()},
    }
    if route.body is not None:
        schema = {"$ref": _REFERENCE.format(model=_body(route.body))}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "in": "query", "description": parameter.help, "schema": parameter.schema}


def _answer(route: Route) -> dict[str, Any]:
    if route.answer == "conversation":
        return {"101": {"description": f"With `Upgrade: {CONSOLE}`: the bytes of the console, both ways."}}
    content_type, schema = _STREAMS.get(
        route.answer, ("application/json", {"$ref": _REFERENCE.format(model=route.answer)})
    )
    return {
        "200": {"description": _MEANINGS.get(route.answer, route.help), "content": {content_type: {"schema": schema}}}
    }


def _failures() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}}
    return {status: {"description": meaning, "content": content} for status, meaning in _FAILURES.items()}


def _bodies() -> dict[str, Schema]:
    models = {route.body for route in ROUTES if route.body is not None}
    return {_body(model): model.model_json_schema(ref_template=_REFERENCE) for model in models}


def _body(model: type[Wish]) -> str:
    """What a body's schema is called: an answer may have the same name."""
    return f"Wish.{model.__name__}"


def _events() -> dict[str, Schema]:
    kinds = {f"Event.{name}": event_schema(name, kind) for name, kind in KINDS.items()}
    return {**kinds, "Event": {"oneOf": [{"$ref": _REFERENCE.format(model=name)} for name in kinds]}}


def event_schema(name: str, kind: Kind) -> Schema:
    """One kind of event, as JSON Schema: every fact is there, and no other."""
    return {
        "type": "object",
        "required": [*COMMON, *kind.facts],
        "properties": {**COMMON, **kind.facts, **kind.optional, "event": {"const": name}},
        "additionalProperties": False,
    }

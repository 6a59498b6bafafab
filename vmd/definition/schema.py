"""The JSON Schema of what an operator may write, for editors: draft 2020-12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic.json_schema import models_json_schema

from .boot import WORDS
from .fleet import Installer, Start
from .guest import Guest
from .machine import INSTALLERS
from .network import FORWARD_PATTERN, USER, VNC_PATTERN, Network
from .units import SIZE_PATTERN
from .written import LABEL_PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_Schema = dict[str, Any]

_PATH: _Schema = {"type": "string", "pattern": "^[^~\n]"}

_SHORTHANDS: dict[str, _Schema] = {
    "Disk": {"type": "string", "pattern": SIZE_PATTERN},
    "Image": _PATH,
    "Forward": {"type": "string", "pattern": FORWARD_PATTERN},
    "Vnc": {"type": "string", "pattern": VNC_PATTERN},
    "Nic": {"type": "string", "pattern": LABEL_PATTERN},
    "Root": {"enum": list(WORDS)},
    "SshKey": {"type": "string", "minLength": 1, "not": {"pattern": "PRIVATE KEY|^~"}},
}
"""The model → the short way to write it."""


def json_schema() -> _Schema:
    """Describe what may be written; every description is that of the field itself."""
    _, found = models_json_schema([(model, "validation") for model in (Guest, Installer, Network, Start)])
    kinds: dict[str, _Schema] = found["$defs"]
    for name, model in kinds.items():
        _written(model)
        if name in _SHORTHANDS:
            kinds[name] = _either(model, _SHORTHANDS[name])
    _guest(kinds["Guest"])
    return {
        "$schema": DIALECT,
        "title": "vmd's definitions",
        "description": "The guests of one host, and the installers that fill their disks.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "guests": _named("Guest", "Every guest, by its name."),
            "installers": _named("Installer", "ISOs that fill a blank disk, by name.", INSTALLERS),
            "networks": _named("Network", "What guests' NICs can be on, by name.", (USER,)),
            "start": {"$ref": "#/$defs/Start"},
        },
        "$defs": kinds,
    }


def _named(model: str, description: str, taken: tuple[str, ...] = ()) -> _Schema:
    names: _Schema = {"pattern": LABEL_PATTERN}
    if taken:
        names["not"] = {"enum": list(taken)}
    values: _Schema = {"$ref": f"#/$defs/{model}"}
    if model == "Network":
        values = {"anyOf": [values, {"type": "null"}]}
    return {
        "type": ["object", "null"],
        "description": description,
        "propertyNames": names,
        "additionalProperties": values,
    }


def _either(model: _Schema, short: _Schema) -> _Schema:
    return {"description": model.pop("description", ""), "anyOf": [short, model]}


def _guest(guest: _Schema) -> None:
    """Undo what only the model needs: what follows from other keys is not required, and one NIC needs no list."""
    guest["required"] = ["memory"]
    network = guest["properties"]["network"]
    nic = network["items"]
    many = {"type": network.pop("type"), "items": network.pop("items")}
    network["anyOf"] = [nic, many]


def _written(schema: _Schema) -> None:
    """Make a schema one of text: no nulls, and no defaults, which are recorded values and not written ones."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)
        field.pop("title", None)
        field["description"] = " ".join(field.get("description", "").replace("``", "").split())
        _no_null(field)
    schema["properties"].pop("name", None)  # the key it stands under
    if "required" in schema:
        schema["required"] = [key for key in schema["required"] if key != "name"]


def _no_null(field: _Schema) -> None:
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if "anyOf" in field:
        del field["anyOf"]
        merge: Callable[[_Schema], None] = field.update
        merge(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})

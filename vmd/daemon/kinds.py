"""Every kind of event in one table: what it carries, how a log says it, and what it does to the chain of causes.

An event is one flat JSON object: what `COMMON` names, and the facts of its kind.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from ..protocol import RUNGS, STATES

Schema = dict[str, Any]
"""JSON Schema, draft 2020-12."""

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}


def words(*known: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(known)}


def nullable(schema: Schema) -> Schema:
    """That, or null where there is none."""
    return {"anyOf": [schema, {"type": "null"}]}


def several(schema: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": schema}


COMMON: Mapping[str, Schema] = {
    "id": {"type": "integer", "minimum": 1},
    "time": NUMBER,
    "guest": nullable(TEXT),
    "event": TEXT,
    "because": nullable({"type": "integer", "minimum": 1}),
}
"""What every event carries: ``id`` only ever grows, ``time`` is the epoch's, ``because`` the id of
the event that brought it about."""

GUEST_OUTCOME: Schema = {
    "type": "object",
    "required": ["ok", "state", "rung", "error", "hint", "exit_code"],
    "properties": {
        "ok": FLAG,
        "state": words(*STATES),
        "rung": nullable(words(*RUNGS)),
        "error": nullable(TEXT),
        "hint": nullable(TEXT),
        "exit_code": COUNT,
    },
}
"""How a request ended for one guest."""


class Kind(NamedTuple):
    """One kind of event."""

    says: str
    """The line of a log, with the facts in braces."""
    facts: Mapping[str, Schema]
    optional: Mapping[str, Schema] = {}
    level: int = logging.INFO
    chain: Literal["", "first", "begins", "ends"] = ""
    """``begins``: what its task does from here on is caused by it; ``first``: and it by none; ``ends``: no more."""
    kept: bool = True
    """It is worth a place in the chronicle."""


_STEP: Mapping[str, Schema] = {"step": TEXT, "text": TEXT}
_BAD = logging.WARNING

KINDS: Mapping[str, Kind] = {
    "daemon": Kind("vmd {text}", {"text": TEXT, "pid": COUNT}, chain="first"),
    "request": Kind(
        "{verb} {guests} asked by {user} (uid {uid}, pid {pid})",
        {"verb": TEXT, "guests": several(TEXT), "user": TEXT, "uid": COUNT, "gid": COUNT, "pid": COUNT},
        chain="first",
    ),
    "fleet": Kind("the fleet: {guests}; at fault: {faults}", {"guests": several(TEXT), "faults": several(TEXT)}),
    "step.started": Kind("{text} …", _STEP, level=logging.DEBUG, chain="begins"),
    "step.done": Kind("{text}: done in {seconds} s", {**_STEP, "seconds": NUMBER}, chain="ends"),
    "step.skipped": Kind("{text}: skipped, {why}", {**_STEP, "why": TEXT}, level=logging.DEBUG, chain="ends"),
    "step.failed": Kind(
        "{text}: failed after {seconds} s: {error}",
        {**_STEP, "seconds": NUMBER, "error": TEXT, "hint": TEXT},
        level=logging.ERROR,
        chain="begins",
    ),
    "progress": Kind(
        "{text}",
        {"step": TEXT, "done": nullable(COUNT), "total": nullable(COUNT), "text": TEXT},
        level=logging.DEBUG,
        kept=False,
    ),
    "rung": Kind("reached {rung} after {seconds} s", {"rung": words(*RUNGS), "seconds": NUMBER}),
    "state": Kind("is {state}", {"state": words(*STATES)}, {"error": nullable(TEXT)}),
    "paused": Kind("is paused: {why}", {"why": TEXT}, level=_BAD, chain="begins"),
    "resumed": Kind("goes on", {}),
    "exit": Kind("{text}", {"cause": TEXT, "text": TEXT}, level=_BAD, chain="begins"),
    "ladder": Kind("{text}", {"rung": words("agent", "ssh", "serial", "power", "quit", "kill"), "text": TEXT}),
    "restart": Kind(
        "is started again in {delay} s, attempt {attempt}",
        {"attempt": COUNT, "delay": NUMBER},
        level=_BAD,
        chain="begins",
    ),
    "gave-up": Kind("{text}", {"text": TEXT}, level=logging.ERROR, chain="begins"),
    "note": Kind("{text}", {"text": TEXT}),
    "missed": Kind("{count} events were missed", {"count": COUNT}, kept=False),
    "outcome": Kind(
        "outcome: {exit_code}",
        {
            "ok": FLAG,
            "exit_code": COUNT,
            "guests": {"type": "object", "additionalProperties": GUEST_OUTCOME},
        },
        {"path": TEXT, "error": TEXT, "hint": TEXT},
        level=logging.DEBUG,
        kept=False,
    ),
}

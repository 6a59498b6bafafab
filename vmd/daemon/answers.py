"""What the API answers with, as JSON Schema; what has no value is null, never missing."""

from __future__ import annotations

from typing import Any

from ..protocol import RUNGS, STATES
from .kinds import COUNT, FLAG, NUMBER, TEXT, Schema, nullable, several, words


def _all(**properties: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


ANY: Schema = {}

ANSWERS: dict[str, Any] = {
    "Document": _all(openapi=TEXT, info={"type": "object"}, paths={"type": "object"}, components={"type": "object"}),
    "Version": _all(version=TEXT, pid=COUNT, config=TEXT, state=TEXT, runtime=TEXT),
    "Guests": _all(guests=several(_ref("Status")), faults=several(TEXT)),
    "Status": _all(
        name=TEXT,
        state=words(*STATES),
        rung=nullable(words(*RUNGS)),
        pid=nullable(COUNT),
        addresses=several(_all(address=TEXT, port=nullable(COUNT), source=TEXT, age=nullable(NUMBER))),
        since=nullable(NUMBER),
        restarts=COUNT,
        pending=several(ANY),
        error=nullable(TEXT),
        paused=nullable(TEXT),
        memory=nullable(COUNT),
        cpus=nullable(COUNT),
        progress=nullable(_all(done=nullable(COUNT), total=nullable(COUNT), text=TEXT, seconds=nullable(NUMBER))),
        defined=nullable(TEXT),
        ssh=nullable(_all(host=TEXT, port=COUNT)),
    ),
    "Argv": _all(argv=several(TEXT)),
    "Uboot": _all(lines=several(TEXT)),
    "Ssh": _all(
        name=TEXT,
        alias=TEXT,
        host=nullable(TEXT),
        port=nullable(COUNT),
        user=nullable(TEXT),
        known_hosts=TEXT,
        verified=FLAG,
    ),
    "Why": _all(name=TEXT, state=words(*STATES), chain=several(_ref("Event"))),
    "Plan": _all(
        guests=several(
            _all(
                name=TEXT,
                state=words(*STATES),
                due=words("up", "change", "prune", ""),
                changes=several({"type": "object"}),
                steps=several(_all(step=TEXT, text=TEXT)),
                upgrade=several(TEXT),
                argv_diff=several(TEXT),
                error=nullable(TEXT),
            )
        ),
    ),
    "Doctor": _all(
        checks=several(_all(name=TEXT, ok=FLAG, fact=TEXT, remedy=TEXT)),
        accel={"type": "string", "enum": ["kvm", "tcg"]},
    ),
    "Usage": _all(
        time=NUMBER,
        guests=several(
            _all(
                name=TEXT,
                state=words(*STATES),
                cpu_seconds=nullable(NUMBER),
                memory=nullable(COUNT),
                disk_read=nullable(COUNT),
                disk_written=nullable(COUNT),
                received=nullable(COUNT),
                sent=nullable(COUNT),
            )
        ),
    ),
    "Snapshots": _all(name=TEXT, snapshots=several(_all(tag=TEXT, time=NUMBER, memory=COUNT))),
    "Trashed": _all(
        trash=several(
            _all(
                name=TEXT,
                guest=TEXT,
                time=NUMBER,
                bytes=COUNT,
                by=nullable(TEXT),
                what=words("guest", "disk"),
                path=nullable(TEXT),
                left=nullable(TEXT),
                error=nullable(TEXT),
            )
        )
    ),
    "Reloaded": _all(guests=several(TEXT), faults=several(TEXT)),
    "Error": _all(error=TEXT, hint=TEXT, exit_code=COUNT),
}
"""The name of a schema → the schema."""

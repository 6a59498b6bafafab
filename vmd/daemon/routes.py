"""The control API in one table: what may be asked, by whom, with which words, and what comes back.

The router, the check of who may, and the OpenAPI document are all made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from ..errors import NotServed
from . import wishes
from .kinds import Schema

Right = Literal["read", "write"]
"""What a request takes: to look, or to change something. Who may change may look as well."""


class Parameter(NamedTuple):
    """One word of a query."""

    name: str
    help: str
    schema: Schema


class Route(NamedTuple):
    """One thing to ask. ``name`` is the method of `Api` that answers; ``answer`` a schema, or a kind of stream."""

    name: str
    method: str
    path: str
    right: Right
    answer: str
    help: str
    query: tuple[Parameter, ...] = ()
    body: type[wishes.Wish] | None = None

    def match(self, path: tuple[str, ...]) -> str | None:
        """The guest that a path names where it is this route's, "" where it need name none; None if it isn't."""
        own = self.path.strip("/").split("/")
        if len(own) != len(path) or any(a != b for a, b in zip(own, path, strict=True) if a != "{name}"):
            return None
        return path[own.index("{name}")] if "{name}" in own else ""


_FLAG: Schema = {"type": "string", "enum": ["0", "1"]}
_FOLLOW = Parameter("follow", "Go on as more comes.", _FLAG)
_NAMES = Parameter("name", "Only these guests.", {"type": "array", "items": {"type": "string"}})
_SINCE = Parameter("since", "Only what happened since then, in seconds since the epoch.", {"type": "number"})
_INSTALL = Parameter("install", "The install's transcript, also where the guest has booted since.", _FLAG)
_NIC = Parameter("nic", "The NIC's network, or its number from 0 (which it is where silent).", {"type": "string"})
_TAIL = Parameter("tail", "Bytes of what was said before.", {"type": "integer", "minimum": 0, "maximum": 999999999})

ROUTES = (
    Route("openapi", "GET", "/v1/openapi.json", "read", "Document", "This document."),
    Route("version", "GET", "/v1/version", "read", "Version", "The daemon, its version and its directories."),
    Route("guests", "GET", "/v1/guests", "read", "Guests", "What guests are, from facts the daemon has.", (_NAMES,)),
    Route("argv", "GET", "/v1/guests/{name}/argv", "read", "Argv", "The exact QEMU line."),
    Route("uboot", "GET", "/v1/guests/{name}/uboot", "read", "Uboot", "What to type at its board's U-Boot."),
    Route("ssh", "GET", "/v1/guests/{name}/ssh", "read", "Ssh", "How to reach a guest's ssh."),
    Route("why", "GET", "/v1/guests/{name}/why", "read", "Why", "The chain of causes, the newest event first."),
    Route(
        "log",
        "GET",
        "/v1/guests/{name}/log",
        "read",
        "octets",
        "What the console said, from byte 0.",
        (_FOLLOW, _INSTALL),
    ),
    Route("snapshots", "GET", "/v1/guests/{name}/snapshots", "read", "Snapshots", "The snapshots of its disk."),
    Route("screenshot", "GET", "/v1/guests/{name}/screenshot", "read", "picture", "The guest's screen."),
    Route(
        "console", "POST", "/v1/guests/{name}/console", "write", "conversation", "Attach to the console.", (_TAIL,)
    ),
    Route("pcap", "GET", "/v1/guests/{name}/pcap", "write", "octets", "What passes a NIC, as a pcap.", (_NIC,)),
    Route("link", "POST", "/v1/link", "write", "outcome", "Pull a cable, or plug it in.", body=wishes.Link),
    Route("usage", "GET", "/v1/usage", "read", "Usage", "What guests use of the host."),
    Route("metrics", "GET", "/metrics", "read", "metrics", "Everything there is to measure, for Prometheus."),
    Route("plan", "GET", "/v1/plan", "read", "Plan", "The steps that up would take.", (_NAMES,)),
    Route("events", "GET", "/v1/events", "read", "events", "What happened.", (_FOLLOW, _SINCE, _NAMES)),
    Route("doctor", "GET", "/v1/doctor", "read", "Doctor", "What this host can do, and how to mend what it can't."),
    Route("reload", "POST", "/v1/reload", "write", "Reloaded", "Read the definitions again.", body=wishes.Wish),
    Route("wait", "POST", "/v1/wait", "read", "outcome", "Wait until a guest is on a rung.", body=wishes.Wait),
    Route("up", "POST", "/v1/up", "write", "outcome", "Lead guests up.", body=wishes.Up),
    Route("down", "POST", "/v1/down", "write", "outcome", "Lead guests down.", body=wishes.Down),
    Route("restart", "POST", "/v1/restart", "write", "outcome", "Lead guests down, and up again.", body=wishes.Up),
    Route("apply", "POST", "/v1/apply", "write", "outcome", "Make the fleet as it is defined.", body=wishes.Apply),
    Route("upgrade", "POST", "/v1/upgrade", "write", "outcome", "Settle hardware anew.", body=wishes.Guests),
    Route("rm", "POST", "/v1/rm", "write", "outcome", "Move guests to the trash.", body=wishes.Guests),
    Route("snapshot", "POST", "/v1/snapshot", "write", "outcome", "Take or delete a snapshot.", body=wishes.Snapshot),
    Route("restore", "POST", "/v1/restore", "write", "outcome", "Undo to a snapshot or backup.", body=wishes.Restore),
    Route("backup", "POST", "/v1/backup", "write", "outcome", "Back a disk up, or verify that.", body=wishes.Backup),
    Route("clone", "POST", "/v1/clone", "write", "outcome", "Copy a disk to another guest.", body=wishes.Clone),
    Route("trashed", "GET", "/v1/trash", "read", "Trashed", "What is in the trash."),
    Route("trash", "POST", "/v1/trash", "write", "outcome", "Put back, or empty the trash.", body=wishes.Trash),
    Route("iso", "POST", "/v1/iso", "write", "outcome", "Build an installer's ISO.", body=wishes.Iso),
)


def find(method: str, path: tuple[str, ...]) -> tuple[Route, str]:
    """The route of a request, and the guest that its path names.

    :raise NotServed: there is none.
    """
    found = list(_at(path))
    for route, guest in found:
        if route.method == method:
            return route, guest
    shown = f"/{'/'.join(path)}"
    if not found:
        raise NotServed(f"{shown} is not part of this API", 404)
    raise NotServed(f"{shown} does not take {method}", 405, tuple(sorted({route.method for route, _ in found})))


def _at(path: tuple[str, ...]) -> Iterator[tuple[Route, str]]:
    for route in ROUTES:
        if (guest := route.match(path)) is not None:
            yield route, guest

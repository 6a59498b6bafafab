"""The control API: which request is answered by what."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..definition.guest import Guest
from ..errors import UsageError, VmdError
from ..host import files
from ..host.transcript import follow
from ..plan import step as steps
from .change import Changes
from .converse import converse
from .describe import ssh_facts, status
from .doctor import examine
from .events import Event
from .keep import Keeper
from .running import Running
from .serve import Answer, Request
from .supervise import Supervisor

log = logging.getLogger(__name__)

CHANGES = frozenset({"up", "down", "restart", "wait", "rm", "iso"})
"""The verbs that answer with a stream of events."""

YOURS = ("the public keys of whoever says up",)
"""What stands for the keys in a plan that nobody has asked to carry out."""


class Api:
    """Answers requests about one fleet."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.home = keeper, keeper.home
        self.changes = Changes(keeper)

    async def __call__(self, request: Request) -> Answer:
        """Answer one request.

        :raise VmdError: it can't be answered; the server says so.
        """
        match request.method, request.path[:1], request.path[1:]:
            case "GET", ("v1",), ("guests", name, what):
                return await self._guest(self.keeper.find(name), what, request)
            case "GET", ("v1",), (what,):
                return await self._fact(what, request)
            case "POST", ("v1",), ("guests", name, "console"):
                return converse(self.keeper.find(name), request)
            case "POST", ("v1",), ("reload",):
                self.keeper.load()
                return Answer({"guests": sorted(self.home.fleet.guests), "faults": list(self.home.faults)})
            case "POST", ("v1",), (verb,) if verb in CHANGES:
                log.info("%s asked by uid %d (pid %d): %s", verb, request.peer.uid, request.peer.pid, _brief(request))
                return _ndjson(self.changes.begin(verb, request.body))
        raise UsageError(f"{request.method} /{'/'.join(request.path)} is not part of this API")

    async def _fact(self, what: str, request: Request) -> Answer:
        match what:
            case "version":
                return Answer({"version": __version__, "pid": os.getpid(), **self.home.layout.directories._asdict()})
            case "guests":
                guests = [status(each) for each in self._named(request)]
                return Answer({"guests": guests, "faults": list(self.home.faults)})
            case "plan":
                return Answer({"guests": [await _plan(each) for each in self._named(request)]})
            case "events":
                return _ndjson(self._events(go_on="follow" in request.query))
            case "doctor":
                return Answer(await examine(self.home))
        raise UsageError(f"GET /v1/{what} is not part of this API")

    def _named(self, request: Request) -> list[Supervisor]:
        names = request.query.get("name")
        return [self.keeper.find(name) for name in names] if names else self.keeper.visible()

    async def _guest(self, kept: Supervisor, what: str, request: Request) -> Answer:
        match what:
            case "argv":
                return Answer({"argv": await _argv(kept)})
            case "ssh":
                return Answer(ssh_facts(kept))
            case "log":
                return _log(kept, go_on="follow" in request.query, install="install" in request.query)
            case "screenshot":
                return Answer(content=await _running(kept).picture(), content_type="image/png")
        raise UsageError(f"a guest has no {what!r}", "it has argv, ssh, log and screenshot")

    async def _events(self, *, go_on: bool) -> AsyncIterator[Event]:
        with self.home.events.listen() as listener:
            for event in tuple(self.home.events.past):
                yield event
            while go_on:
                await listener.wait()
                for event in listener.taken():
                    yield event


def _ndjson(events: AsyncIterator[Event]) -> Answer:
    async def lines() -> AsyncIterator[bytes]:
        async for event in events:
            yield json.dumps(event).encode() + b"\n"

    return Answer(stream=lines(), content_type="application/x-ndjson")


def _brief(request: Request) -> str:
    """The body without what is long and says nothing to who reads a log."""
    return json.dumps({key: value for key, value in request.body.items() if key != "keys"})[:500]


def _defined(kept: Supervisor) -> Guest:
    if kept.guest is None:
        raise VmdError(f"{kept.name} is not defined any more")
    return kept.guest


async def _plan(kept: Supervisor) -> dict[str, Any]:
    try:
        planned = await kept.plan_up(_defined(kept), YOURS)
    except VmdError as error:
        return {"name": kept.name, "steps": [], "error": str(error)}
    told = [{"step": steps.name(step), "text": step.text} for step in planned]
    return {"name": kept.name, "steps": told, "error": None}


async def _argv(kept: Supervisor) -> list[str]:
    """The line its QEMU was started with, or the one it would be started with now."""
    if kept.running is not None:
        booted = files.read_record(Path(kept.running.places.booted)) or {}
        return list(booted.get("argv", []))
    planned = await kept.plan_up(_defined(kept), YOURS)
    return next((list(steps.argv(step)) for step in planned if isinstance(step, steps.Start)), [])


def _log(kept: Supervisor, *, go_on: bool, install: bool) -> Answer:
    places = kept.home.places(kept.name)
    of_install = install or kept.state == "installing" or not Path(places.console_log).exists()
    path = Path(places.install_log if of_install else places.console_log)
    if not go_on and not path.exists():
        raise VmdError(f"{kept.name} has not said anything yet", f"vmctl up {kept.name}")
    changed = kept.running.console.output if kept.running and not of_install else None
    return Answer(stream=follow(path, follow=go_on, changed=changed), content_type="application/octet-stream")


def _running(kept: Supervisor) -> Running:
    if kept.running is None:
        raise VmdError(f"{kept.name} doesn't run", f"vmctl up {kept.name}")
    return kept.running

"""The control API: each route of the table is answered here, by the method of its name."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..definition.guest import Guest
from ..errors import Forbidden, UsageError, VmdError
from ..host import files
from ..host.transcript import follow
from ..plan import step as steps
from ..plan import uboot
from . import history, nics, trash, wishes
from .access import user
from .change import Changes
from .chronicle import Event
from .converse import converse
from .describe import ssh_facts, status
from .doctor import examine
from .exposition import CONTENT_TYPE
from .keep import Keeper
from .metrics import Tally, metrics
from .openapi import document
from .planning import YOURS, planned
from .routes import Route, find
from .running import Running
from .serve import Answer, Request
from .supervise import Supervisor
from .usage import as_json, usage

log = logging.getLogger(__name__)


class Api:
    """Answers requests about one fleet; a route's method takes the request, and the guest that its path names."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.home = keeper, keeper.home
        self.changes = Changes(keeper)
        self.tally = Tally()

    async def __call__(self, request: Request) -> Answer:
        """Answer one request.

        :raise VmdError: it can't be answered; the server says so.
        """
        route, name = find(request.method, request.path)
        try:
            self.keeper.access.check(request.peer, route.right, f"{request.method} {route.path}")
        except Forbidden as error:
            log.warning("refused to process %d: %s", request.peer.pid, error.message)
            raise
        if route.answer == "outcome":
            return self._change(route, request)
        answer: Callable[[Request, str], Awaitable[Answer]] = getattr(self, route.name)
        return await answer(request, name)

    # -- what changes something

    def _change(self, route: Route, request: Request) -> Answer:
        """Begin the work; what comes of it has the request as its cause."""
        telling = self.changes.begin(route.name, wishes.read(route.body or wishes.Wish, request.body))
        if route.right == "write":
            self._asked(route, request, self._named_in(request.body))
        return _ndjson(telling)

    def _asked(self, route: Route, request: Request, guests: list[str]) -> None:
        """Tell who asked for what; all that this connection's task does from here on is caused by it."""
        who, name = request.peer, user(request.peer.uid)
        facts = {"verb": route.name, "guests": guests, "user": name, "uid": who.uid, "gid": who.gid, "pid": who.pid}
        self.home.events.emit("request", None, **facts)

    def _named_in(self, body: dict[str, Any]) -> list[str]:
        if body.get("all"):
            return [each.name for each in self.keeper.visible()]
        one = [body[key] for key in ("guest", "source", "target") if isinstance(body.get(key), str)]
        return one or list(body.get("guests", ()))

    async def reload(self, request: Request, _: str) -> Answer:
        """``POST /v1/reload``."""
        self._asked(find("POST", ("v1", "reload"))[0], request, [])
        self.keeper.load()
        return Answer({"guests": sorted(self.home.fleet.guests), "faults": list(self.home.faults)})

    async def console(self, request: Request, name: str) -> Answer:
        """``POST /v1/guests/NAME/console``."""
        answer = converse(self.keeper.find(name), request)
        self._asked(find("POST", request.path)[0], request, [name])
        return answer

    # -- facts

    async def openapi(self, _: Request, __: str) -> Answer:
        """``GET /v1/openapi.json``."""
        return Answer(document())

    async def version(self, _: Request, __: str) -> Answer:
        """``GET /v1/version``."""
        return Answer({"version": __version__, "pid": os.getpid(), **self.home.layout.directories._asdict()})

    async def guests(self, request: Request, _: str) -> Answer:
        """``GET /v1/guests``."""
        guests = [status(each) for each in self._named(request)]
        return Answer({"guests": guests, "faults": list(self.home.faults)})

    async def usage(self, _: Request, __: str) -> Answer:
        """``GET /v1/usage``."""
        guests = self.keeper.visible()
        used = await usage(guests)
        told = [{"state": kept.state, **as_json(kept.name, used.get(kept.name))} for kept in guests]
        return Answer({"time": time.time(), "guests": told})

    async def metrics(self, _: Request, __: str) -> Answer:
        """``GET /metrics``."""
        return Answer(content=(await self.measured()).encode(), content_type=CONTENT_TYPE)

    async def measured(self) -> str:
        """Everything there is to measure, as text."""
        return await metrics(self.keeper, self.tally)

    async def plan(self, request: Request, _: str) -> Answer:
        """``GET /v1/plan``."""
        return Answer({"guests": [await planned(each) for each in self._named(request)]})

    async def events(self, request: Request, _: str) -> Answer:
        """``GET /v1/events``."""
        names = request.query.get("name")
        guests = frozenset(names) if names else None
        since, go_on = _moment(request), _flag(request, "follow")
        return _ndjson(history.told(self.home.events, since=since, guests=guests, go_on=go_on))

    async def doctor(self, _: Request, __: str) -> Answer:
        """``GET /v1/doctor``."""
        return Answer(await examine(self.home))

    def _named(self, request: Request) -> list[Supervisor]:
        names = request.query.get("name")
        return [self.keeper.find(name) for name in names] if names else self.keeper.visible()

    # -- facts of one guest

    async def argv(self, _: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/argv``."""
        return Answer({"argv": await _argv(self.keeper.find(name))})

    async def uboot(self, _: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/uboot``."""
        kept = self.keeper.find(name)
        guest = _defined(kept)
        return Answer({"lines": list(uboot.lines(guest, await self.home.boards.look(guest)))})

    async def ssh(self, _: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/ssh``."""
        return Answer(ssh_facts(self.keeper.find(name)))

    async def why(self, _: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/why``."""
        kept = self.keeper.find(name)
        return Answer({"name": name, "state": kept.state, "chain": await history.chain(self.home.events, name)})

    async def log(self, request: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/log``."""
        go_on, install = _flag(request, "follow"), _flag(request, "install")
        return _log(self.keeper.find(name), go_on=go_on, install=install)

    async def snapshots(self, _: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/snapshots``."""
        return Answer({"name": name, "snapshots": await self.changes.disks.snapshots(self.keeper.find(name))})

    async def trashed(self, _: Request, __: str) -> Answer:
        """``GET /v1/trash``."""
        return Answer({"trash": trash.listed(self.home)})

    async def screenshot(self, _: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/screenshot``."""
        return Answer(content=await _running(self.keeper.find(name)).picture(), content_type="image/png")

    async def pcap(self, request: Request, name: str) -> Answer:
        """``GET /v1/guests/NAME/pcap``."""
        stream = await nics.captured(self.keeper.find(name), request.query.get("nic", ["0"])[0])
        self._asked(find("GET", request.path)[0], request, [name])
        return Answer(stream=stream, content_type="application/octet-stream")


def _flag(request: Request, name: str) -> bool:
    match request.query.get(name, ["0"]):
        case ["1"]:
            return True
        case ["0"]:
            return False
    raise UsageError(f"{name} is a flag", f"write {name}=1")


def _moment(request: Request) -> float | None:
    written = request.query.get("since")
    if written is None:
        return None
    try:
        moment = float(written[0])
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment):
        raise UsageError(f"since={written[0]!r} is no moment", "write seconds since the epoch")
    return moment


def _ndjson(events: AsyncIterator[Event]) -> Answer:
    async def lines() -> AsyncIterator[bytes]:
        async for event in events:
            yield json.dumps(event).encode() + b"\n"

    return Answer(stream=lines(), content_type="application/x-ndjson")


def _defined(kept: Supervisor) -> Guest:
    if kept.guest is None:
        raise VmdError(f"{kept.name} is not defined any more")
    return kept.guest


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
    present = kept.present
    if present is None:
        raise VmdError(f"{kept.name} doesn't run", f"vmctl up {kept.name}")
    return present

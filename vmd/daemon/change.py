"""Requests that change something: each is a piece of work, told as it goes, with its outcome as the last word.

The work belongs to the daemon. A client that goes away ends only the telling.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from ..definition.units import format_duration
from ..errors import Refused, TimedOut, UsageError, VmdError
from ..installer.contract import Progress
from ..installer.debian import RELEASES
from ..plan import order, pins
from . import iso, nics, records, standing, wishes
from .chronicle import Event
from .disks import Disks
from .events import Listener
from .keep import Keeper
from .supervise import Supervisor
from .turns import Turns

log = logging.getLogger(__name__)

Outcome = dict[str, Any]
Work = Coroutine[Any, Any, Outcome]

PATIENCE = 300.0
"""How long a guest may take to reach a rung where nobody says, in seconds; longer where TCG is slow."""


class Changes:
    """What may be asked of the fleet, verb by verb."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.home = keeper, keeper.home
        self.disks = Disks(keeper)
        self._going: set[asyncio.Task[Outcome]] = set()

    def begin(self, verb: str, wish: wishes.Wish) -> AsyncIterator[Event]:
        """Begin to do what is asked: the verb's own method; the stream tells of it.

        :raise UsageError: no guest is named.
        :raise NoSuchGuest: it names a guest that is not there.
        """
        if isinstance(wish, wishes.OfDisk):
            return self.disks.begin(wish, self._each, self._told)
        act: Callable[[wishes.Wish], AsyncIterator[Event]] = getattr(self, verb)
        return act(wish)

    def wait(self, wish: wishes.Wait) -> AsyncIterator[Event]:
        """Wait until a guest is on a rung."""
        return self._each([self.keeper.find(wish.guest)], lambda kept: climbed(kept, wish.rung, wish.timeout))

    def upgrade(self, wish: wishes.Guests) -> AsyncIterator[Event]:
        """Let guests see newer hardware from their next start."""
        return self._each(self._chosen(wish), self._upgrade)

    def rm(self, wish: wishes.Guests) -> AsyncIterator[Event]:
        """Move guests to the trash."""
        return self._each(self._chosen(wish), self._remove)

    def link(self, wish: wishes.Link) -> AsyncIterator[Event]:
        """Pull a cable, or plug it in."""
        return self._each([self.keeper.find(wish.guest)], lambda kept: nics.set_link(kept, wish.nic, up=wish.up))

    def iso(self, wish: wishes.Iso) -> AsyncIterator[Event]:
        """Build an installer's ISO."""
        return self._told(None, self._build_iso(wish.release))

    def _chosen(self, wish: wishes.Guests) -> list[Supervisor]:
        if wish.all:
            return self.keeper.visible()
        if not wish.guests:
            raise UsageError("no guest is named", "name one, or say all")
        return [self.keeper.find(name) for name in dict.fromkeys(wish.guests)]

    # -- verbs, one guest at a time

    def up(self, wish: wishes.Up) -> AsyncIterator[Event]:
        """Lead guests up, each in its turn."""
        chosen = self._chosen(wish)
        turns = self._turns(chosen)
        return self._each(chosen, lambda kept: self._up(kept, wish, turns))

    def restart(self, wish: wishes.Up) -> AsyncIterator[Event]:
        """Lead guests down, and up again in their turn."""
        chosen = self._chosen(wish)
        turns = self._turns(chosen)

        async def one(kept: Supervisor) -> None:
            await finished(kept.down(None))
            await self._up(kept, wish, turns)

        return self._each(chosen, one)

    async def _up(self, kept: Supervisor, wish: wishes.Up, turns: Turns) -> None:
        try:
            async with turns.turn(kept.name):
                await finished(kept.up(tuple(wish.keys)))
            await climbed(kept, wish.wait or goal(kept), wish.timeout)
        finally:
            turns.done(kept.name)

    def _turns(self, chosen: list[Supervisor]) -> Turns:
        fleet = self.home.fleet
        names = [kept.name for kept in chosen]
        return Turns(order.before(fleet.guests, names), fleet.start.parallel, fleet.start.delay)

    def down(self, wish: wishes.Down) -> AsyncIterator[Event]:
        """Lead guests down, those that were started last first."""
        chosen = self._chosen(wish)
        turns = Turns(order.stopped_before(self.home.fleet.guests, [kept.name for kept in chosen]), len(chosen) or 1)

        async def one(kept: Supervisor) -> None:
            try:
                async with turns.turn(kept.name):
                    await finished(kept.down(wish.timeout, for_now=wish.for_now))
            finally:
                turns.done(kept.name)

        return self._each(chosen, one)

    def apply(self, wish: wishes.Apply) -> AsyncIterator[Event]:
        """Make the whole fleet as it is defined; what needs a restart stays pending, and no disk is touched."""
        chosen = self.keeper.visible()
        turns, up = self._turns(chosen), wishes.Up(keys=wish.keys, wait=wish.wait, timeout=wish.timeout)

        async def one(kept: Supervisor) -> None:
            try:
                match standing.due(kept, prune=wish.prune):
                    case "up":
                        await self._up(kept, up, turns)
                    case "change":
                        await finished(kept.change())
                    case "prune":
                        await finished(kept.down(None))
                        await self._remove(kept)
            finally:
                turns.done(kept.name)

        return self._each(chosen, one)

    async def _remove(self, kept: Supervisor) -> None:
        if standing.protected(kept):
            raise Refused(f"{kept.name} is protected", f"write protect: false for {kept.name}, if that is meant")
        if kept.running is not None or kept.busy:
            raise Refused(f"{kept.name} is {kept.state}", f"vmctl down {kept.name}, then remove it")
        kept.remove()
        self.keeper.load()

    async def _upgrade(self, kept: Supervisor) -> None:
        """Let the next start settle machine version and CPU anew; addresses and slots stay."""
        places = self.home.places(kept.name)
        held = records.pins(places)
        if held is None or kept.guest is None:
            raise Refused(f"{kept.name} has nothing to upgrade: its first start settles its hardware")
        host = await self.home.facts.host([kept.guest.run_by.binary])
        records.keep_pins(places, pins.renewed(kept.guest, host, held))

    async def _build_iso(self, release: str) -> Outcome:
        if release not in RELEASES:
            raise UsageError(f"vmd builds no installer {release!r}", f"it builds {', '.join(RELEASES)}")
        path = Path(self.home.facts.iso(release))
        await iso.build(self.home, release, path, self._iso_progress)
        return {"ok": True, "exit_code": 0, "guests": {}, "path": str(path)}

    def _iso_progress(self, progress: Progress) -> None:
        self.home.events.emit(
            "progress", None, step="build-iso", done=progress.done, total=progress.total, text=progress.text
        )

    # -- telling

    def _each(
        self, chosen: list[Supervisor], do: Callable[[Supervisor], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[Event]:
        return self._told(frozenset(kept.name for kept in chosen), self._all(chosen, do))

    async def _all(
        self, chosen: Iterable[Supervisor], do: Callable[[Supervisor], Coroutine[Any, Any, None]]
    ) -> Outcome:
        """Do it to all of them side by side; what fails for one stops none of the others."""
        told = await asyncio.gather(*(_outcome(kept, do(kept)) for kept in chosen))
        code = max((each["exit_code"] for each in told), default=0)
        return {"ok": code == 0, "exit_code": code, "guests": {each.pop("name"): each for each in told}}

    async def _told(self, names: frozenset[str] | None, work: Work) -> AsyncIterator[Event]:
        working = asyncio.create_task(work)
        self._going.add(working)
        working.add_done_callback(self._going.discard)
        with self.home.events.listen(names) as listener:
            while not working.done():
                async for event in _until(working, listener):
                    yield event
        yield self.home.events.finish(_result(working))


async def _until(working: asyncio.Task[Outcome], listener: Listener) -> AsyncIterator[Event]:
    news = asyncio.create_task(listener.wait())
    await asyncio.wait({working, news}, return_when=asyncio.FIRST_COMPLETED)
    news.cancel()
    for event in listener.taken():
        yield event


def _result(working: asyncio.Task[Outcome]) -> Outcome:
    try:
        return working.result()
    except Exception as unforeseen:
        error = _explained(unforeseen)
        failed = {"ok": False, "error": error.message, "hint": error.hint, "exit_code": error.exit_code}
        return {**failed, "guests": {}}


def _explained(error: Exception) -> VmdError:
    """What is told of an error: its own words where vmd foresaw it; else the log has it."""
    if isinstance(error, VmdError):
        return error
    log.error("a request failed in a way vmd did not foresee", exc_info=error)
    return VmdError(f"internal error: {error!r}", "vmd's own log has more")


async def _outcome(kept: Supervisor, work: Coroutine[Any, Any, None]) -> Outcome:
    error: VmdError | None = None
    try:
        await work
    except Exception as unforeseen:
        error = _explained(unforeseen)
    return {
        "name": kept.name,
        "ok": error is None,
        "state": kept.state,
        "rung": kept.running.readiness.rung if kept.running else None,
        "error": error.message if error else None,
        "hint": error.hint if error else None,
        "exit_code": error.exit_code if error else 0,
    }


async def finished(job: asyncio.Task[None]) -> None:
    """Wait for a guest's job, without ending it when who waits is ended.

    :raise VmdError: what the job raised, or that it was given up.
    """
    await asyncio.wait({job})
    if job.cancelled():
        raise VmdError("it was given up: somebody asked for the opposite", "vmctl events tells who came first")
    job.result()


def goal(kept: Supervisor) -> str:
    """The rung that ``up`` waits for where nobody says: ssh where the guest has it from vmd, else its first word."""
    guest = kept.guest
    has_keys = guest is not None and (guest.install is not None or guest.image is not None)
    return "ssh" if has_keys and kept.running and kept.running.has_ssh else "kernel"


async def climbed(kept: Supervisor, rung: str, patience: float | None) -> None:
    """Wait until a guest has reached a rung.

    :raise TimedOut: it didn't in time; says the last rung, for how long, and the last line on its console.
    :raise VmdError: it doesn't run, or ended.
    """
    running = kept.running
    if running is None:
        raise VmdError(kept.error or f"{kept.name} doesn't run", f"vmctl up {kept.name}")
    facts = await kept.home.facts.qemu_facts(kept.guest.run_by.binary) if kept.guest else None
    limit = PATIENCE * (facts.tcg_scale if facts and facts.accel == "tcg" else 1) if patience is None else patience
    reached, gone = (
        asyncio.create_task(running.readiness.wait(rung)),
        asyncio.create_task(kept.attendant.wait_gone(limit)),
    )
    try:
        await asyncio.wait({reached, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reached.cancel()
        gone.cancel()
    if running.readiness.has(rung):
        return
    if kept.running is not running:
        raise VmdError(kept.error or f"{kept.name} ended before it reached {rung}", f"vmctl log {kept.name}")
    raise _late(kept, running.readiness.rung, rung, limit)


def _late(kept: Supervisor, at: str | None, rung: str, limit: float) -> TimedOut:
    running = kept.running
    assert running is not None  # noqa: S101 - the caller looked
    for_long = format_duration(round(running.readiness.age - running.readiness.reached.get(at or "", 0.0), 1))
    last = f"; its last line: {running.last_line!r}" if running.last_line else "; it has said nothing"
    return TimedOut(
        f"{kept.name} did not reach {rung} within {format_duration(limit)}: it has been at {at} for {for_long}{last}",
        f"it runs on: vmctl console {kept.name} shows it, vmctl wait {kept.name} --for {rung} waits on",
    )

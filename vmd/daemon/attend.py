"""One run of a guest, attended from its start to its end, whoever started it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path
from typing import Any

from ..definition.network import USER
from ..errors import VmdError
from ..host import files
from ..host.process import Exit, adopt
from ..host.rotate import rotate
from ..plan.addresses import Address
from ..plan.restart import Cause, End
from . import ends, records, space
from .capture import end_captures
from .events import cause, continue_from
from .home import Home
from .running import Running

LOG_BOUND = 1 << 20
"""Bytes of QEMU's own log; then it becomes the previous one."""

ADOPTION_TAKES = 5.0
"""How long a QEMU that runs may take to answer on its monitor, in seconds; one that doesn't hangs."""

END_TAKES = 10.0
"""How long QEMU may take to write what it holds once its guest is off, in seconds."""


class Attendant:
    """Holds what runs of a guest, sees it end, writes down why and tells whoever made it.

    ``booted`` is the record of what runs: the definition it was started with, or was changed to since.
    """

    def __init__(self, name: str, home: Home, ended: Callable[[Cause, str], None]) -> None:
        self.name, self.home, self._tell_end = name, home, ended
        self.running: Running | None = None
        self.booted: records.Booted | None = None
        self.ends = records.Ends.read(home.places(name))
        self._gone = asyncio.Event()
        self._gone.set()
        self._attending: asyncio.Task[None] | None = None
        self._adopting = asyncio.Lock()
        self._stopping = False
        self._stopped_by: int | None = None

    def attend(self, running: Running, booted: records.Booted) -> None:
        """Attend a run from here on; ``booted`` is its record."""
        self.running, self.booted = running, booted
        running.on_note = lambda text: self.home.events.emit("note", self.name, text=text)
        self._gone.clear()
        on_user = any(nic.network == USER for nic in booted.guest.nics)
        networks = [self.home.fleet.networks.get(nic.network) for nic in booted.guest.nics]
        bridged = any(network and network.bridge for network in networks)  # there the host may reach it
        port = self.home.ssh_port(self.name, running=True) if on_user else 0
        running.watch(booted.guest, port, self.own_address if bridged else None)
        self.home.cables.listen(booted.guest, self._learnt)
        disk = Path(self.home.places(self.name, booted.guest).disk)
        running.tend(space.keep(running, disk.parent, partial(self.home.events.emit, guest=self.name)))
        if self.home.logs:
            log = Path(running.places.qemu_log)
            self.home.logs.add(log, partial(_bound, log))
        context = self._because_it_was_started()
        self._attending = asyncio.create_task(self._until_end(running), name=f"attend {self.name}", context=context)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """What was learnt of its own addresses, the one to use first."""
        if self.booted is None or self.running is None:
            return ()
        pins = records.pins(self.home.places(self.name))
        return self.home.cables.addresses(self.booted.guest, pins.macs if pins else ())

    def own_address(self) -> str | None:
        """An address to reach it by, once it uses one that leads further than its own cable."""
        return next((found.address for found in self.addresses if found.firm), None)

    def _learnt(self) -> None:
        if self.running and not self.running.readiness.has("address") and self.own_address():
            self.running.readiness.climb("address")

    def _because_it_was_started(self) -> Context:
        """Where what befalls it has its last start as the cause, also one by a daemon that is gone."""
        context = copy_context()
        context.run(continue_from, self.home.events.last(self.name, "step.started", step="start"))
        return context

    async def adopt(self) -> None:
        """Take hold of the QEMU that the booted record names; where it is gone, find out why.

        One that hangs is held by its process alone: it can still be ended, and its end is seen.

        :raise VmdError: the record can't be used.
        """
        async with self._adopting:
            await self._adopt()

    @property
    def adopting(self) -> bool:
        """It is being taken hold of right now."""
        return self._adopting.locked()

    async def _adopt(self) -> None:
        places = self.home.places(self.name)
        booted = records.booted(places) if self.running is None else None
        if booted is None or booted.end is not None:
            return
        process = adopt(booted.process)
        if process is None:
            self._ended_while_away(booted)
            return
        running = Running(self.name, process, places, lambda *_: None, booted.since)
        with suppress(VmdError):
            await running.hold(places.console_log, ADOPTION_TAKES)
            await end_captures(running)
        self.home.cables.adopt(booted.guest, self.home.fleet.networks)
        self.attend(running, booted)

    def _ended_while_away(self, booted: records.Booted) -> None:
        places = self.home.places(self.name)
        if booted.process.boot_id != files.boot_id():
            booted.ended(places, End("stopped", 0.0), "the host was restarted")
        elif records.wanted(places) == "down":
            self._note(booted, "stopped", "it was stopped")
        else:
            end = ends.by_exit(Exit(), ends.last_words(places))
            self._because_it_was_started().run(self._note, booted, *end)

    async def wait_gone(self, patience: float) -> bool:
        """Wait up to so many seconds for the end of what runs; say whether it came."""
        if patience > 0 and not self._gone.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), patience)
        return self._gone.is_set()

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """While this lasts, an end is what the operator asked for."""
        if self.running:
            self.running.stop_climbing()
        self._stopping, self._stopped_by = True, cause()
        try:
            yield
        finally:
            self._stopping = False

    async def _until_end(self, running: Running) -> None:
        over = asyncio.create_task(running.over.wait())
        waits: set[asyncio.Future[Any]] = {over, running.process.exited}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if self._stopping:
            continue_from(self._stopped_by)
        if running.process.alive:
            await running.end(grace=END_TAKES)
        cause, text = ends.seen(await running.process.exited, running, stopping=self._stopping)
        await running.release()
        self._let_go(running)
        self.running = None
        self._gone.set()
        if (booted := records.booted(running.places)) is not None:
            self._note(booted, cause, text)

    def _note(self, booted: records.Booted, cause: Cause, text: str) -> None:
        end = End(cause, round(max(0.0, time.time() - booted.since), 1))
        booted.ended(self.home.places(self.name), end, text)
        self.ends.add(end)
        self._tell_end(cause, text)

    def _let_go(self, running: Running) -> None:
        if self.booted:
            self.home.cables.let_go(self.booted.guest, self.home.fleet.networks)
        if self.home.logs:
            self.home.logs.remove(Path(running.places.qemu_log))

    async def release(self) -> None:
        """Let go of it, and end nothing."""
        if self._attending is not None:
            self._attending.cancel()
            with suppress(asyncio.CancelledError):
                await self._attending
        if self.running is not None:
            await self.running.release()


def _bound(log: Path) -> None:
    """Keep QEMU's own words from filling the disk."""
    with suppress(VmdError, OSError):
        rotate(log, LOG_BOUND)

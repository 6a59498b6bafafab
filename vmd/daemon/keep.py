"""The fleet as a whole: its definitions as they are read, and one supervisor for each guest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from ..errors import NoSuchGuest, VmdError
from . import access, strays
from .home import Home
from .reading import read
from .standing import left_behind
from .supervise import Supervisor

log = logging.getLogger(__name__)

ADOPTED_WITHIN = 2.0
"""Seconds after which vmd serves, though a QEMU that hangs has not been taken hold of yet."""


class Keeper:
    """Knows every guest that is defined, or runs though it isn't any more."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.supervisors: dict[str, Supervisor] = {}
        self.access = access.Access()
        self.on_load: Callable[[], None] = lambda: None
        self._late: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Read the fleet and the settings anew. What is at fault stays as it was; nothing that runs is touched."""
        home = self.home
        self.access = access.load(home.layout.directories.config)
        before = (home.fleet, home.faults)
        home.fleet, found = read(home.layout.directories.fleet, home.fleet, home.layout)
        home.faults = (*found, *self.access.faults)
        for name in {*home.fleet.guests, *self._kept()} - self.supervisors.keys():
            self.supervisors[name] = Supervisor(name, home)
        self.on_load()
        if (home.fleet, home.faults) != before:
            self._tell_fleet()

    def _tell_fleet(self) -> None:
        for fault in self.home.faults:
            log.warning("%s", fault)
        names, faults = sorted(self.home.fleet.guests), list(self.home.faults)
        self.home.events.emit("fleet", None, guests=names, faults=faults)

    def _kept(self) -> list[str]:
        """Guests that were started once: one that is not defined any more may still run."""
        return sorted(path.parent.name for path in Path(self.home.layout.guests).glob("*/booted.json"))

    async def adopt(self) -> None:
        """Take hold of all that an earlier vmd left, side by side; what fails of one costs the others nothing."""
        strays.take_in(self.home)
        for name in set(self._kept()) - self.supervisors.keys():
            self.supervisors[name] = Supervisor(name, self.home)
        tasks = {asyncio.create_task(self._adopt(each)) for each in self.supervisors.values()}
        if tasks:
            _, self._late = await asyncio.wait(tasks, timeout=ADOPTED_WITHIN)
        self.home.cables.clear(self.home.fleet.networks)

    async def _adopt(self, supervisor: Supervisor) -> None:
        try:
            await supervisor.adopt()
        except (VmdError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            supervisor.error = f"{supervisor.name}: its record can't be used: {error}"
            log.warning("%s", supervisor.error)

    def visible(self) -> list[Supervisor]:
        """Every guest worth a line: defined, or running though it isn't."""
        every = (self.supervisors[name] for name in sorted(self.supervisors))
        return [each for each in every if each.guest is not None or left_behind(each)]

    def find(self, name: str) -> Supervisor:
        """The supervisor of a guest.

        :raise NoSuchGuest: there is none of that name.
        """
        found = self.supervisors.get(name)
        if found is None or found not in self.visible():
            names = ", ".join(each.name for each in self.visible()) or "none"
            raise NoSuchGuest(f"there is no guest {name!r}", f"defined are: {names}")
        return found

    async def release(self) -> None:
        """Let go of every guest; none is ended."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*(each.release() for each in self.supervisors.values()))
        self.home.cables.close()

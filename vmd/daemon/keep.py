"""The fleet as a whole: its definitions as they are read, and one supervisor for each guest."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from ..definition.guest import Guest
from ..definition.parse import Parsed, Source, parse
from ..errors import NoSuchGuest, VmdError
from .home import Home
from .standing import left_behind
from .supervise import Supervisor

log = logging.getLogger(__name__)

READ_AT_MOST = (1 << 20) + 1
"""Bytes of a definition file that are read: one more than a definition may have, so that the fault is seen."""


class Keeper:
    """Knows every guest that is defined, or runs though it isn't any more."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.supervisors: dict[str, Supervisor] = {}

    def load(self) -> None:
        """Read the fleet anew. What is at fault keeps the definition it had; nothing that runs is touched."""
        parsed = parse(self._sources())
        self.home.faults = tuple(str(fault) for fault in parsed.faults)
        self.home.fleet = replace(parsed.fleet, guests={**self._last_good(parsed), **parsed.fleet.guests})
        self.home.layout.check_socket_length(parsed.fleet.guests)
        for fault in self.home.faults:
            log.warning("%s", fault)
        for name in (*parsed.fleet.guests, *self._kept()):
            self.supervisors.setdefault(name, Supervisor(name, self.home))

    def _last_good(self, parsed: Parsed) -> dict[str, Guest]:
        """Guests whose file is at fault now: they keep the definition they had."""
        faulty, before = {fault.file for fault in parsed.faults}, self.home.fleet
        return {
            name: guest for name, guest in before.guests.items() if before.position("guests", name).file in faulty
        }

    def _sources(self) -> list[Source]:
        sources = []
        for path in sorted(Path(self.home.layout.directories.fleet).glob("*.yaml")):
            try:
                with path.open("rb") as file:
                    sources.append(Source(str(path), file.read(READ_AT_MOST)))
            except OSError as error:
                log.warning("%s can't be read: %s", path, error.strerror)
        return sources

    def _kept(self) -> list[str]:
        """Guests that were started once: one that is not defined any more may still run."""
        return sorted(path.parent.name for path in Path(self.home.layout.guests).glob("*/booted.json"))

    async def adopt(self) -> None:
        """Take hold of all that an earlier vmd left, side by side; what fails of one costs the others nothing."""
        await asyncio.gather(*(self._adopt(supervisor) for supervisor in self.supervisors.values()))

    async def _adopt(self, supervisor: Supervisor) -> None:
        try:
            await supervisor.adopt()
        except (VmdError, ValueError, LookupError) as error:
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
        await asyncio.gather(*(each.release() for each in self.supervisors.values()))

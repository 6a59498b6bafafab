"""All guests of one ``lab.yaml``: started side by side, and all gone at the end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..definition.layout import Layout
from ..errors import NoSuchGuest
from ..protocol import Directories
from .facts import Facts
from .guest import LabGuest
from .life import Life
from .login import Login
from .loop import Loop
from .settings import Bench, Settings


class Lab(Mapping[str, LabGuest]):
    """``lab["router"]`` is the guest of that name. They all run when the test begins.

    ``room`` is a short path of our own: sockets have names of 107 bytes at most.
    """

    def __init__(self, bench: Bench, room: Path, artefacts: Path, facts: Facts, loop: Loop) -> None:
        self.path = bench.path
        self._loop, self._room = loop, room
        self._login = loop.call(Login.make(room))
        layout = Layout(Directories(str(room), str(room), str(room / "run")))
        layout.check_socket_length(bench.guests)
        self._lives = {
            name: Life(guest, layout.guest(name), facts, self._login, bench.settings.get(name, Settings()))
            for name, guest in bench.guests.items()
        }
        self._guests = {name: LabGuest(life, loop, artefacts) for name, life in self._lives.items()}

    def begin(self) -> None:
        """Start all, and return when all are ready; the first that fails ends it.

        :raise VmdError: one can't be started, or isn't ready in time.
        """
        self._loop.call(self._begin())

    async def _begin(self) -> None:
        tasks = [asyncio.create_task(life.begin()) for life in self._lives.values()]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def close(self) -> None:
        """Kill them all, and remove what they had."""
        self._loop.call(self._kill())
        shutil.rmtree(self._room, ignore_errors=True)

    async def _kill(self) -> None:
        await asyncio.gather(*(life.kill() for life in self._lives.values()))

    def __getitem__(self, name: str) -> LabGuest:
        if name not in self._guests:
            raise NoSuchGuest(f"{self.path} defines no guest {name}", f"it has {', '.join(self._guests) or 'none'}")
        return self._guests[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._guests)

    def __len__(self) -> int:
        return len(self._guests)

"""How ready a guest is: the rungs it has climbed, and who waits for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..protocol import RUNGS


class Readiness:
    """The rungs one run of a guest has reached, each with the seconds since its QEMU was started.

    A guest that answers on a rung has passed all below it: who answers on ssh has an address.
    """

    def __init__(self, announce: Callable[[str, float], None], started: float | None = None) -> None:
        self._announce = announce
        self._started = time.monotonic() if started is None else started
        self._changed = asyncio.Event()
        self.reached: dict[str, float] = {}

    @property
    def rung(self) -> str | None:
        """The highest rung reached."""
        return next((rung for rung in reversed(RUNGS) if rung in self.reached), None)

    @property
    def age(self) -> float:
        """Seconds since its QEMU was started."""
        return time.monotonic() - self._started

    def climb(self, rung: str) -> None:
        """It is at least on this rung."""
        for lower in RUNGS[: RUNGS.index(rung) + 1]:
            if lower not in self.reached:
                self.reached[lower] = round(self.age, 3)
                self._announce(lower, self.reached[lower])
        self._changed.set()

    def has(self, rung: str) -> bool:
        """It has reached this rung."""
        return rung in self.reached

    async def wait(self, rung: str) -> None:
        """Return when it has reached this rung."""
        while not self.has(rung):
            self._changed.clear()
            await self._changed.wait()

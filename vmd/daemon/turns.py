"""Several guests at a time, but not all at once: each in its turn, after those it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager


class Turns:
    """Takes turns among guests: ``parallel`` side by side, each after those that ``after`` names for it.

    ``delay`` is how long a place stays taken after a turn, in seconds: a machine that starts thirty guests at once
    serves none of them.
    """

    def __init__(self, after: Mapping[str, tuple[str, ...]], parallel: int, delay: float = 0.0) -> None:
        self._after, self._delay = after, delay
        self._places = asyncio.Semaphore(parallel)
        self._done = {name: asyncio.Event() for name in after}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for the guest's turn, and hold a place while it lasts."""
        for other in self._after.get(name, ()):
            await self._done[other].wait()
        async with self._places:
            yield
            await asyncio.sleep(self._delay)

    def done(self, name: str) -> None:
        """Whoever waits for this guest need not wait any longer, however it went."""
        if name in self._done:
            self._done[name].set()

"""How vmd stands, told to the service manager: in words, and by a heartbeat that comes only while guests are kept."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress

from ..host.notify import Notify
from .keep import Keeper

WORDS = 60.0
"""How often the words are told anew where no watchdog waits, in seconds."""

SHOWN = 5
"""So many guests that failed are named; the others are counted."""


class Heartbeat:
    """Looks at every guest in turn, and says what it found; what hangs there keeps it from being said.

    The watchdog (``WatchdogSec=``) so covers the event loop and each guest's state, which is derived at every look.
    """

    def __init__(self, notify: Notify, keeper: Keeper) -> None:
        self._notify, self._keeper = notify, keeper
        self._every = notify.watchdog / 3 if notify.watchdog else WORDS
        self._said = ""

    async def beat(self) -> None:
        """Go on for ever: a beat in time, and new words as soon as a guest's state changes."""
        with self._keeper.home.events.listen() as listener:
            while True:
                words = await self.look()
                self._notify.tell(WATCHDOG=1, **({"STATUS": words} if words != self._said else {}))
                self._said = words
                with suppress(TimeoutError):
                    await asyncio.wait_for(listener.wait(), self._every)
                for _ in listener.taken():
                    pass
                await asyncio.sleep(0.1)  # many events make one look

    async def look(self) -> str:
        """Look at each guest, letting everything else have its turn in between; how they stand, in words."""
        states: dict[str, str] = {}
        for each in self._keeper.visible():
            states[each.name] = each.state
            await asyncio.sleep(0)
        return words(states, len(self._keeper.home.faults))

    def ready(self) -> None:
        """The control socket answers, and what an earlier vmd left has been taken over."""
        self._notify.tell(READY=1)

    def reloading(self) -> None:
        """The definitions are about to be read again; :meth:`ready` says when they are."""
        self._notify.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def stopping(self) -> None:
        """Vmd goes; its guests stay."""
        self._notify.tell(STOPPING=1, STATUS="stopped; the guests go on")


def words(states: dict[str, str], faults: int) -> str:
    """Guests by state in a line: ``3 guests: 2 running, 1 failed (bob); 1 fault in the definitions``."""
    counts = Counter(states.values())
    failed = [name for name, state in states.items() if state == "failed"]
    named = ", ".join(failed[:SHOWN]) + (", …" if len(failed) > SHOWN else "")
    parts = [
        f"{count} {state}" + (f" ({named})" if state == "failed" else "") for state, count in sorted(counts.items())
    ]
    many = f"{len(states)} guest{'' if len(states) == 1 else 's'}"
    said = f"{many}: {', '.join(parts)}" if parts else "no guest is defined"
    return said + (f"; {faults} fault{'' if faults == 1 else 's'} in the definitions" if faults else "")

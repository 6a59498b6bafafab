"""A guest whose host has no room left stands still, and goes on by itself when there is room again."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from ..errors import VmdError
from .announce import Tell
from .running import NO_SPACE, Running

LOOK_EVERY = 2.0
"""Seconds between two looks at a file system that was full; nobody looks while no guest waits."""

ENOUGH = 1 << 20
"""Bytes that must have become free for a guest to be let run again: it stops again when they were too few."""

AT_LEAST = 60.0
"""Seconds after which a guest is let try in any case: a quota doesn't show as free space."""


async def keep(running: Running, directory: Path, tell: Tell) -> None:
    """Tell when a guest is paused by its disk and when it goes on, and see that it does. Ends when cancelled.

    ``directory`` is on the file system that its disk grows on.
    """
    may_try = running.paused is not None  # what has become free before we came isn't known
    while True:
        why = await running.until_paused()
        tell("paused", why=why)
        if why == NO_SPACE:
            await _until_room(running, directory, 0 if may_try else _free(directory))
        await running.until_resumed()
        tell("resumed")
        may_try = False


async def _until_room(running: Running, directory: Path, free: int) -> None:
    """Let it run again once so much more than ``free`` bytes are free."""
    waited = 0.0
    while running.paused == NO_SPACE:
        await asyncio.sleep(LOOK_EVERY)
        waited += LOOK_EVERY
        if _free(directory) >= free + ENOUGH or waited >= AT_LEAST:
            with suppress(VmdError):
                await running.monitor.cont()
            free, waited = _free(directory), 0.0


def _free(directory: Path) -> int:
    """The bytes that QEMU's user may still write there."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize

"""Long work inside one QEMU: a job, in the words of its QMP reference (QEMU 6.0 to 10.0).

Jobs are looked at in turn: how far one is comes with no event. A look costs 0.3 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from vmd.errors import QemuFailed, VmdError
from vmd.host.monitor import Monitor

FIRST_LOOK, LAST_LOOK = 0.01, 0.5
"""Seconds between two looks at a job: each time twice as long."""

STANDSTILL: Final = 900.0
"""Seconds: QEMU answers nothing while it writes or reads a guest's memory for a snapshot."""

GIVING_UP: Final = 30.0
"""Seconds that a job may take to notice that it was cancelled."""

Progress = Callable[[int, int], None]
"""Hears how much is done, and of how much."""


async def run(
    monitor: Monitor, job: str, begin: Callable[[], Awaitable[Any]], progress: Progress | None = None
) -> None:
    """Begin a job, which must not dismiss itself, and return when it has succeeded; it is cancelled with us.

    One of that name which somebody left behind, who was killed, is cancelled first.

    :raise QemuFailed: it could not begin, failed, or QEMU hung up.
    """
    await clear(monitor, job)
    await begin()
    try:
        error = await _until_concluded(monitor, job, progress)
    except BaseException:
        with suppress(VmdError, TimeoutError):
            await asyncio.shield(_give_up(monitor, job))
        raise
    await monitor.execute("job-dismiss", id=job)
    if error:
        raise QemuFailed(f"QEMU's {job} failed: {error}")


async def clear(monitor: Monitor, job: str) -> None:
    """Cancel a job that somebody left behind, and see it gone; fine if there is none.

    :raise QemuFailed: QEMU hung up.
    """
    if any(each["id"] == job for each in await monitor.execute("query-jobs", timeout=STANDSTILL)):
        await _give_up(monitor, job)


async def _until_concluded(monitor: Monitor, job: str, progress: Progress | None) -> str:
    """Wait for the end of a job; what went wrong, or nothing."""
    pause = FIRST_LOOK
    while True:
        found = await _look(monitor, job)
        if progress:
            progress(found["current-progress"], found["total-progress"])
        if found["status"] == "concluded":
            return str(found.get("error", ""))
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_LOOK)


async def _look(monitor: Monitor, job: str) -> dict[str, Any]:
    jobs = await monitor.execute("query-jobs", timeout=STANDSTILL)
    found: dict[str, Any] | None = next((each for each in jobs if each["id"] == job), None)
    if found is None:
        raise QemuFailed(f"QEMU has lost its {job}")
    return found


async def _give_up(monitor: Monitor, job: str) -> None:
    async with asyncio.timeout(GIVING_UP):
        with suppress(QemuFailed):
            await monitor.execute("job-cancel", id=job)
        await _until_concluded(monitor, job, None)
        await monitor.execute("job-dismiss", id=job)

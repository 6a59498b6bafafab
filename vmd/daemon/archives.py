"""Back a guest's disk up into a directory of the operator's, and see that what is there can be relied on."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from pathlib import Path

from ..definition.layout import GuestLayout
from ..errors import VmdError
from ..host import archive, backup, disk, job
from ..host.archive import Archive, Part
from ..host.monitor import Monitor
from ..plan.upkeep import BackUp
from .running import Running

BITMAPS = 4
"""So many directories are remembered in a disk at once: each costs its QEMU some memory."""


async def back_up(
    step: BackUp, name: str, places: GuestLayout, running: Running | None, progress: job.Progress
) -> str:
    """Make one more backup in a directory; what it came to, for a person.

    :raise VmdError: it could not be made; the disk and all earlier backups are as they were.
    """
    directory = Path(step.directory)
    kept = archive.read(directory, name) or Archive(directory, name, f"{int(time.time()):x}{secrets.token_hex(3)}")
    if running is None:
        async with backup.offline(Path(step.path), step.format, Path(places.runtime)) as monitor:
            return await _once(step, kept, monitor, None, progress)
    try:
        return await _once(step, kept, running.monitor, Path(places.agent), progress)
    except VmdError:
        if running.paused:  # QEMU lets a guest's write fail that it could not first copy to the target
            with suppress(VmdError):
                await running.monitor.cont()
        raise


async def _can_remember(step: BackUp) -> bool:
    """Only qcow2 keeps bitmaps, and that from its version 3 on."""
    if step.format != "qcow2":
        return False
    told = (await disk.header(Path(step.path), "qcow2")).get("format-specific", {}).get("data", {})
    return bool(told.get("compat") != "0.10")


async def _once(step: BackUp, kept: Archive, monitor: Monitor, agent: Path | None, progress: job.Progress) -> str:
    """Make a backup; ``agent`` is where the agent of a running guest answers, None where none runs."""
    above, found = await _reliable(step, kept, monitor)
    number, began = kept.next_number, time.time()
    size, mark = await backup.virtual_size(monitor), kept.mark(number) if await _can_remember(step) else None
    made = kept.directory / f".{kept.path(number).name}.part"
    made.unlink(missing_ok=True)
    try:
        await disk.create(made, size)
        rest = await backup.back_up(
            monitor,
            made,
            since=kept.mark(above.number) if above else None,
            mark=mark,
            lend=agent is not None,
            agent_path=agent,
            progress=progress,
        )
        part = Part(
            number, kept.path(number).name, began, 0, size, "", above.file if above else "", rest or not agent
        )
        grown = await archive.add(kept, made, part)
    finally:
        made.unlink(missing_ok=True)
    await backup.forget(monitor, _superfluous(found, kept, mark))
    return _told(grown.parts[-1])


async def _reliable(step: BackUp, kept: Archive, monitor: Monitor) -> tuple[Part | None, list[str]]:
    """The backup that the next one may add to, if any; and all bitmaps of ours that there are."""
    found = {name: good for name, good in (await backup.bitmaps(monitor)).items() if name.startswith("vmd-backup-")}
    above = kept.parts[-1] if kept.parts else None
    wanted = kept.mark(above.number) if above else ""
    half = [name for name in found if name.startswith(kept.mark(0)[:-1]) and name != wanted]
    await backup.forget(monitor, half)  # of a backup that was never finished
    there = above is not None and (kept.directory / above.file).exists()
    good = found.get(wanted, False) and there and not step.full
    return above if good else None, [name for name in found if name not in half]


def _superfluous(found: list[str], kept: Archive, mark: str | None) -> list[str]:
    """Which bitmaps to remove after a backup: the one it counted from, and those of directories long not used."""
    own = [name for name in found if name.startswith(kept.mark(0)[:-1]) and name != mark]
    others = sorted(name for name in found if not name.startswith(kept.mark(0)[:-1]))  # by when they began
    return own + others[: max(0, len(others) - (BITMAPS - 1))]


def _told(part: Part) -> str:
    kind = f"what changed since {part.backing}" if part.backing else "all of it"
    rest = "" if part.at_rest else "; no agent answered, so it is as after a power cut"
    return f"backup {part.number} is {part.file}: {kind}, {part.bytes / (1 << 20):.1f} MiB{rest}"


async def verify(directory: Path, name: str, number: int | None) -> Part:
    """See that a backup (the last one if None) can be relied on, and all that it needs.

    :raise VmdError: it can't.
    """
    kept = known(directory, name)
    parts = kept.upto(number)
    await archive.verify(kept, parts)
    return parts[0]


def known(directory: Path, name: str) -> Archive:
    """The backups of a guest in a directory.

    :raise VmdError: there are none.
    """
    kept = archive.read(directory, name)
    if kept is None:
        raise VmdError(f"there is no backup of {name} in {directory}", f"vmctl backup {name} {directory} makes one")
    return kept

"""What guests use of this host: as the kernel and QEMU count it, never asked of a guest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..definition.layout import tap
from ..errors import VmdError
from .running import Running
from .supervise import Supervisor

ANSWERS = 1.0
"""How long a QEMU may take to count, in seconds; it takes a millisecond. One that hangs has no disk figures."""

LINKS = Path("/sys/class/net")


class Traffic(NamedTuple):
    """Bytes and operations of a disk, or bytes and packets of a NIC, since the run began."""

    bytes_in: int
    bytes_out: int
    count_in: int
    count_out: int


class Usage(NamedTuple):
    """One running guest: seconds of CPU and bytes of memory of its QEMU, and its traffic.

    ``disk`` is None where QEMU doesn't answer; ``nics`` has those that have a tap, by their number: what goes through
    QEMU's own NAT is counted nowhere.
    """

    cpu_seconds: float
    memory: int
    disk: Traffic | None
    nics: dict[int, Traffic]


async def usage(guests: Iterable[Supervisor]) -> dict[str, Usage]:
    """What those that run have used so far; all are asked at once."""
    running = [(kept, kept.running) for kept in guests if kept.running is not None and kept.running.held]
    found = await asyncio.gather(*(_usage(kept, run) for kept, run in running))
    return {kept.name: each for (kept, _), each in zip(running, found, strict=True) if each is not None}


async def _usage(kept: Supervisor, running: Running) -> Usage | None:
    used = running.process.usage()
    if used is None:
        return None
    return Usage(used.cpu_seconds, used.rss_bytes, await _disk(running), _nics(kept))


async def _disk(running: Running) -> Traffic | None:
    try:
        told = await running.monitor.execute("query-blockstats", timeout=ANSWERS)
    except VmdError:
        return None
    return total(each["stats"] for each in told)


def total(stats: Iterable[dict[str, Any]]) -> Traffic:
    """Sum what ``query-blockstats`` tells of each drive (QEMU 7.2)."""
    counters = ("rd_bytes", "wr_bytes", "rd_operations", "wr_operations")
    return Traffic(*map(sum, zip((0, 0, 0, 0), *([each[name] for name in counters] for each in stats), strict=True)))


def _nics(kept: Supervisor) -> dict[int, Traffic]:
    found = {}
    booted = kept.attendant.booted
    for index in range(len(booted.guest.network) if booted else 0):
        link = LINKS / tap(kept.home.facts.fleet_id, kept.name, index) / "statistics"
        with suppress(OSError, ValueError):
            found[index] = _seen_by_guest(link)
    return found


def _seen_by_guest(link: Path) -> Traffic:
    """What the host sends to a tap, its guest receives."""
    counters = ("tx_bytes", "rx_bytes", "tx_packets", "rx_packets")
    return Traffic(*(int((link / name).read_text()) for name in counters))


def as_json(name: str, used: Usage | None) -> dict[str, Any]:
    """The facts of the API; what is not known is null."""
    disk = used.disk if used else None
    nics = used.nics.values() if used else ()
    return {
        "name": name,
        "cpu_seconds": used.cpu_seconds if used else None,
        "memory": used.memory if used else None,
        "disk_read": disk.bytes_in if disk else None,
        "disk_written": disk.bytes_out if disk else None,
        "received": sum(nic.bytes_in for nic in nics) if nics else None,
        "sent": sum(nic.bytes_out for nic in nics) if nics else None,
    }

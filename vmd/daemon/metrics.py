"""Everything there is to measure, for Prometheus: guests, their QEMUs, installs, and vmd itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..host import process
from ..protocol import STATES
from .chronicle import Event
from .events import Events
from .exposition import Family, Sample, exposition, histogram
from .keep import Keeper
from .supervise import Supervisor
from .usage import Usage, usage

INSTALL_BOUNDS = (15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Upper bounds of an install's duration, in seconds."""

LOOK_EVERY = 5.0
"""How often it is measured how late the event loop comes, in seconds."""


@dataclass
class Tally:
    """Counts what happens, from the moment it is made."""

    events: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    installs: list[float] = field(default_factory=list)
    failed_installs: int = 0
    longest_delay: float = 0.0
    """How late the event loop came at worst since the last look, in seconds."""

    def count(self, event: Event) -> None:
        """Count one event."""
        kind, guest = event["event"], str(event["guest"])
        self.events[kind] += 1
        self.restarts[guest] += kind == "restart"
        self.crashes[guest] += kind == "exit" and event["cause"] in ("crashed", "killed", "panicked")
        if event.get("step") == "run-installer":
            self.failed_installs += kind == "step.failed"
            if kind == "step.done":
                self.installs.append(float(event["seconds"]))

    def work(self, keeper: Keeper) -> tuple[Coroutine[Any, Any, None], ...]:
        """What is to be done meanwhile, so that there is something to tell."""
        return self.listen(keeper.home.events), self.watch_loop()

    async def listen(self, events: Events) -> None:
        """Count for ever."""
        with events.listen() as listener:
            while True:
                await listener.wait()
                for event in listener.taken():
                    self.count(event)

    async def watch_loop(self) -> None:
        """See for ever how late the event loop comes."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_EVERY
            await asyncio.sleep(LOOK_EVERY)
            self.longest_delay = max(self.longest_delay, loop.time() - due)


async def metrics(keeper: Keeper, tally: Tally) -> str:
    """All of it as text."""
    guests = keeper.visible()
    used = await usage(guests)
    return exposition(
        (*_fleet(keeper, guests), *_guests(guests, tally), *_qemu(used), *_installs(tally), *_vmd(tally))
    )


def _fleet(keeper: Keeper, guests: list[Supervisor]) -> Iterator[Family]:
    yield _one("vmd_build_info", "The version of vmd; the value is 1.", 1, version=__version__)
    states = Counter(kept.state for kept in guests)
    samples = [Sample(states[state], {"state": state}) for state in STATES]
    yield Family("vmd_guests", "gauge", "Guests by state.", samples)
    yield _one("vmd_definition_faults", "Faults in the definitions and settings.", len(keeper.home.faults))


def _guests(guests: list[Supervisor], tally: Tally) -> Iterator[Family]:
    def each(name: str, kind: str, text: str, value: Callable[[Supervisor], float | None]) -> Family:
        told = [(kept.name, value(kept)) for kept in guests]
        samples = [Sample(found, {"guest": guest}) for guest, found in told if found is not None]
        return Family(name, "counter" if kind == "counter" else "gauge", text, samples)

    yield each("vmd_guest_up", "gauge", "1 where the guest runs.", lambda kept: kept.running is not None)
    yield each("vmd_guest_failed", "gauge", "1 where the guest failed.", lambda kept: kept.state == "failed")
    yield each(
        "vmd_guest_start_time_seconds",
        "gauge",
        "When its run began, in seconds since the epoch.",
        lambda kept: kept.running.since if kept.running else None,
    )
    yield each(
        "vmd_guest_restarts_total",
        "counter",
        "Times vmd started it again by itself, since vmd was started.",
        lambda kept: tally.restarts[kept.name],
    )
    yield each(
        "vmd_guest_crashes_total",
        "counter",
        "Runs that ended badly, since vmd was started.",
        lambda kept: tally.crashes[kept.name],
    )
    yield each(
        "vmd_guest_memory_bytes",
        "gauge",
        "Memory it is defined with.",
        lambda kept: kept.guest.memory if kept.guest else None,
    )
    yield each("vmd_guest_cpus", "gauge", "Its processors.", lambda kept: kept.guest.cpus if kept.guest else None)


def _qemu(used: dict[str, Usage]) -> Iterator[Family]:
    def each(name: str, text: str, value: Callable[[Usage], float | None]) -> Family:
        told = ((guest, value(found)) for guest, found in used.items())
        samples = [Sample(found, {"guest": guest}) for guest, found in told if found is not None]
        return Family(name, "counter" if name.endswith("_total") else "gauge", text, samples)

    yield each("vmd_guest_cpu_seconds_total", "CPU time of its QEMU.", lambda usage: usage.cpu_seconds)
    yield each("vmd_guest_resident_memory_bytes", "Memory its QEMU holds.", lambda usage: usage.memory)
    for index, name, text in (
        (0, "vmd_guest_disk_read_bytes_total", "Bytes read from its disks."),
        (1, "vmd_guest_disk_written_bytes_total", "Bytes written to its disks."),
        (2, "vmd_guest_disk_reads_completed_total", "Reads from its disks."),
        (3, "vmd_guest_disk_writes_completed_total", "Writes to its disks."),
    ):
        samples = [Sample(found.disk[index], {"guest": guest}) for guest, found in used.items() if found.disk]
        yield Family(name, "counter", text, samples)
    for index, name, text in (
        (0, "vmd_guest_network_receive_bytes_total", "Bytes it received, by NIC; not on QEMU's own NAT."),
        (1, "vmd_guest_network_transmit_bytes_total", "Bytes it sent, by NIC; not on QEMU's own NAT."),
    ):
        samples = [
            Sample(nic[index], {"guest": guest, "nic": str(number)})
            for guest, found in used.items()
            for number, nic in found.nics.items()
        ]
        yield Family(name, "counter", text, samples)


def _installs(tally: Tally) -> Iterator[Family]:
    text = "How long installs took that succeeded since vmd was started."
    yield histogram("vmd_install_duration_seconds", text, INSTALL_BOUNDS, tally.installs)
    failed = [Sample(tally.failed_installs)]
    yield Family("vmd_install_failures_total", "counter", "Installs that failed since vmd was started.", failed)


def _vmd(tally: Tally) -> Iterator[Family]:
    samples = [Sample(count, {"event": kind}) for kind, count in sorted(tally.events.items())]
    yield Family("vmd_events_total", "counter", "Events by kind, since vmd was started.", samples)
    late, tally.longest_delay = tally.longest_delay, 0.0
    yield _one("vmd_event_loop_delay_seconds", "How late the event loop came at worst since the last scrape.", late)
    own = process.own_usage()
    cpu = [Sample(own.cpu_seconds)]
    yield Family("process_cpu_seconds_total", "counter", "CPU time of vmd itself.", cpu)
    yield _one("process_resident_memory_bytes", "Memory of vmd itself.", own.rss_bytes)
    yield _one("process_open_fds", "Open file descriptors of vmd itself.", own.descriptors)
    yield _one("process_start_time_seconds", "When vmd was started, in seconds since the epoch.", _STARTED)


_STARTED = time.time()


def _one(name: str, text: str, value: float, **labels: str) -> Family:
    return Family(name, "gauge", text, [Sample(value, labels)])

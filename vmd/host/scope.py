"""A unit of systemd's for each guest: a transient scope in ``vmd.slice``, and its name in machined's list.

The door to systemd's manager is ``busctl``, which comes with it: one call a start needs no library. The scope
is asked for when the process runs already, so that vmd stays its parent and learns how it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmd.errors import CommandFailed, VmdError
from vmd.host.run import run

SLICE: Final = "vmd.slice"
GUESTS: Final = "vmd-guests.service"
"""What powers the guests down before the host goes; every scope is stopped after it."""

ANSWERS: Final = 10.0
"""How long systemd may take to answer, in seconds."""

TRIES: Final = 40
"""So often, 50 ms apart: the scope of the run before may need a moment to be gone, a new one a moment to be made."""

_MANAGER: Final = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_MACHINES: Final = ("org.freedesktop.machine1", "/org/freedesktop/machine1", "org.freedesktop.machine1.Manager")


@dataclass(frozen=True)
class Limits:
    """What a scope may use at most; None is without limit.

    ``cpu`` is a share of one processor (1.5: one and a half), ``memory`` bytes, ``io`` bytes read in a second,
    and as many written, on the device that ``disk`` lies on.
    """

    cpu: float | None = None
    memory: int | None = None
    io: int | None = None
    disk: str = "/"

    def properties(self) -> Iterator[tuple[str, ...]]:
        """Give the scope's properties, each with its type and value as busctl takes them (systemd 252)."""
        if self.cpu is not None:
            yield "CPUQuotaPerSecUSec", "t", str(round(self.cpu * 1e6))
        if self.memory is not None:
            yield "MemoryMax", "t", str(self.memory)
            yield "MemorySwapMax", "t", "0"
        if self.io is not None:
            for name in ("IOReadBandwidthMax", "IOWriteBandwidthMax"):
                yield name, "a(st)", "1", self.disk, str(self.io)


@dataclass(frozen=True)
class Scopes:
    """The system's manager, or with ``user`` the user's own."""

    user: bool = False

    async def put(self, name: str, pid: int, limits: Limits | None = None) -> None:
        """Put a process into the scope ``vmd-NAME.scope``; return when it is in there.

        :raise VmdError: systemd would not, or can't be asked.
        """
        properties = tuple(self._properties(name, pid, limits))
        words = [word for each in properties for word in each]
        argv = ("StartTransientUnit", "ssa(sv)a(sa(sv))", unit(name), "fail", str(len(properties)), *words, "0")
        for attempt in range(TRIES):
            try:
                await self._call(*_MANAGER, *argv)
                break
            except CommandFailed as error:
                if "already" not in error.output or attempt == TRIES - 1:
                    raise VmdError(f"systemd made no {unit(name)}: {error.output.strip()}") from error
                await asyncio.sleep(0.05)
        await self._until_in(name, pid)

    def _properties(self, name: str, pid: int, limits: Limits | None) -> Iterator[tuple[str, ...]]:
        yield "Description", "s", f"Guest {name} of vmd"
        yield "Documentation", "as", "1", "man:vmctl(1)"
        yield "Slice", "s", SLICE
        yield "CollectMode", "s", "inactive-or-failed"
        yield "PIDs", "au", "1", str(pid)
        if not self.user:
            yield "Before", "as", "1", GUESTS
        if limits is not None:
            yield from limits.properties()

    async def _until_in(self, name: str, pid: int) -> None:
        for _ in range(TRIES):
            if is_in(name, pid):
                return
            await asyncio.sleep(0.05)
        raise VmdError(f"process {pid} is not in {unit(name)}", f"see systemctl status {unit(name)}")

    async def register(self, name: str, pid: int, uuid: str) -> None:
        """Add it to machined's list where machined runs; elsewhere, and for a user's guest, do nothing."""
        if self.user:
            return
        octets = bytes.fromhex(uuid.replace("-", ""))
        argv = ("RegisterMachine", "sayssus", name, "16", *map(str, octets), "vmd", "vm", str(pid), "")
        with suppress(CommandFailed):
            await self._call(*_MACHINES, *argv)

    async def _call(self, *argv: str) -> str:
        bus = "--user" if self.user else "--system"
        options = (bus, "--quiet", "--auto-start=no", "call", "--")
        return await run(("busctl", *options, *argv), timeout=ANSWERS)


def unit(name: str) -> str:
    """The unit of a guest."""
    return f"vmd-{name}.scope"


def is_in(name: str, pid: int) -> bool:
    """Whether a process is in the scope of that name, cgroups(7)."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        return any(line.endswith(f"/{SLICE}/{unit(name)}") for line in lines)
    return False


def in_a_unit(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The argv that runs a program in a transient service of the system's own, with none of our restrictions.

    Its stdout is ours; it ends when nobody reads it any more.
    """
    return ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--slice={SLICE}", "--", *argv)

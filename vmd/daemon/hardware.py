"""Guests and the QEMU that is installed now: what each was pinned to, and whether it is the one that runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from ..errors import VmdError
from . import records
from .home import Home

DELETED = " (deleted)"
"""How the kernel marks the name of a program's file that was replaced under it (proc_pid_exe(5))."""


async def concerns(home: Home) -> AsyncIterator[tuple[str, str, str]]:
    """Each guest that an upgrade of QEMU concerns: its name, what is the matter, and what to do."""
    for name, guest in sorted(home.fleet.guests.items()):
        places = home.places(name, guest)
        try:
            held, booted = records.pins(places), records.booted(places)
            able = await home.facts.capabilities(guest.run_by.binary)
        except VmdError:
            continue  # a damaged record and a QEMU that isn't there have checks of their own
        board = able.machine(held.machine) if held else None
        if held and board is None:
            fact = f"{name} is pinned to {held.machine}, which this QEMU has no more"
            yield name, fact, f"vmctl upgrade {name}, when what it sees may change"
        elif held and board and board.deprecated:
            yield name, f"{name} is pinned to {held.machine}, which QEMU will drop", f"vmctl upgrade {name}, in time"
        if booted and booted.end is None and replaced(booted.process.pid):
            fact = f"{name} runs a QEMU (pid {booted.process.pid}) whose file was replaced"
            yield name, fact, f"vmctl restart {name}, to run the new one"


def replaced(pid: int) -> bool:
    """Whether a process runs a program whose file is not there any more."""
    try:
        return os.readlink(f"/proc/{pid}/exe").endswith(DELETED)  # noqa: PTH115 - not a path any more
    except OSError:
        return False  # it has ended, or is another user's

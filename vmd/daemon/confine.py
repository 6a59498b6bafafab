"""A guest's QEMU in a unit of its own, held to its limits, where systemd started vmd."""

from __future__ import annotations

from pathlib import Path

from ..definition.guest import Guest
from ..definition.layout import guest_uuid
from ..errors import Refused, VmdError
from ..host.process import Process
from ..host.scope import Limits, is_in
from .announce import Tell
from .home import Home


def check(guest: Guest, home: Home) -> None:
    """See that what the guest's definition asks for can be had.

    :raise Refused: it has limits, and there is nobody to hold its QEMU to them.
    """
    if guest.limits is not None and home.scopes is None:
        place = home.fleet.position("guests", guest.name, "limits")
        message = f"{guest.name}: limits are held by systemd, and it has not started this vmd"
        raise Refused(message, f"run vmd as a service (systemctl start vmd), or take limits out at {place}")


async def confine(guest: Guest, home: Home, process: Process, tell: Tell) -> None:
    """Put its QEMU into its scope, and its name on machined's list.

    Where that fails, a guest without limits runs on where it is, and the event says so.

    :raise VmdError: it has limits, and would run without them.
    """
    if home.scopes is None or is_in(guest.name, process.pid):
        return
    limits = _limits(guest, home)
    try:
        await home.scopes.put(guest.name, process.pid, limits)
    except VmdError as error:
        if not process.alive:
            return  # it ended by itself, and that is what there is to tell
        if limits is not None:
            raise
        tell("note", text=f"it runs beside vmd, in no unit of its own: {error.message}")
        return
    await home.scopes.register(guest.name, process.pid, guest_uuid(home.facts.fleet_id, guest.name))


def _limits(guest: Guest, home: Home) -> Limits | None:
    found = guest.limits
    if found is None:
        return None
    disk = str(Path(home.places(guest.name, guest).disk).parent)
    return Limits(found.cpu, found.memory, found.io, disk)

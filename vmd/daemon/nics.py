"""A running guest's NICs: pull a cable and plug it in, and write down what passes one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..definition.guest import Guest
from ..errors import UsageError, VmdError
from ..plan.step import SetLink
from . import alter
from .capture import capture
from .running import Running
from .supervise import Supervisor


def index(guest: Guest, named: str) -> int:
    """Which NIC is meant: by its network where that is on one alone, or by its number from 0.

    :raise UsageError: none, or several.
    """
    networks = [nic.network for nic in guest.nics]
    if networks.count(named) == 1:
        return networks.index(named)
    if named.isascii() and named.isdecimal() and int(named) < len(networks):
        return int(named)
    hint = ", ".join(f"{number} ({network})" for number, network in enumerate(networks))
    what = f"several NICs on {named}" if named in networks else f"no NIC {named}"
    raise UsageError(f"{guest.name} has {what}", f"name one by its number: {hint}" if hint else "")


def _held(kept: Supervisor, named: str) -> tuple[Running, int]:
    booted = kept.attendant.booted
    if kept.running is None or booted is None:
        raise VmdError(f"{kept.name} doesn't run", f"vmctl up {kept.name}")
    return kept.running, index(booted.guest, named)


async def set_link(kept: Supervisor, named: str, *, up: bool) -> None:
    """Pull the cable of a running guest's NIC, or plug it in; what the definition says holds again at its next start.

    :raise UsageError: it has no such NIC.
    :raise VmdError: it doesn't run.
    """
    running, number = _held(kept, named)
    await alter.running(running, SetLink(f"net{number}", up))


async def captured(kept: Supervisor, named: str) -> AsyncIterator[bytes]:
    """What passes a NIC from now on, as the pieces of a pcap file.

    :raise UsageError: it has no such NIC.
    :raise VmdError: it doesn't run.
    """
    running, number = _held(kept, named)
    return await capture(running, f"nic{number}")

"""What of a changed definition can be done to a guest while it runs, as steps."""

from __future__ import annotations

from ..definition.guest import Guest
from .cmdline import Place
from .drift import drift
from .step import GrowDisk, Live, Remember, SetLink, SetMemory, SetVnc


def live(guest: Guest, place: Place) -> tuple[Live, ...]:
    """The steps that make a running guest as it is defined, as far as that can be done while it runs.

    :raise Refused: its disk would shrink.
    """
    booted = place.observed.booted
    if booted is None or not place.observed.running:
        return ()
    changes = [change for change in drift(booted, guest, place.observed.ceiling) if change.effect == "live"]
    steps = [step for change in changes if (step := _live_step(change.key, guest, place)) is not None]
    return (*steps, Remember(tuple(change.key for change in changes))) if changes else ()


def _live_step(key: str, guest: Guest, place: Place) -> Live | None:
    """What has to be done at QEMU for one key; nothing for those that are vmd's own."""
    name, _, index = key.partition("[")
    match name:
        case "memory":
            return SetMemory(guest.memory)
        case "disk.size" if guest.disk and guest.disk.size:
            return GrowDisk(place.layout.disk, guest.disk.size, guest.disk.format)
        case "vnc" if guest.vnc:
            return SetVnc(place.layout.vnc, guest.vnc.address, guest.vnc.display)
        case "vnc":
            return SetVnc(place.layout.vnc)
        case "network":
            number = int(index.partition("]")[0])
            return SetLink(f"net{number}", guest.nics[number].link == "up")
    return None

"""Pinned hardware: what a guest's first start settles, and what stays so until its operator asks for an upgrade."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..definition.guest import Guest
from ..definition.layout import guest_uuid, mac
from ..errors import Refused
from .observed import HostFacts, Pins, QemuFacts
from .option import Option

ELSEWHERE = frozenset({"scsi-hd", "scsi-cd", "ide-hd", "ide-cd", "virtserialport", "loader"})
"""Devices that sit on another bus than PCI's root, or on none."""


def settled(guest: Guest, host: HostFacts, held: Pins | None) -> Pins:
    """What holds for this guest: what was settled before, and for the rest what this host would choose now."""
    fresh = _fresh(guest, host)
    if held is None:
        return fresh
    same_cpu = guest.cpu is None and held.accel == fresh.accel
    return Pins(
        machine=held.machine,
        accel=fresh.accel,
        cpu=held.cpu if same_cpu else fresh.cpu,
        uuid=held.uuid,
        macs=tuple(_macs(guest, fresh, held)),
        slots=held.slots,
    )


def _fresh(guest: Guest, host: HostFacts) -> Pins:
    qemu = host.qemu[guest.run_by.binary]
    accel = accelerator(guest, qemu)
    return Pins(
        machine=qemu.machines.get(guest.machine, guest.machine),
        accel=accel,
        cpu=guest.cpu or guest.run_by.cpu[accel],
        uuid=guest_uuid(host.fleet_id, guest.name),
        macs=tuple(nic.mac or mac(host.fleet_id, guest.name, index) for index, nic in enumerate(guest.nics)),
        slots={},
    )


def accelerator(guest: Guest, qemu: QemuFacts) -> str:
    """What executes the guest's code: ``kvm``, or ``tcg`` where the guest or its architecture leaves no choice."""
    accel = qemu.accel if guest.accel == "auto" else guest.accel
    return accel if accel in guest.run_by.cpu else "tcg"


def _macs(guest: Guest, fresh: Pins, held: Pins) -> Iterator[str]:
    """An address that is written is used; one that was settled stays; a new NIC gets a new one."""
    for index, nic in enumerate(guest.nics):
        kept = held.macs[index] if index < len(held.macs) else fresh.macs[index]
        yield nic.mac or kept


def upgrade(guest: Guest, host: HostFacts, held: Pins) -> tuple[str, ...]:
    """What would change for the guest, in words, if its operator asked for this QEMU's newest hardware."""
    fresh = _fresh(guest, host)
    pairs = (("machine", held.machine, fresh.machine), ("cpu", settled(guest, host, held).cpu, fresh.cpu))
    return tuple(f"{key}: {was} → {now}" for key, was, now in pairs if was != now)


def renewed(guest: Guest, host: HostFacts, held: Pins) -> Pins:
    """What is settled once the operator has asked for it: newest board and CPU, the same addresses and slots."""
    fresh = _fresh(guest, host)
    return replace(held, machine=fresh.machine, accel=fresh.accel, cpu=fresh.cpu)


def check(guest: Guest, qemu: QemuFacts, held: Pins | None) -> None:
    """See that this QEMU still has the board the guest was pinned to.

    :raise Refused: it hasn't, and what the guest sees would change.
    """
    if held is not None and qemu.machines and held.machine not in qemu.machines.values():
        raise Refused(
            f"{guest.name}: {qemu.binary} has no {held.machine} any more, which this guest is pinned to",
            f"vmctl upgrade {guest.name} lets it see {qemu.machines.get(guest.machine)} from its next start",
        )


def seated(options: tuple[Option, ...], free: range, held: Pins | None) -> tuple[Option, ...]:
    """Give each PCI device its slot: the one it had, or the lowest that is free; NICs choose first.

    :raise Refused: the board has no slot left.
    """
    names = {index: name for index, option in enumerate(options) if (name := _device(option))}
    slots = _assign(tuple(names.values()), free, held.slots if held else {})
    return tuple(
        replace(option, words=(option.words[0], f"{option.words[1]},addr={slots[names[index]]:#x}"))
        if index in names
        else option
        for index, option in enumerate(options)
    )


def slots_of(options: tuple[Option, ...]) -> Mapping[str, int]:
    """The slot of each device of a line: what is to be pinned."""
    found = {}
    for option in options:
        name = _device(option)
        if name and (parts := option.words[1].rsplit(",addr=", 1))[1:]:
            found[name] = int(parts[1], 16)
    return found


def _assign(names: tuple[str, ...], free: range, held: Mapping[str, int]) -> Mapping[str, int]:
    slots = dict(held)
    for name in sorted(names, key=lambda name: not name.startswith("net")):
        if name not in slots:
            slots[name] = next((slot for slot in free if slot not in slots.values()), -1)
        if slots[name] < 0:
            raise Refused(f"there is no PCI slot left for {name}", "give the guest fewer devices")
    return slots


def _device(option: Option) -> str | None:
    """The name of a device that has a slot: its id, or its kind where there is one of it."""
    if option.words[0] != "-device":
        return None
    kind, *words = option.words[1].split(",")
    if kind in ELSEWHERE:
        return None
    return next((word.removeprefix("id=") for word in words if word.startswith("id=")), kind)

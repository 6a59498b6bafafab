"""Guest → QEMU line, one function per device. Pure: the same guest and facts give the same line, to the letter.

The line is made of `Option`, each with the key of the definition it follows from, so that what QEMU says of
an option can be told as what is wrong with a line of YAML. Options are those of QEMU 7.2, and hold for 10.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..definition.machine import Bus
from ..definition.network import USER, Forward, Network, Nic
from ..definition.units import format_size
from . import cable, pins, uboot
from . import kernel as direct
from .observed import HostFacts, Observed, Pins, QemuFacts
from .option import Option

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
"""QEMU's seccomp filter: it may neither start programs, nor gain rights, nor change its own limits."""

IDE_PORTS = {"disk": "ide.0", "rootfs": "ide.1", "cd": "ide.1"}
"""Each drive's port on a board's own IDE or SATA: a port of q35's takes one, and QEMU picks the first for all."""


class Place(NamedTuple):
    """Where a guest lives and what it runs on: all a line needs besides the guest."""

    layout: GuestLayout
    host: HostFacts
    observed: Observed
    networks: Mapping[str, Network] = MappingProxyType({})

    def qemu(self, guest: Guest) -> QemuFacts:
        """The facts about the QEMU that runs this guest."""
        return self.host.qemu[guest.run_by.binary]

    def pins(self, guest: Guest) -> Pins:
        """What its first start settled of the hardware it sees, or what this one will settle."""
        return pins.settled(guest, self.host, self.observed.pins)


def boot_line(guest: Guest, place: Place) -> tuple[Option, ...]:
    """The line of a guest that runs from its own disk, image or kernel, each device in its own slot."""
    parts = (_frame(guest, place), _contents(guest, place), _screen(guest, place), _extras(guest, place))
    return pins.seated(tuple(chain(*parts)), guest.board.slots, place.observed.pins)


def install_line(guest: Guest, place: Place, iso: str, cdrom: Bus) -> tuple[Option, ...]:
    """The line of an installer: a blank disk first, the keys on a FAT drive, the CD to boot from.

    Its disk is written without flushes (``no-flush``): until it is accepted nobody relies on it. No port of the host
    leads to it: nobody has anything to do there, and it may take long enough for a port to be taken.
    """
    nics = tuple(nic.model_copy(update={"forward": ()}) for nic in guest.network)
    guest = guest.model_copy(update={"network": nics, "forward": ()})
    place = place._replace(observed=replace(place.observed, ssh_port=0))
    return (
        *_frame(guest, place, once=True),
        *firmware(guest, place),
        *disk(guest, place.layout.disk_tmp, bootindex=1, throwaway=True),
        *seed(guest, place),
        *cd(cdrom, iso, "install", bootindex=0),
        *_screen(guest, place),
        *_extras(guest, place),
    )


def _frame(guest: Guest, place: Place, *, once: bool = False) -> Iterator[Option]:
    """What every line begins with."""
    qemu = place.qemu(guest)
    yield from identity(guest, place)
    yield from board(guest, place.pins(guest))
    yield Option("memory", ("-m", format_size(guest.memory)))
    yield Option("cpus", ("-smp", str(guest.cpus)))
    yield Option("", ("-nodefaults",))
    yield Option("", ("-no-user-config",))
    # a guest that turned itself off stays, paused, until somebody has seen that it did
    reboot = "shutdown" if once else "reset"
    yield Option("", ("-action", f"shutdown=pause,panic=pause,watchdog=reset,reboot={reboot}"))
    if qemu.sandbox:
        yield Option("", ("-sandbox", SANDBOX))
    yield from monitors(place)
    yield from console(place, install=once)


def _contents(guest: Guest, place: Place) -> Iterator[Option]:
    yield from firmware(guest, place)
    yield from kernel(guest, place)
    if guest.disk or guest.image:
        # a PC's -kernel is itself what boots first
        yield from disk(guest, place.layout.disk, bootindex=None if guest.boot else 0)
    yield from rootfs(guest, place)
    if guest.image:
        yield from seed(guest, place)


def _extras(guest: Guest, place: Place) -> Iterator[Option]:
    for index, nic in enumerate(guest.nics):
        yield from interface(guest, place, index, nic)
    for device in (guest.board.rng, guest.board.panic, guest.board.watchdog):
        if device:
            yield Option("machine", ("-device", device))
    if guest.board.balloon:
        yield Option("memory", ("-device", f"{guest.board.balloon},id=balloon"))
    yield from agent(guest, place)


def identity(guest: Guest, place: Place) -> Iterator[Option]:
    """Who the guest is, to itself (SMBIOS UUID) and to whoever lists processes."""
    yield Option("", ("-name", f"guest={guest.name},debug-threads=on"))
    yield Option("", ("-uuid", place.pins(guest).uuid))


def board(guest: Guest, pinned: Pins) -> Iterator[Option]:
    """The board by its versioned name, what executes its code, and its processor."""
    yield Option("machine", ("-machine", _options(pinned.machine, **guest.board.options)))
    yield Option("accel", ("-accel", pinned.accel))
    yield Option("cpu", ("-cpu", pinned.cpu))


def monitors(place: Place) -> Iterator[Option]:
    """Two QMP monitors: ``qmp`` is vmd's own, ``monitor`` is the operator's (one client each)."""
    for name, path in (("qmp", place.layout.qmp), ("monitor", place.layout.monitor)):
        yield Option("", ("-chardev", _options("socket", id=name, path=path, server="on", wait="off")))
        yield Option("", ("-mon", f"chardev={name},mode=control"))


def console(place: Place, *, install: bool = False) -> Iterator[Option]:
    """The serial console: a socket for vmd, and a log that is complete from its first byte, attached or not."""
    log = place.layout.install_log if install else place.layout.console_log
    socket = {"id": "console", "path": place.layout.console, "server": "on", "wait": "off"}
    yield Option("", ("-chardev", _options("socket", **socket, logfile=log, logappend="on")))
    yield Option("", ("-serial", "chardev:console"))


def firmware(guest: Guest, place: Place) -> Iterator[Option]:
    """UEFI's code, shared and read-only, and this guest's own copy of the variables."""
    found = place.host.firmware
    if guest.firmware != "uefi" or found is None:
        return
    for unit, (path, fixed) in enumerate(((found.code, True), (place.layout.firmware_vars, False))):
        node = {"driver": "raw", "node-name": f"pflash{unit}", "read-only": fixed, "file": _file(path, fixed)}
        yield Option("firmware", ("-blockdev", json.dumps(node)))
        yield Option("firmware", ("-machine", f"pflash{unit}=pflash{unit}"))


def kernel(guest: Guest, place: Place) -> Iterator[Option]:
    """What starts a guest without a firmware that boots its disk: a kernel, or its board's boot loader."""
    boot, images = guest.boot, place.observed.images
    if boot and boot.uboot:
        yield from uboot.options(place.layout)
    elif boot:
        yield from direct.options(guest, direct.given(boot, place.layout, images), images)


def disk(guest: Guest, path: str, bootindex: int | None, *, throwaway: bool = False) -> Iterator[Option]:
    """The guest's disk. A full host disk pauses the guest (``werror=stop``) instead of failing its writes."""
    form = guest.disk.format if guest.disk else "qcow2"
    cache = {"cache": {"no-flush": True}} if throwaway else {}
    file = {**_file(path, False), **cache}
    node = {"driver": form, "node-name": "disk", "discard": "unmap", **cache, "file": file}
    yield Option("disk", ("-blockdev", json.dumps(node)))
    bus = guest.board.disk_buses[guest.disk_bus]
    yield from _controller(bus, "disk", "disk.bus")
    yield Option("disk.bus", ("-device", _drive(bus, "disk", bootindex, werror="stop", rerror="report")))


def rootfs(guest: Guest, place: Place) -> Iterator[Option]:
    """The root file system of a kernel: a CD, or a disk that is a linked clone of the image."""
    if guest.boot is None or guest.boot.seen_as not in ("cdrom", "disk"):
        return
    use = direct.given(guest.boot, place.layout, place.observed.images)
    if use.clone:
        node = {"driver": "qcow2", "node-name": "rootfs", "file": _file(use.clone, False)}
        yield Option("boot.rootfs", ("-blockdev", json.dumps(node)))
        bus = guest.board.disk_buses[guest.boot.bus or guest.disk_bus]
        yield from _controller(bus, "rootfs", "boot.root")
        yield Option("boot.root", ("-device", _drive(bus, "rootfs", None)))
    elif use.rootfs:
        yield from cd(guest.board.cdrom, use.rootfs, "boot.rootfs")


def cd(bus: Bus, path: str, key: str, bootindex: int | None = None) -> Iterator[Option]:
    """A CD."""
    yield Option(key, ("-blockdev", _read_only("cd", path)))
    yield from _controller(bus, "cd", key)
    yield Option(key, ("-device", _drive(bus, "cd", bootindex)))


def seed(guest: Guest, place: Place) -> Iterator[Option]:
    """The virtual FAT drive: QEMU makes it of a directory, or takes the image made where it can't."""
    if place.qemu(guest).vvfat:
        directory = place.layout.seed
        fat = {"driver": "vvfat", "dir": directory, "floppy": True, "label": "CIDATA", "read-only": True}
        node = json.dumps({**fat, "node-name": "seed"})
    else:
        node = _read_only("seed", place.layout.seed_image)
    yield Option("ssh_keys", ("-blockdev", node))
    yield Option("ssh_keys", ("-device", _drive(guest.board.fat, "seed", None)))


def interface(guest: Guest, place: Place, index: int, nic: Nic) -> Iterator[Option]:
    """One NIC, and the other end of its cable: QEMU's own NAT, a tap in a bridge, or a switch's socket."""
    if nic.network == USER:
        yield Option("forward", ("-netdev", _own_nat(guest, place, index, nic)))
    else:
        yield Option("network", ("-netdev", cable.netdev(guest, index, place.host)))
    address = place.pins(guest).macs[index]
    # without its option ROM the firmware doesn't stop to try a boot over the network
    device = _options(nic.model or guest.board.nic, netdev=f"nic{index}", id=f"net{index}", mac=address)
    yield Option("network", ("-device", device + ",romfile="))


def _own_nat(guest: Guest, place: Place, index: int, nic: Nic) -> str:
    """QEMU's own NAT, with the NIC's forwards; those of the first NIC on it include the port that leads to ssh."""
    ports = [_forward(forward) for forward in nic.forward]
    first = all(other.network != USER for other in guest.nics[:index])
    if first and place.observed.ssh_port:
        ports.insert(0, f"tcp:127.0.0.1:{place.observed.ssh_port}-:22")
    words = _options("user", id=f"nic{index}") + "".join(f",hostfwd={port}" for port in ports)
    return words + direct.netdev(guest, index)


def _forward(forward: Forward) -> str:
    return f"{forward.protocol}:{forward.address}:{forward.host}-:{forward.guest}"


def _screen(guest: Guest, place: Place) -> Iterator[Option]:
    """Its screen: on the address it asks for, else on a socket in its runtime directory."""
    if guest.board.video is None:
        yield Option("vnc", ("-display", "none"))
        return
    if guest.board.video:
        yield Option("vnc", ("-device", guest.board.video))
    if guest.vnc:
        listen = f"[{guest.vnc.address}]" if ":" in guest.vnc.address else guest.vnc.address
        yield Option("vnc", ("-vnc", f"{listen}:{guest.vnc.display}"))
    else:
        yield Option("vnc", ("-vnc", f"unix:{_escape(place.layout.vnc)}"))


def agent(guest: Guest, place: Place) -> Iterator[Option]:
    """The guest agent's port, where the board has a bus for it (the name is the agent's own convention)."""
    if not guest.board.serial_bus:
        return
    yield Option("", ("-device", guest.board.serial_bus))
    path = place.layout.agent
    yield Option("", ("-chardev", _options("socket", id="agent", path=path, server="on", wait="off")))
    yield Option("", ("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"))


def _controller(bus: Bus, name: str, key: str) -> Iterator[Option]:
    if bus.controller:
        yield Option(key, ("-device", f"{bus.controller},id={name}-bus"))


def _drive(bus: Bus, node: str, bootindex: int | None, **more: str) -> str:
    ide = {"bus": IDE_PORTS[node]} if bus.device.startswith("ide-") else {}
    on = {"bus": f"{node}-bus.0"} if bus.controller else ide
    order = {} if bootindex is None else {"bootindex": str(bootindex)}
    return _options(bus.device, drive=node, id=f"{node}-drive", **on, **order, **more)


def _file(path: str, fixed: bool) -> dict[str, object]:
    # a path goes in as JSON: no comma, colon or "json:" in it means anything to QEMU
    return {"driver": "file", "filename": path, "read-only": fixed}


def _read_only(node: str, path: str) -> str:
    return json.dumps({"driver": "raw", "node-name": node, "read-only": True, "file": _file(path, True)})


def _options(first: str, **more: object) -> str:
    return ",".join((_escape(first), *(f"{key}={_escape(str(value))}" for key, value in more.items())))


def _escape(value: str) -> str:
    """A comma inside a value is doubled (qemu(1), option syntax)."""
    return value.replace(",", ",,")


def words(options: Iterable[Option]) -> Iterator[str]:
    """One line of text for each option, for people and golden files."""
    return (" ".join(option.words) for option in options)

"""The options of each device, to the letter. A new board, bus or NIC adds a section: read the diff."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from vmd.definition.guest import Guest
from vmd.definition.machine import MACHINES, Machine
from vmd.plan import cmdline
from vmd.plan.option import Option
from vmd.plan.reconcile import IDE_CD, SCSI_CD

from .conftest import GOLDEN, guest, host, place, sections

Golden = Callable[..., None]
Parts = dict[str, Iterable[Option]]

BOOT = {"kernel": "vmlinux"}
ODD = "a, b: c=d.img"


def on(board: Machine, **written: Any) -> Guest:
    """A guest that any board can be."""
    return guest(**{"machine": board.name, "boot": BOOT, **written})


def identity() -> Parts:
    return {name: cmdline.identity(alice, place(alice)) for name in ("alice", "bob") for alice in [named(name)]}


def named(name: str) -> Guest:
    return guest(name=name, boot=BOOT)


def of(alice: Guest, found: str) -> Iterator[Option]:
    return cmdline.board(alice, place(alice, on=host(accel=found)).pins(alice))


def board() -> Parts:
    rows = ((row, arch) for row in MACHINES.values() for arch in row.arches)
    parts: Parts = {}
    for row, arch in rows:
        for found in ("tcg", "kvm"):
            parts[f"{row.name} {arch} where {found} is found"] = of(on(row, arch=arch), found)
    q35 = MACHINES["q35"]
    parts["accel: tcg where kvm is found"] = of(on(q35, accel="tcg"), "kvm")
    parts["a CPU with flags"] = of(on(q35, cpu="qemu64,+aes,-sse4.2"), "kvm")
    return parts


def monitors() -> Parts:
    return {"both": cmdline.monitors(place(guest(boot=BOOT)))}


def console() -> Parts:
    where = place(guest(boot=BOOT))
    return {"run": cmdline.console(where), "install": cmdline.console(where, install=True)}


def firmware() -> Parts:
    made = {"bios": guest(image="b.qcow2"), "uefi": guest(image="b.qcow2", firmware="uefi")}
    return {word: cmdline.firmware(alice, place(alice)) for word, alice in made.items()}


def kernel() -> Parts:
    written: dict[str, dict[str, Any]] = {
        "alone": BOOT,
        "all of it": {**BOOT, "initrd": ODD, "rootfs": ODD, "cmdline": 'init=/bin/sh dyndbg="file  a"'},
        "console and root of one's own": {**BOOT, "rootfs": ODD, "cmdline": "console=tty0 root=LABEL=x"},
    }
    guests = {f"{row.name}: {title}": on(row, boot=boot) for row in boards() for title, boot in written.items()}
    second = {**BOOT, "rootfs": ODD, "root": "disk"}
    guests["root: disk"] = guest(boot=second)
    guests["root: disk, beside a disk"] = guest(boot=second, disk="1G")
    guests["root: disk, beside a SCSI disk"] = guest(boot=second, disk={"size": "1G", "bus": "scsi"})
    guests["root: initramfs"] = on(MACHINES["malta"], boot={**BOOT, "root": "initramfs"})
    guests |= routers()
    guests["none"] = guest(image="b.qcow2")
    return {title: cmdline.kernel(alice, place(alice)) for title, alice in guests.items()}


def routers() -> dict[str, Guest]:
    """What a board boots from RAM or over the network."""
    phram: dict[str, Any] = {"phram": {"address": "0x81178000", "size": "9M"}}
    tftp: dict[str, Any] = {"tftp": {"directory": "."}}
    firmware = {"tftp": {"directory": ".", "uboot": "u-boot.bin"}}
    roots = {"phram": phram, "tftp": tftp, "phram and tftp": {**phram, **firmware}, "tftp by a U-Boot": firmware}
    boot = {**BOOT, "rootfs": ODD}
    malta = MACHINES["malta"]
    more = {"phram, with words of one's own": {**boot, "root": phram, "cmdline": "root=/dev/mtdblock2 mtdparts=x:-"}}
    made = {f"root: {title}": {**boot, "root": root} for title, root in roots.items()} | more
    return {title: on(malta, boot=written) for title, written in made.items()}


def boards() -> Iterator[Machine]:
    yield from MACHINES.values()


def disk() -> Parts:
    parts: Parts = {}
    for row in boards():
        for bus in row.disk_buses:
            alice = on(row, disk={"size": "1G", "bus": bus})
            parts[f"{row.name} {bus}"] = cmdline.disk(alice, place(alice).layout.disk, 0)
    raw = guest(boot=BOOT, disk={"path": ODD, "format": "raw"})
    parts["raw, in a place of its own"] = cmdline.disk(raw, place(raw).layout.disk, 0)
    parts["being installed"] = cmdline.disk(raw, place(raw).layout.disk_tmp, 1, throwaway=True)
    clone = guest(image="b.qcow2")
    parts["a clone"] = cmdline.disk(clone, place(clone).layout.disk, 0)
    return parts


def rootfs() -> Parts:
    guests = {"none": guest(boot=BOOT)} | routers()
    for row in boards():
        for bus in row.disk_buses:
            boot = {**BOOT, "rootfs": ODD, "root": "disk"}
            guests[f"{row.name} disk {bus}"] = on(row, boot=boot, disk={"size": "1G", "bus": bus})
        guests[f"{row.name} cdrom"] = on(row, boot={**BOOT, "rootfs": ODD, "root": "cdrom"})
    return {title: cmdline.rootfs(alice, place(alice)) for title, alice in guests.items()}


def cd() -> Parts:
    buses = {f"{row.name}'s own": row.cdrom for row in boards()} | {"SCSI": SCSI_CD, "IDE": IDE_CD}
    return {title: cmdline.cd(bus, f"/srv/{ODD}", "install", 0) for title, bus in buses.items()}


def seed() -> Parts:
    alice = guest(image="b.qcow2")
    return {
        f"{row.name}, {'with' if vvfat else 'without'} vvfat": cmdline.seed(
            on(row), place(alice, on=host(vvfat=vvfat))
        )
        for row in boards()
        for vvfat in (True, False)
    }


def interface() -> Parts:
    parts: Parts = {}
    for row in boards():
        for model in row.nics:
            alice = on(row, network={"network": "user", "model": model})
            parts[f"{row.name} {model}"] = cmdline.interface(alice, place(alice), 0, alice.nics[0])
    one = guest(boot=BOOT, network={"network": "user", "mac": "52:54:00:AB:CD:EF"})
    parts["a MAC address of its own, no way to ssh"] = cmdline.interface(one, place(one, ssh_port=0), 0, one.nics[0])
    two = guest(boot=BOOT, network=["user", "user"])
    parts["the second NIC"] = cmdline.interface(two, place(two), 1, two.nics[1])
    return parts


def forwards() -> Parts:
    one = guest(boot=BOOT, forward=["8080:80", "0.0.0.0:5353:53/udp"])
    two = guest(boot=BOOT, forward=["8080:80"], network=["user", {"network": "user", "forward": ["4433:443"]}])
    return {
        "two": cmdline.interface(one, place(one), 0, one.nics[0]),
        "the guest's own go to the first NIC": cmdline.interface(two, place(two), 0, two.nics[0]),
        "and a NIC's own to it": cmdline.interface(two, place(two), 1, two.nics[1]),
    }


def screen() -> Parts:
    parts: Parts = {row.name: cmdline._screen(on(row), place(on(row))) for row in boards()}
    for vnc in ("127.0.0.1:1", "0.0.0.0:1", "[::1]:1"):
        parts[vnc] = cmdline._screen(guest(boot=BOOT, vnc=vnc), place(guest(boot=BOOT)))
    odd = place(guest(boot=BOOT), "/a, b: c")
    return {**parts, "a comma in the socket's path": cmdline._screen(guest(boot=BOOT), odd)}


def agent() -> Parts:
    return {row.name: cmdline.agent(on(row), place(on(row))) for row in boards()}


DEVICES = (
    identity,
    board,
    monitors,
    console,
    firmware,
    kernel,
    disk,
    rootfs,
    cd,
    seed,
    interface,
    forwards,
    screen,
    agent,
)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.__name__)
def test_a_device_is_as_it_was(device: Callable[[], Parts], golden: Golden) -> None:
    golden(GOLDEN / "device" / f"{device.__name__}.txt", sections(device()))


def test_every_function_that_makes_options_is_here() -> None:
    made = {
        name.strip("_")
        for name, value in vars(cmdline).items()
        if getattr(value, "__annotations__", {}).get("return") in ("Iterator[Option]", "tuple[Option, ...]")
    }
    whole = {"boot_line", "install_line", "frame", "contents", "extras", "controller"}  # tests of whole lines
    assert made - whole == {device.__name__ for device in DEVICES} - {"forwards"}


def test_golden_files_of_devices_that_are_gone_are_gone() -> None:
    assert {path.stem for path in (GOLDEN / "device").iterdir()} == {device.__name__ for device in DEVICES}

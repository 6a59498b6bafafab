"""The files that a guest's QEMU line speaks of, as real as QEMU wants them before it runs a guest."""

from __future__ import annotations

import struct
from pathlib import Path

from vmd.definition.guest import Guest
from vmd.definition.machine import MALTA, VIRT
from vmd.host import disk
from vmd.plan.cmdline import Place
from vmd.plan.observed import Firmware

M = 1 << 20


async def furnish(alice: Guest, where: Place, iso: str) -> None:
    """Make a guest's directories and all its files, also those that only another line of it needs."""
    layout = where.layout
    for directory in (layout.dir, layout.runtime, layout.seed):
        Path(directory).mkdir(parents=True)
    Path(layout.seed, "ssh.pub").write_text("ssh-ed25519 AAAA\n")
    _blank(layout.seed_image, 1440 * 1024)
    for path in (*where.host.isos.values(), iso):
        _blank(path, M)
    if where.host.firmware:
        _make_firmware(where.host.firmware, layout.firmware_vars, alice)
    _make_kernel(alice)
    await _make_disks(alice, where)


async def _make_disks(alice: Guest, where: Place) -> None:
    boot = alice.boot
    if boot and boot.rootfs and boot.seen_as == "disk":
        Path(where.layout.images).mkdir()
        clone = Path(where.layout.images, "rootfs.qcow2")
        await disk.create(clone, M, format="qcow2", backing=Path(boot.rootfs), backing_format="raw")
    base = Path(alice.image.path) if alice.image else None
    if base and alice.image:
        base.parent.mkdir(parents=True, exist_ok=True)
        await disk.create(base, 8 * M, format=alice.image.format)
    for path in (where.layout.disk, where.layout.disk_tmp):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        form = alice.disk.format if alice.disk else "qcow2"
        of = alice.image.format if alice.image else None
        await disk.create(Path(path), 8 * M, format=form, backing=base, backing_format=of)


def _blank(path: str, size: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("wb") as file:
        file.truncate(size)


def _make_firmware(found: Firmware, own: str, alice: Guest) -> None:
    """Blank flash: virt's is 64 MiB each, a PC's at most 8 MiB together (QEMU 7.2)."""
    for path in (found.code, own):
        _blank(path, 64 * M if alice.machine == VIRT.name else 2 * M)


def _make_kernel(alice: Guest) -> None:
    boot = alice.boot
    if boot is None:
        return
    for path in (boot.initrd, boot.rootfs):
        if path:
            _blank(path, M)
    _blank(boot.kernel, M)
    if alice.machine == MALTA.name:
        Path(boot.kernel).write_bytes(elf(big="el" not in alice.arch))
    elif alice.machine != VIRT.name:
        Path(boot.kernel).write_bytes(_bzimage())


def _bzimage() -> bytes:
    """The least that QEMU takes for Linux on a PC (Documentation/x86/boot.rst, protocol 2.12)."""
    image = bytearray(64 * 1024)
    image[0x1F1] = 1  # one sector of set-up
    image[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x020C)
    image[0x211] = 1  # loaded high
    image[0x22C:0x230] = struct.pack("<I", 0x7FFFFFFF)  # where an initrd may end
    return bytes(image)


def elf(*, big: bool) -> bytes:
    """A MIPS ELF of one segment of four zero bytes at 0x80100000."""
    order, start = ">" if big else "<", 0x80100000
    ident = b"\x7fELF" + bytes([1, 2 if big else 1, 1]) + bytes(9)
    header = struct.pack(f"{order}HHIIIIIHHHHHH", 2, 8, 1, start, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack(f"{order}8I", 1, 84, start, start, 4, 4, 5, 4)
    return ident + header + segment + bytes(4)

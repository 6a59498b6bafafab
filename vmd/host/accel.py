"""Whether KVM is really usable here: found out by running something under it.

A /dev/kvm that opens, knows its version and creates a VM proves nothing: where virtualisation is only half passed
on to the machine we are on, all of that works, firmware runs, and a 64-bit kernel stops for ever. So a boot sector
of our own (``probe.S``) enters 64-bit mode with paging, works, and says that it is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmd.errors import CommandFailed, QemuFailed, TimedOut
from vmd.host.credentials import Credentials
from vmd.host.qemu import identity
from vmd.host.run import run

SECTOR = bytes.fromhex(
    "fa fc 31c0 8ed8 8ec0"  # no interrupts; ds = es = 0
    "bf0010 b90018 f3ab"  # three empty page tables from 0x1000 on
    "c70600100320 c70600200330 c70600308300"  # … which map the first 2 MiB one to one
    "0f0116 907c"  # lgdt
    "66b820000000 0f22e0"  # cr4: physical address extension
    "66b800100000 0f22d8"  # cr3: the page tables
    "66b9800000c0 0f32 0d0001 0f30"  # EFER: long mode enable
    "66b801000080 0f22c0"  # cr0: paging and protection
    "ea547c0800"  # far jump: 64-bit from here on
    "b9005a6202 bc00900000"  # 40 million turns, a stack
    "e808000000 ffc9 75f7"  # turn: call work, count down
    "b02a e6f4"  # done: 0x2a to isa-debug-exit
    "4801c8 488904250080 0000 c3"  # work: add, store, return
    "f4 ebfd"  # stop
).ljust(0x80, b"\0")
SECTOR += bytes.fromhex("0000000000000000 00000000009a2000 0f00 807c0000").ljust(510 - 0x80, b"\0") + b"\x55\xaa"
"""What ``as`` makes of probe.S; a test compares."""

DONE = 0x2A * 2 + 1
"""QEMU's exit status once the sector is done: isa-debug-exit doubles what it is told, and adds one."""

IMAGE_SIZE = 1024 * 1024
"""Bytes: SeaBIOS boots no disk of less than one cylinder."""

TCG_LIMIT = 60.0
"""Seconds after which TCG is called as slow as vmd reckons with."""

REFERENCE = 0.6
"""Seconds that TCG took for the sector on the machine where vmd's timeouts were measured (QEMU 7.2, start and
firmware included; a Debian kernel reaches its first process there in 2 s)."""


@dataclass(frozen=True)
class Accel:
    """How guests run here, and why.

    ``reason`` is a sentence; ``remedy`` says how to have KVM, or is "". The seconds are those of the fixed work,
    None where it was not run or not finished. ``tcg_scale`` is how many times slower TCG is here than where vmd's
    timeouts were measured, from 1 to 10: what waits for a guest under TCG waits so much longer.
    """

    kind: Literal["kvm", "tcg"]
    reason: str
    remedy: str
    tcg_seconds: float | None
    kvm_seconds: float | None
    tcg_scale: float


async def probe_accel(  # noqa: PLR0913 - what the answer depends on
    binary: str,
    *,
    limit: float = 3.0,
    user: Credentials | None = None,
    device: str = "/dev/kvm",
    cpu: str = "host",
    architecture: str = os.uname().machine,
) -> Accel:
    """Race KVM against TCG with a ``qemu-system-x86_64``, as the user who will run it; about 1 s where KVM works.

    KVM must finish sooner than TCG and within ``limit`` seconds, on the ``cpu`` model that guests will get.
    A race lost is run once more, since the machine may have been busy.

    :raise VmdError: there is no such binary.
    :raise QemuFailed: not even TCG runs the sector.
    """
    identity(binary)
    with tempfile.TemporaryDirectory(prefix="vmd-probe-") as directory:
        image = _image(Path(directory))
        tcg, scale = await _tcg(binary, image, user)
        if obstacle := await _obstacle(binary, device, architecture, user):
            return Accel("tcg", *obstacle, tcg, None, scale)
        try:
            kvm = await _seconds(binary, ("kvm", cpu), image, limit, user)
            if tcg is not None and kvm >= tcg:
                kvm = min(kvm, await _seconds(binary, ("kvm", cpu), image, limit, user))
        except TimedOut:
            reason = f"{device} opens, but is useless: a 64-bit guest did not finish in {limit:g} s what takes TCG "
            return Accel("tcg", reason + (f"{tcg:.1f} s" if tcg else "longer"), NESTED, tcg, None, scale)
        except CommandFailed as error:
            reason = f"{device} opens, but is useless: QEMU failed with it ({_said(error)})"
            return Accel("tcg", reason, NESTED, tcg, None, scale)
    if tcg is not None and kvm >= tcg:
        reason = f"{device} works, but slower than TCG: {kvm:.1f} s for what takes TCG {tcg:.1f} s"
        return Accel("tcg", reason, NESTED, tcg, kvm, scale)
    reason = f"KVM works: a 64-bit guest finished in {kvm:.1f} s what takes TCG {tcg or TCG_LIMIT:.1f} s"
    return Accel("kvm", reason, "", tcg, kvm, scale)


NESTED = (
    "if this host is itself a virtual machine, its hypervisor must pass virtualisation on to it (nested "
    "virtualisation); on a real machine, update its firmware and kernel"
)


async def _obstacle(binary: str, device: str, architecture: str, user: Credentials | None) -> tuple[str, str] | None:
    """Say why KVM need not be tried, and the remedy; None where it may work."""
    if architecture != "x86_64":
        return f"KVM runs guests of the host's own kind only: this is an {architecture} host, not x86-64", ""
    if "kvm" not in await run((binary, "-accel", "help"), timeout=20):
        return f"{binary} was built without KVM", "install Debian's: apt install qemu-system-x86"
    if not Path(device).exists():
        return (
            f"there is no {device}",
            "switch on VT-x or AMD-V in the firmware (BIOS) setup, then: modprobe kvm_intel, or kvm_amd",
        )
    try:
        await run(("test", "-r", device, "-a", "-w", device), timeout=20, user=user)
    except CommandFailed:
        who = f"user {user.uid}" if user else f"user {os.geteuid()}"
        return f"{who} may not use {device}", "add the user that runs QEMU to group kvm: adduser USER kvm"
    return None


def _image(directory: Path) -> Path:
    """Write the boot sector to a disk that any user can read."""
    directory.chmod(0o755)
    image = directory / "probe.img"
    image.write_bytes(SECTOR)
    image.chmod(0o644)
    os.truncate(image, IMAGE_SIZE)
    return image


async def _tcg(binary: str, image: Path, user: Credentials | None) -> tuple[float | None, float]:
    """Run the work under TCG: its seconds, None beyond the limit, and the scale that follows."""
    try:
        seconds = await _seconds(binary, ("tcg", "qemu64"), image, TCG_LIMIT, user)
    except TimedOut:
        return None, 10.0
    except CommandFailed as error:
        raise QemuFailed(f"{binary} can't run the simplest guest: {_said(error)}") from error
    return seconds, tcg_scale(seconds)


def tcg_scale(seconds: float) -> float:
    """How many times slower than the reference a machine is that needed so many seconds, from 1 to 10."""
    return round(min(max(seconds / REFERENCE, 1.0), 10.0), 2)


async def _seconds(binary: str, how: tuple[str, str], image: Path, limit: float, user: Credentials | None) -> float:
    """Let a guest do the work, and say how long it took, start and firmware included."""
    accel, cpu = how
    disk = {"driver": "file", "node-name": "probe", "filename": str(image), "read-only": True}
    qemu = (
        *(binary, "-machine", "q35", "-accel", accel, "-cpu", cpu, "-m", "32"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-blockdev", json.dumps(disk), "-device", "virtio-blk-pci,drive=probe"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
    )
    # timeout(1) ends a guest that never will, even if vmd itself is killed while it waits.
    bounded = ("timeout", "--foreground", "--signal=KILL", f"{limit + 5:g}", *qemu)
    started = asyncio.get_running_loop().time()
    await run(bounded, timeout=limit, accept=(DONE,), user=user)
    return asyncio.get_running_loop().time() - started


def _said(error: CommandFailed) -> str:
    """QEMU's own reason: its first line that is no warning, without its name in front."""
    lines = [line for line in error.output.splitlines() if line.strip() and "warning:" not in line]
    if lines:
        return re.sub(r"^\S*qemu-system-\w+: (error: )?", "", lines[0])
    return f"exit status {error.status}" if error.status else "the guest crashed"

"""Is this host fit to keep guests? Each check says what is, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from ..definition.units import format_size
from ..errors import VmdError
from ..host import qemu
from ..host.notify import lingers
from ..installer import debian
from . import hardware
from .access import user
from .facts import X86
from .home import Home

ROOM = 5 << 30
"""Free bytes below which the next install is likely to fail."""


class Check(NamedTuple):
    """One thing looked at; ``remedy`` is what to do, and empty where nothing is to be done."""

    name: str
    ok: bool
    fact: str
    remedy: str = ""


async def examine(home: Home) -> dict[str, Any]:
    """Everything that is looked at, and what runs guests here."""
    checks = [check async for check in _checks(home)]
    accel = "tcg"
    if shutil.which(X86):
        accel = (await home.facts.accel(X86)).kind
    return {"checks": [check._asdict() for check in checks], "accel": accel}


async def _checks(home: Home) -> AsyncIterator[Check]:
    binaries = {guest.run_by.binary for guest in home.fleet.guests.values()} | {X86}
    for binary in sorted(binaries):
        yield await _qemu(home, binary)
    if shutil.which(X86):
        how = await home.facts.accel(X86)
        yield Check("kvm", how.kind == "kvm", how.reason, how.remedy)
        yield await _vvfat(home)
    yield _program("qemu-img", "qemu-utils")
    yield _program("ssh", "openssh-client")
    for program, package in debian.missing_programs():
        yield Check(program, False, f"{program} is not installed; no ISO can be built", f"apt install {package}")
    if not debian.missing_programs():
        yield Check("iso", True, "everything needed to build installer ISOs is installed")
    yield _room(home.layout.directories.state)
    yield _user(home)
    if (lingering := _linger()) is not None:
        yield lingering
    async for name, fact, remedy in hardware.concerns(home):
        yield Check(name, False, fact, remedy)
    yield Check("fleet", not home.faults, _fleet(home), "vmctl check shows each fault" if home.faults else "")


async def _qemu(home: Home, binary: str) -> Check:
    try:
        able = await home.facts.capabilities(binary)
    except VmdError as error:
        return Check(binary, False, error.message, error.hint or f"apt install {qemu.package(binary)}")
    return Check(binary, True, f"QEMU {able.version_text}, {len(able.machines)} boards")


async def _vvfat(home: Home) -> Check:
    able = await home.facts.capabilities(X86)
    if able.vvfat:
        return Check("vvfat", True, "QEMU makes FAT drives of directories")
    if shutil.which("mformat"):
        return Check("vvfat", True, "this QEMU has no vvfat: mtools makes the FAT drives")
    return Check("vvfat", False, "this QEMU has no vvfat, and there is no mtools", "apt install mtools")


def _program(name: str, package: str) -> Check:
    found = shutil.which(name)
    return (
        Check(name, True, found)
        if found
        else Check(name, False, f"{name} is not installed", f"apt install {package}")
    )


def _room(state: str) -> Check:
    free = shutil.disk_usage(state).free
    fact = f"{format_size(free // (1 << 20) * (1 << 20))} free in {state}"
    return Check("room", free >= ROOM, fact, "" if free >= ROOM else "make room: a small guest needs about 1 GiB")


def _user(home: Home) -> Check:
    if home.qemu_user is not None:
        return Check("user", True, f"QEMU runs as uid {home.qemu_user.uid}, not as root")
    if os.geteuid() == 0:
        return Check("user", False, "QEMU runs as root", "adduser --system --group vmd-qemu, and restart vmd")
    return Check("user", True, f"QEMU runs as you, uid {os.geteuid()}")


def _linger() -> Check | None:
    """Whether a user's guests outlive the last logout; None for root, and where no systemd ends them."""
    if os.geteuid() == 0:
        return None
    name = user(os.geteuid())
    match lingers(name):
        case True:
            return Check("linger", True, f"{name} lingers: guests go on while nobody is logged in")
        case False:
            fact = f"{name} does not linger: systemd ends the guests at the last logout"
            return Check("linger", False, fact, f"loginctl enable-linger {name}")
    return None


def _fleet(home: Home) -> str:
    directory = Path(home.layout.directories.fleet)
    faults = f", {len(home.faults)} faults" if home.faults else ""
    return f"{len(home.fleet.guests)} guests defined in {directory}{faults}"

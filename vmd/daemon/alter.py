"""Change a guest while it runs, as far as QEMU can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import QemuFailed
from ..host import disk
from ..plan.step import GrowDisk, Remember, SetLink, SetMemory, SetVnc
from . import records
from .running import Running


async def grow(running: Running | None, step: GrowDisk) -> str | None:
    """Make a disk larger, under the guest where it runs; say so when it has that size."""
    if running is None:
        grown = await disk.resize(Path(step.path), step.size, step.format)
        return None if grown else f"{step.path} has that size"
    words: dict[str, Any] = {"node-name": "disk", "size": step.size}
    await running.monitor.execute("block_resize", **words)
    return None


async def running(found: Running | None, step: SetMemory | SetVnc | SetLink) -> None:
    """Have QEMU change what it shows the guest, or us.

    :raise QemuFailed: it refuses, or doesn't run.
    """
    if found is None:
        raise QemuFailed("the guest doesn't run, so nothing can be changed while it runs")
    match step:
        case SetMemory():
            await found.monitor.execute("balloon", value=step.size)
        case SetLink():
            await found.monitor.execute("set_link", name=step.nic, up=step.up)
        case SetVnc():
            # display-update knows VNC since QEMU 7.1
            await found.monitor.execute("display-update", type="vnc", addresses=[_listen(step)])


def _listen(step: SetVnc) -> dict[str, str]:
    if step.address is None or step.display is None:
        return {"type": "unix", "path": step.path}
    return {"type": "inet", "host": step.address, "port": str(5900 + step.display)}


def remember(places: GuestLayout, guest: Guest, step: Remember) -> None:
    """Note in the booted record that these keys are in force now."""
    held = records.booted(places)
    if held is None:
        return
    keys = {key.split(".")[0].split("[")[0] for key in step.keys}
    known = {key: getattr(guest, key) for key in keys}
    if "disk" in keys and guest.disk and held.guest.disk:
        known["disk"] = held.guest.disk.model_copy(update={"size": guest.disk.size})
    replace(held, guest=held.guest.model_copy(update=known)).write(places)

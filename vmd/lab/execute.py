"""One ``match`` from step to host call, for what a test's guest can be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..definition.guest import Guest
from ..errors import Refused, VmdError
from ..host import disk, files, flash, unpack
from ..plan.ready import MakeFlash, TypeCommands, UnpackImage
from ..plan.step import GrowDisk, MakeDisk, MakeVariables, SetLink, Start, Up, WriteSeed
from .terminal import Terminal

PROMPT = re.compile(r"(?:# |=> )\Z|stop autoboot")
"""What U-Boot (2023.01) says when it waits for somebody."""

FAILURE = re.compile(r".*(?:TFTP error|Retry count exceeded|Unknown command|ERROR).*")


async def make_ready(step: Up) -> bool:
    """Make what a guest starts from; whether this step is one of those.

    :raise VmdError: it can't be made.
    """
    match step:
        case WriteSeed():
            _seed(step)
        case MakeVariables():
            files.write_atomic(Path(step.path), Path(step.template).read_bytes())
        case UnpackImage():
            await _unpack(step)
        case MakeFlash():
            content = flash.read(Path(step.uboot), step.size, swapped=step.swapped)
            files.write_atomic(Path(step.path), content)
        case MakeDisk() if not Path(step.path).exists():
            await _disk(step)
        case GrowDisk():
            await disk.resize(Path(step.path), step.size, step.format)
        case MakeDisk():
            pass
        case _:
            return False
    return True


def refuse_install(guest: Guest) -> Refused:
    """Why nothing is installed in a test."""
    hint = f"install it once with vmctl up, and write image: DISK for {guest.name} in lab.yaml"
    return Refused(f"{guest.name}: install: nothing is installed in a test, that would take minutes", hint)


async def follow(step: Up, guest: Guest, monitor: Callable[..., Awaitable[object]], terminal: Terminal) -> None:
    """Carry out a step that comes after the start."""
    match step:
        case SetLink():
            await monitor("set_link", name=step.nic, up=step.up)
        case TypeCommands():
            await _type(guest, step, terminal)
        case Start():
            pass
        case _:
            raise Refused(f"{guest.name}: a test's guest can't {step.text}")


def _seed(step: WriteSeed) -> None:
    if step.image:
        raise Refused("this QEMU makes no FAT drive of a directory (vvfat)", "use a QEMU that does: Debian's")
    directory = Path(step.directory)
    files.remove_tree(directory)
    files.make_directory(directory)
    for name, content in step.files:
        files.write_atomic(directory / name, content)


async def _unpack(step: UnpackImage) -> None:
    path = Path(step.path)
    if not path.exists():
        files.make_directory(path.parent)
        await asyncio.to_thread(unpack.unpack, Path(step.source), path, step.multiple)


async def _disk(step: MakeDisk) -> None:
    files.make_directory(Path(step.path).parent)
    backing = Path(step.backing) if step.backing else None
    await disk.create(
        Path(step.path), step.size, format=step.format, backing=backing, backing_format=step.backing_format
    )


async def _type(guest: Guest, step: TypeCommands, terminal: Terminal) -> None:
    for command in step.commands:
        while (await terminal.expect(PROMPT, step.patience))[0] == "stop autoboot":
            await terminal.send(" ")
        if failed := FAILURE.search(terminal.passed):
            raise VmdError(f"{guest.name}: its boot loader says: {failed[0].strip()}")
        await terminal.send(f"{command}\n")

"""What a guest's board starts from: kernels, images, flash; looked at, and made ready without touching them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import TimedOut, VmdError
from ..host import files, flash, image, unpack
from ..host.console import Attachment, Console
from ..plan.image import SECTOR, Content, ImageFacts
from ..plan.ready import MakeFlash, TypeCommands, UnpackImage

PROMPTS = (b"# ", b"=> ")
"""What a boot loader's prompt ends in: those of U-Boot."""

COUNTDOWN = b"stop autoboot"
"""U-Boot counts down on a line with these words, until a key is pressed."""

FAILURES = ("TFTP error", "Retry count exceeded", "Unknown command", "ERROR")
"""Words by which U-Boot 2023.01 says that something did not go well."""


class _Identity(NamedTuple):
    """What changes when a file does."""

    path: str
    size: int
    modified: int
    inode: int


class Boards:
    """What the boards of all guests start from. What was read to its end is not read again until it changes."""

    def __init__(self) -> None:
        self._known: dict[_Identity, Content] = {}

    async def look(self, guest: Guest, unreadable: Container[str] = ()) -> dict[str, ImageFacts]:
        """Say what kernel, initrd and images of a guest are, by path; those in ``unreadable`` are left out.

        :raise VmdError: one is damaged.
        """
        found: dict[str, ImageFacts] = {}
        for path, whole in _named(guest):
            if path in unreadable:
                continue
            facts = _facts(image.look(Path(path)))
            if whole or facts.is_packed or facts.size % SECTOR["cdrom"]:
                facts = replace(facts, content=await self._measure(path))
            found[path] = facts
        return found

    async def _measure(self, path: str) -> Content:
        state = await asyncio.to_thread(os.stat, path)
        identity = _Identity(path, state.st_size, state.st_mtime_ns, state.st_ino)
        if identity not in self._known:
            told = await asyncio.to_thread(unpack.measure, Path(path))
            self._known[identity] = Content(told.size, told.digest)
        return self._known[identity]


def _named(guest: Guest) -> Iterator[tuple[str, bool]]:
    """Each file that a guest starts from, and whether all that is in it matters."""
    boot = guest.boot
    if boot:
        yield boot.kernel, False
        if boot.initrd:
            yield boot.initrd, False
        if boot.rootfs:
            yield boot.rootfs, boot.seen_as == "disk"
    if guest.image:
        yield guest.image.path, False


def _facts(found: image.Image) -> ImageFacts:
    """The same, in the words of a plan."""
    elf, uimage = found.elf, found.uimage
    return ImageFacts(
        kind=found.kind,
        size=found.size,
        arch=found.arch,
        needs=found.needs,
        ranges=tuple((start, start + length) for start, length in elf.segments) if elf else (),
        load=uimage.load if uimage else 0,
        entry=uimage.entry if uimage else elf.entry if elf else 0,
        packing=uimage.packing if uimage else "",
        name=uimage.name if uimage else "",
        inner=_facts(found.inner) if found.inner else None,
    )


def made(layout: GuestLayout) -> frozenset[str]:
    """The files that were made ready for a guest."""
    directory = Path(layout.images)
    return frozenset(str(path) for path in directory.iterdir()) if directory.is_dir() else frozenset()


async def make_ready(step: UnpackImage, owner: files.Owner | None) -> str | None:
    """Unpack an image and hand it to QEMU's user; say why when there was nothing to do.

    :raise VmdError: it is damaged, or there is no room.
    """
    path = Path(step.path)
    if path.exists():
        return f"{path} is there"
    files.make_directory(path.parent, 0o711 if owner else 0o700)
    await asyncio.to_thread(unpack.unpack, Path(step.source), path, step.multiple)
    if owner:
        os.chown(path, *owner, follow_symlinks=False)
    path.chmod(0o400)
    return None


def tidy(guest: Guest, layout: GuestLayout, argv: Iterable[str]) -> None:
    """Remove what was made ready for earlier starts and isn't used any more, before a guest is started.

    What its disk stands on stays. The host keys that a kernel's root showed last time are forgotten: one that can't
    be written makes new ones at each boot, and shows them on its own console.
    """
    if guest.boot is None:
        return
    Path(layout.known_hosts).unlink(missing_ok=True)
    line = " ".join(argv)
    for path in map(Path, made(layout)):
        if path.stem not in line:
            path.unlink()


def make_flash(step: MakeFlash, owner: files.Owner | None) -> None:
    """Write a guest's flash anew.

    :raise VmdError: the U-Boot can't be read, or doesn't fit.
    """
    content = flash.read(Path(step.uboot), step.size, swapped=step.swapped)
    files.write_atomic(Path(step.path), content, 0o600, owner)


async def type_commands(console: Console, name: str, step: TypeCommands) -> None:
    """Type each command when the boot loader's prompt is there; the last one doesn't come back.

    :raise VmdError: a file could not be fetched; says what the boot loader said.
    :raise TimedOut: there is no prompt.
    """
    with console.attach() as heard:
        for command in step.commands:
            await _until_prompt(console, heard, name, step.patience)
            await console.write(command.encode() + b"\n")


async def _until_prompt(console: Console, heard: Attachment, name: str, patience: float) -> None:
    said = b""
    try:
        async with asyncio.timeout(patience):
            async for data in heard:
                said += data
                if said.endswith(PROMPTS):
                    break
                if COUNTDOWN in said.splitlines()[-1]:
                    await console.write(b" ")
    except TimeoutError:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise TimedOut(
            f"{name}: its boot loader has no prompt after {patience:g} s; it said last: {last[0]!r}",
            f"vmctl log {name}",
        ) from None
    for line in said.decode(errors="replace").splitlines():
        if any(word in line for word in FAILURES):
            raise VmdError(f"{name}: its boot loader says: {line.strip()}", f"vmctl log {name}")

"""host → Observed: what a test's guest finds when it starts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import VmdError
from ..host import disk, image, unpack
from ..plan.image import SECTOR, Content, ImageFacts
from ..plan.observed import DiskFacts, Observed, Pins


async def observe(
    guest: Guest, places: GuestLayout, *, keys: tuple[str, ...], ssh_port: int, pins: Pins | None
) -> Observed:
    """Look at a guest that doesn't run; ``keys`` may log in besides those that its definition names."""
    contents, unreadable = _files(guest)
    whole = guest.boot.rootfs if guest.boot else None
    started_from = [path for path in _started_from(guest) if path not in unreadable]
    images = {path: await _look(path, whole=path == whole) for path in started_from}
    directory = Path(places.images)
    return Observed(
        disk=await _disk(places),
        keys=(*keys, *_keys(guest, contents)),
        files=contents,
        unreadable=unreadable,
        image=await _image(guest, images),
        variables=Path(places.firmware_vars).exists(),
        images=images,
        made=frozenset(map(str, directory.iterdir())) if directory.is_dir() else frozenset(),
        ssh_port=ssh_port,
        pins=pins,
    )


def _files(guest: Guest) -> tuple[dict[str, bytes], dict[str, str]]:
    """What is in the files that we read, and why one can't be had, ours or QEMU's."""
    contents: dict[str, bytes] = {}
    unreadable: dict[str, str] = {}
    for path in (*(key.path for key in guest.ssh_keys or () if key.path), guest.user_data):
        if path:
            try:
                contents[path] = Path(path).read_bytes()
            except OSError as error:
                unreadable[path] = f"{path} can't be read: {error.strerror}"
    for path in _started_from(guest):
        if not os.access(path, os.R_OK):
            unreadable[path] = f"{path} can't be read" if Path(path).exists() else f"{path} is not there"
    return contents, unreadable


def _started_from(guest: Guest) -> Iterator[str]:
    if guest.image:
        yield guest.image.path
    if boot := guest.boot:
        yield from (path for path in (boot.kernel, boot.initrd, boot.rootfs) if path)


def _keys(guest: Guest, contents: dict[str, bytes]) -> Iterator[str]:
    for key in guest.ssh_keys or ():
        if key.text:
            yield key.text
        elif key.path in contents:
            lines = map(str.strip, contents[key.path].decode(errors="replace").splitlines())
            yield from (line for line in lines if line and not line.startswith("#"))


async def _look(path: str, *, whole: bool) -> ImageFacts:
    facts = _facts(image.look(Path(path)))
    if not (whole or facts.is_packed or facts.size % SECTOR["cdrom"]):
        return facts
    found = await asyncio.to_thread(unpack.measure, Path(path))
    return replace(facts, content=Content(found.size, found.digest))


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


async def _disk(places: GuestLayout) -> DiskFacts | None:
    if not Path(places.disk).exists():
        return None
    return DiskFacts("qcow2", (await disk.info(Path(places.disk), "qcow2")).virtual_size)


async def _image(guest: Guest, images: dict[str, ImageFacts]) -> DiskFacts | None:
    """What the base image is; one that is packed is looked at when it is unpacked."""
    if guest.image is None or guest.image.path not in images:
        return None
    facts = images[guest.image.path]
    if facts.is_packed:
        return DiskFacts("raw", facts.disk_size)
    form = guest.image.format
    try:
        return DiskFacts(form, (await disk.info(Path(guest.image.path), form)).virtual_size)
    except VmdError as error:
        return DiskFacts(form, 0, error.message)

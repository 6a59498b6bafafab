"""host → Observed: look at one guest, and say plainly what is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..definition.fleet import Installer
from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..definition.network import USER
from ..errors import VmdError
from ..host.credentials import Credentials
from ..host.run import run
from ..plan.observed import Observed
from . import boards, disk
from .home import Home

KEYS_LIMIT = 64 * 1024
"""The largest file of public keys or user-data, in bytes: it has to fit on a floppy."""


async def observe(guest: Guest, home: Home, *, run_state: str | None = None, installing: bool = False) -> Observed:
    """Look at a guest. What runs is known to who asks; everything else is looked for on the disk, now."""
    places = home.places(guest.name, guest)
    contents, unreadable = await _files(guest, home)
    keys = tuple(_keys(guest, places, contents))
    found = await home.boards.look(guest, unreadable)
    return Observed(
        disk=await disk.look(guest, home),
        half_made=Path(places.disk_tmp).exists(),
        installing=installing,
        run_state=run_state,
        keys=keys,
        files=contents,
        unreadable=unreadable,
        image=await disk.look_at_image(guest, found),
        images=found,
        made=boards.made(places),
        variables=Path(places.firmware_vars).exists(),
        ssh_port=home.ssh_port(guest.name, running=run_state is not None) if _on_user(guest) else 0,
    )


def _on_user(guest: Guest) -> bool:
    return any(nic.network == USER for nic in guest.nics)


async def _files(guest: Guest, home: Home) -> tuple[dict[str, bytes], dict[str, str]]:
    """Read what the definition names and vmd needs, and see that QEMU can read what it names for QEMU."""
    contents: dict[str, bytes] = {}
    unreadable: dict[str, str] = {}
    for path in _read_by_us(guest):
        try:
            contents[path] = _start_of(path)
            if len(contents[path]) > KEYS_LIMIT:
                unreadable[path] = f"{path} is larger than {KEYS_LIMIT} bytes"
        except OSError as error:
            unreadable[path] = f"{path} can't be read: {error.strerror}"
    for path in _read_by_qemu(guest, home.fleet.installers.get(guest.install or "")):
        if why := await _refusal(path, home.qemu_user):
            unreadable[path] = why
    return contents, unreadable


def _start_of(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(KEYS_LIMIT + 1)


def _read_by_us(guest: Guest) -> Iterator[str]:
    yield from (key.path for key in guest.ssh_keys or () if key.path)
    if guest.user_data:
        yield guest.user_data


def _read_by_qemu(guest: Guest, installer: Installer | None) -> Iterator[str]:
    if installer:
        yield installer.iso
    if guest.image:
        yield guest.image.path
    if boot := guest.boot:
        directory = boot.tftp.directory if boot.tftp else None
        yield from (path for path in (boot.kernel, boot.initrd, boot.rootfs, directory) if path)


async def _refusal(path: str, user: Credentials | None) -> str:
    """Why QEMU can't read a file, or nothing."""
    if not Path(path).exists():
        return f"{path} is not there"
    if user is None:
        return "" if os.access(path, os.R_OK) else f"{path} can't be read: Permission denied"
    with suppress(VmdError):
        await run(("test", "-r", path), timeout=10, user=user)
        return ""
    return f"{path} can't be read by the user that QEMU runs as (uid {user.uid})"


def _keys(guest: Guest, places: GuestLayout, contents: dict[str, bytes]) -> Iterator[str]:
    """The public keys: those of the definition, else those that came with the first ``up``."""
    if guest.ssh_keys is None:
        with suppress(FileNotFoundError):
            yield from lines_of(Path(places.authorized_keys).read_text(errors="replace"))
    for key in guest.ssh_keys or ():
        if key.text:
            yield key.text
        elif key.path in contents:
            yield from lines_of(contents[key.path].decode(errors="replace"))


def lines_of(text: str) -> Iterator[str]:
    """Lines that say something: not blank, not a comment."""
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def unique(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines, each once, in their order."""
    return tuple(dict.fromkeys(lines))

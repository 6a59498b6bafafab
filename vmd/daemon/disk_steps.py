"""One ``match`` from what is done to a disk by itself to host calls."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import assert_never

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import Refused, VmdError
from ..host import copy, disk, files, snapshot
from ..host.backup import bitmaps, forget
from ..plan.step import AcceptDisk, MakeDisk
from ..plan.upkeep import (
    BackUp,
    CopyDisk,
    DeleteSnapshot,
    ReplaceDisk,
    RestoreSnapshot,
    ShareDisk,
    TakeSnapshot,
    Upkeep,
    VerifyBackup,
)
from . import archives, trash
from . import disk as own
from .home import Home
from .running import Running
from .supervise import Supervisor

OURS = "vmd-backup-"
"""How the dirty bitmaps begin that backups leave in a disk."""


class DiskExecutor:
    """Carries out what is done to one guest's disk; ``source`` is whose a clone is made of."""

    def __init__(self, home: Home, kept: Supervisor, source: GuestLayout | None = None) -> None:
        self.home, self.kept, self.source = home, kept, source
        self.places = home.places(kept.name, definition(kept))

    async def do(self, step: Upkeep) -> str | None:  # noqa: C901 - one case for each step there is
        """Do one step; say why when there was nothing to do."""
        match step:
            case TakeSnapshot():
                await self._on_snapshot("save", step)
            case RestoreSnapshot():
                await self._forget_changes(step)
                await self._on_snapshot("load", step)
            case DeleteSnapshot():
                await self._on_snapshot("delete", step)
            case BackUp():
                running = self._running() if step.live else None
                said = await archives.back_up(step, self.kept.name, self._in_room(), running, self._progress)
                self.kept.tell("note", text=said)
            case VerifyBackup():
                found = await archives.verify(Path(step.directory), self.kept.name, step.number)
                self.kept.tell("note", text=f"backup {found.number}, {found.file}, is whole, and all that it needs")
            case CopyDisk():
                await self._copy(step)
            case ReplaceDisk():
                await self._replace(step)
            case ShareDisk():
                await self._share(step)
            case MakeDisk():
                await self._make(step)
            case AcceptDisk():
                await self._accept(step)
            case _:
                assert_never(step)
        return None

    def _running(self) -> Running:
        if self.kept.running is None:
            raise Refused(f"{self.kept.name} ended meanwhile", "try again")
        return self.kept.running

    def _progress(self, done: int, total: int) -> None:
        if total:
            self.kept.home.events.emit(
                "progress", self.kept.name, step="back-up", done=done, total=total, text="copying"
            )

    def _in_room(self) -> GuestLayout:
        files.make_directory(Path(self.places.runtime).parent, 0o711)
        files.make_directory(Path(self.places.runtime), 0o700, self.home.owner)
        return self.places

    # -- snapshots

    async def _on_snapshot(self, what: str, step: TakeSnapshot | RestoreSnapshot | DeleteSnapshot) -> None:
        path = Path(step.path)
        match step.live, what:
            case True, "save" | "load" | "delete":
                await snapshot.on_running(self._running().monitor, what, step.tag)
            case _, "save":
                await snapshot.take(path, step.tag)
            case _, "load":
                await snapshot.restore(path, step.tag)
                self.kept.tell("note", text="its memory is not restored: it will start as after a power cut")
            case _, "delete":
                await snapshot.delete(path, step.tag)

    async def _forget_changes(self, step: RestoreSnapshot) -> None:
        """What changed since the last backup is not known any more: the next one copies all of it."""
        if step.live:
            monitor = self._running().monitor
            names = [name for name in await bitmaps(monitor) if name.startswith(OURS)]
            await forget(monitor, names)
        else:
            names = [name for name in await snapshot.bitmaps(Path(step.path)) if name.startswith(OURS)]
            for name in names:
                await snapshot.remove_bitmap(Path(step.path), name)
        if names:
            self.kept.tell("note", text="its next backup will be a full one")

    # -- disks

    async def _copy(self, step: CopyDisk) -> None:
        path = Path(step.path)
        path.unlink(missing_ok=True)
        await copy.copy(Path(step.source), step.source_format, path, step.format)
        self._hand_over(path)

    async def _replace(self, step: ReplaceDisk) -> None:
        made, path = Path(step.made), Path(step.path)
        await disk.flush(made)
        if self.kept.running is not None or self.kept.busy:
            raise Refused(
                f"{self.kept.name} was started meanwhile, so its disk stays", "vmctl down it, and try again"
            )
        # from here on nothing is waited for: nobody can start it in between
        if path.exists():
            old = trash.discard_disk(self.home, self.kept.name, path)
            self.kept.tell("note", text=f"the disk it had is {old}")
        made.rename(path)
        own.forget(self.places)
        await disk.flush(path)

    async def _make(self, step: MakeDisk) -> None:
        path, base = Path(step.path), Path(step.backing) if step.backing else None
        path.unlink(missing_ok=True)
        await disk.create(path, step.size, format=step.format, backing=base, backing_format=step.backing_format)
        self._hand_over(path)

    async def _accept(self, step: AcceptDisk) -> None:
        made, path = Path(step.made), Path(step.path)
        await disk.flush(made)
        if path.exists():
            raise Refused(f"{path} is there meanwhile", f"it stays; the new one is {made}")
        made.rename(path)
        await disk.flush(path)
        own.remember(self.places, await disk.chain(path, own.format_of(definition(self.kept))))

    async def _share(self, step: ShareDisk) -> None:
        """Give a disk a second name, as a base; then put a linked clone in its place, by one rename."""
        path, base = Path(step.path), Path(step.base)
        files.make_directory(base.parent, 0o711)
        try:
            os.link(path, base)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise Refused(
                f"{path} is on another file system than {base.parent}", "clone it without --linked"
            ) from error
        size = (await disk.info(base, "qcow2")).virtual_size
        over = path.with_name(f"{path.name}.tmp")
        over.unlink(missing_ok=True)
        await disk.create(over, size, backing=base, backing_format="qcow2")
        self._hand_over(over)
        await disk.flush(over)
        base.chmod(0o400)
        if self.source:
            own.forget(self.source)
        over.rename(path)
        if self.source:
            own.remember(self.source, await disk.chain(path, "qcow2"))

    def _hand_over(self, path: Path) -> None:
        """Let QEMU's user have a file that it shall write."""
        if owner := self.home.owner:
            os.chown(path, *owner, follow_symlinks=False)


def definition(kept: Supervisor) -> Guest:
    """What a guest is defined as, or runs as.

    :raise VmdError: it is not defined any more.
    """
    booted = kept.attendant.booted
    guest = kept.guest or (booted.guest if booted else None)
    if guest is None:
        raise VmdError(f"{kept.name} is not defined any more", "define it again")
    return guest


def take_identity(home: Home, guest: Guest, source: str) -> str:
    """See to who a clone is; what stays the same in it, for a person.

    MAC addresses, UUID and, of an image, cloud-init's instance id follow from its name. Host keys inside a disk that
    an installer filled are those of its source, and so they are what ssh has to expect.
    """
    own_places, from_places = home.places(guest.name, guest), home.layout.guest(source)
    variables = Path(from_places.firmware_vars)
    if guest.firmware == "uefi" and variables.exists():
        files.write_atomic(Path(own_places.firmware_vars), variables.read_bytes(), 0o600, home.owner)
    if guest.image is not None:
        return "cloud-init takes it for a new machine, and makes new host keys"
    keys = Path(from_places.known_hosts)
    if keys.exists():
        lines = [line.split(" ", 1) for line in keys.read_text().splitlines() if " " in line]
        mine = "".join(f"{names.replace(source, guest.name)} {key}\n" for names, key in lines)
        files.write_atomic(Path(own_places.known_hosts), mine, 0o644)
    return (
        f"inside, its machine-id and ssh host keys are those of {source}; to renew them there: rm /etc/machine-id "
        f"/etc/ssh/ssh_host_*, systemd-machine-id-setup, ssh-keygen -A; then remove {own_places.known_hosts}"
    )

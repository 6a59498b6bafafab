"""What may be asked of a guest's disk by itself: snapshots, backups, clones, the trash; as steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import Refused, UsageError, VmdError
from ..host import snapshot
from ..plan import upkeep
from ..plan.upkeep import DiskState, Upkeep
from . import archives, trash, wishes
from .announce import announced
from .chronicle import Event
from .disk import format_of, sound_chain
from .disk_steps import DiskExecutor, definition, take_identity
from .keep import Keeper
from .supervise import Supervisor

Work = Coroutine[Any, Any, None]
Outcome = dict[str, Any]
Each = Callable[[list[Supervisor], Callable[[Supervisor], Work]], AsyncIterator[Event]]
"""Does something to each of some guests, and tells of it."""

Told = Callable[[None, Coroutine[Any, Any, Outcome]], AsyncIterator[Event]]
"""Does one thing, and tells of it."""


class Disks:
    """Carries out the verbs about disks; of one guest one at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.home = keeper, keeper.home
        self._at_work: dict[str, str] = {}

    def begin(self, wish: wishes.Wish, each: Each, told: Told) -> AsyncIterator[Event]:
        """Begin to do what is asked; the stream tells of it.

        :raise NoSuchGuest: it names a guest that is not there.
        """
        match wish:
            case wishes.Snapshot():
                return each([self.keeper.find(wish.guest)], lambda kept: self._snapshot(kept, wish))
            case wishes.Restore():
                return each([self.keeper.find(wish.guest)], lambda kept: self._restore(kept, wish))
            case wishes.Backup():
                return each([self.keeper.find(wish.guest)], lambda kept: self._back_up(kept, wish))
            case wishes.Clone():
                source = self.keeper.find(wish.source)
                return each([self.keeper.find(wish.target)], lambda kept: self._clone(source, kept, wish))
            case wishes.Trash():
                return told(None, self._tidy(wish))
        raise UsageError(f"nothing of a disk is meant by {type(wish).__name__}")

    # -- verbs

    async def _snapshot(self, kept: Supervisor, wish: wishes.Snapshot) -> None:
        with self._alone("a snapshot", kept):
            disk = await self._state(kept)
            tag = wish.tag or time.strftime("%Y%m%dT%H%M%S")
            await self._carry_out(kept, upkeep.delete(disk, tag) if wish.delete else upkeep.take(disk, tag))

    async def _restore(self, kept: Supervisor, wish: wishes.Restore) -> None:
        with self._alone("a restore", kept):
            disk = await self._state(kept, sound=wish.directory is None)
            if wish.directory is None:
                plan = upkeep.restore(disk, wish.tag or "")
            else:
                directory = Path(wish.directory)
                found = archives.known(directory, kept.name).upto(wish.number)[0]
                made = self._places(kept).disk_tmp
                file = str(directory / found.file)
                plan = upkeep.restore_backup(disk, str(directory), found.number, file, made)
            await self._carry_out(kept, plan)

    async def _back_up(self, kept: Supervisor, wish: wishes.Backup) -> None:
        with self._alone("a backup", kept):
            if wish.verify:
                await self._carry_out(kept, (upkeep.VerifyBackup(wish.directory),))
                return
            disk = await self._state(kept)
            step = upkeep.BackUp(disk.path, disk.format, wish.directory, disk.live, wish.full)
            await self._carry_out(kept, (step,))

    async def _clone(self, source: Supervisor, kept: Supervisor, wish: wishes.Clone) -> None:
        if source is kept:
            raise UsageError(f"{kept.name} can't be a clone of itself")
        with self._alone("a clone", source, kept):
            guest, places = definition(kept), self._places(kept)
            if kept.running is not None or Path(places.disk).exists():
                raise Refused(f"{kept.name} has a disk already: {places.disk}", f"vmctl rm {kept.name} first")
            disk = await self._state(source)
            plan = await self._linked(source, disk, guest) if wish.linked else self._copied(disk, guest)
            self.home.make_directories(kept.name)
            await self._carry_out(kept, plan, self._places(source))
            kept.tell("note", text=take_identity(self.home, guest, source.name))

    def _copied(self, disk: DiskState, guest: Guest) -> tuple[Upkeep, ...]:
        places = self.home.places(guest.name, guest)
        return upkeep.clone(disk, places.disk, places.disk_tmp, format_of(guest))

    async def _linked(self, source: Supervisor, disk: DiskState, guest: Guest) -> tuple[Upkeep, ...]:
        if format_of(guest) != "qcow2":
            raise Refused(f"{guest.name}: a linked clone is a qcow2", "write format: qcow2")
        places = self.home.places(guest.name, guest)
        size = (await sound_chain(definition(source), self.home))[0].virtual_size
        base = f"{self.home.layout.bases}/{source.name}-{time.strftime('%Y%m%dT%H%M%S')}.qcow2"
        return upkeep.linked_clone(disk, size, places.disk, places.disk_tmp, base)

    async def _tidy(self, wish: wishes.Trash) -> Outcome:
        """Put something back, or remove for good what was asked for."""
        if wish.restore is not None:
            entry = trash.restore(self.home, wish.restore)
            self.keeper.load()
            self.home.events.emit("note", entry.guest, text=f"{entry.name} is back from the trash")
        else:
            gone = await asyncio.to_thread(trash.empty, self.home, wish.older or 0.0)
            text = f"{len(gone)} removed for good: {', '.join(entry.name for entry in gone) or 'nothing'}"
            self.home.events.emit("note", None, text=text)
        return {"ok": True, "exit_code": 0, "guests": {}}

    # -- facts

    async def snapshots(self, kept: Supervisor) -> list[dict[str, Any]]:
        """The snapshots of a guest's disk, the oldest first."""
        places = self._places(kept)
        if format_of(definition(kept)) != "qcow2" or not Path(places.disk).exists():
            return []
        found = await snapshot.snapshots(Path(places.disk))
        return [{"tag": each.tag, "time": each.seconds, "memory": each.memory} for each in found]

    # -- how

    async def _carry_out(self, kept: Supervisor, plan: Iterable[Upkeep], source: GuestLayout | None = None) -> None:
        hand = DiskExecutor(self.home, kept, source)
        for step in plan:
            await announced(kept.tell, step, hand.do(step))

    async def _state(self, kept: Supervisor, *, sound: bool = True) -> DiskState:
        """What its disk is; ``sound`` if it must be one that it could be started on.

        :raise VmdError: it has none, or it isn't.
        """
        guest, path = definition(kept), Path(self._places(kept).disk)
        if sound and not path.exists():
            raise VmdError(f"{kept.name} has no disk", f"vmctl up {kept.name} makes one, if its definition has one")
        if sound and kept.running is None:
            await sound_chain(guest, self.home)
        form = format_of(guest)
        found = await snapshot.snapshots(path) if sound and form == "qcow2" else ()
        held = {each.tag: each.memory for each in found}
        return DiskState(kept.name, str(path), form, kept.running is not None, held)

    def _places(self, kept: Supervisor) -> GuestLayout:
        return self.home.places(kept.name, definition(kept))

    @contextmanager
    def _alone(self, what: str, *those: Supervisor) -> Iterator[None]:
        """While this lasts, nothing else is done to their disks.

        :raise Refused: something is.
        """
        for kept in those:
            if kept.busy:
                raise Refused(f"{kept.name} is {kept.state}", "try again when that is done")
            if kept.name in self._at_work:
                raise Refused(f"{self._at_work[kept.name]} of {kept.name} is under way", "try again when it is done")
        names = [kept.name for kept in those]
        self._at_work |= dict.fromkeys(names, what)
        try:
            yield
        finally:
            for name in names:
                del self._at_work[name]

"""One ``match`` from step to host call; each step is announced as it starts, and how it ended."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import assert_never

from ..definition.guest import Guest
from ..errors import QemuFailed, VmdError
from ..host import disk, fat, files
from ..host.process import Process, spawn
from ..installer.contract import Progress
from ..plan import step as steps
from ..plan.cable import AddSegment, AddSwitch, AddTap
from ..plan.option import blame
from ..plan.ready import MakeFlash, TypeCommands, UnpackImage
from ..plan.step import (
    AcceptDisk,
    BuildIso,
    DiscardHalfMade,
    GrowDisk,
    Live,
    MakeDisk,
    MakeVariables,
    Remember,
    RunInstaller,
    SetLink,
    SetMemory,
    SetVnc,
    Start,
    Up,
    WriteSeed,
)
from . import alter, boards, install, iso, records
from .announce import Tell, announced
from .cables import Handed
from .confine import check, confine
from .disk import before_start
from .home import Home
from .running import Running

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
"""All that QEMU gets to know of our environment."""


class Executor:
    """Carries out the steps that lead one guest up, or change it; what runs of it is ``running``."""

    def __init__(self, guest: Guest, home: Home, tell: Tell, running: Running | None = None) -> None:
        self.guest, self.home, self.tell = guest, home, tell
        self.places = home.places(guest.name, guest)
        self.running = running
        self.booted: records.Booted | None = None
        self.installing: Running | None = None
        self.handed = Handed(home.cables, home.owner)

    async def carry_out(self, plan: Iterable[Up | Live]) -> None:
        """Carry out steps, one after the other; what the first that fails raises ends it."""
        try:
            for step in plan:
                await announced(self.tell, step, self._do(step))
        except BaseException:
            self.handed.close()
            if self.running is None:
                self.home.cables.let_go(self.guest, self.home.fleet.networks)
            raise

    async def _do(self, step: Up | Live) -> str | None:  # noqa: C901, PLR0911, PLR0912 - one case for each step there is
        """Do one step; say why when there was nothing to do."""
        match step:
            case BuildIso():
                return await iso.build(self.home, step.release, Path(step.path), self._progress)
            case WriteSeed():
                await self._write_seed(step)
            case MakeVariables():
                self._make_variables(step)
            case UnpackImage():
                return await boards.make_ready(step, self.home.owner)
            case MakeFlash():
                boards.make_flash(step, self.home.owner)
            case TypeCommands() if self.running:
                await boards.type_commands(self.running.console, self.guest.name, step)
            case TypeCommands():
                raise VmdError(f"{self.guest.name} doesn't run", f"vmctl up {self.guest.name}")
            case MakeDisk():
                return await self._make_disk(step)
            case RunInstaller():
                await self._run_installer(step)
            case AcceptDisk():
                return await self._accept_disk(step)
            case DiscardHalfMade():
                return discard(Path(step.path))
            case AddSegment() | AddSwitch() | AddTap():
                await self.handed.add(step)
            case Start():
                await self._start(step)
            case GrowDisk():
                return await alter.grow(self.running, step)
            case SetMemory() | SetVnc() | SetLink():
                await alter.running(self.running, step)
            case Remember():
                alter.remember(self.places, self.guest, step)
            case _:
                assert_never(step)
        return None

    def _progress(self, progress: Progress) -> None:
        self.tell("progress", step="install", **asdict(progress))

    async def _write_seed(self, step: WriteSeed) -> None:
        directory = Path(step.directory)
        files.remove_tree(directory)
        files.make_directory(directory, 0o700, self.home.owner)
        for name, content in step.files:
            files.write_atomic(directory / name, content, 0o600, self.home.owner)
        fat.check_directory(directory, self.home.qemu_user)
        if step.image:
            image = Path(step.image)
            await fat.make(image, directory, step.label, self.home.qemu_user)
            self._hand_over(image)

    def _make_variables(self, step: MakeVariables) -> None:
        files.write_atomic(Path(step.path), Path(step.template).read_bytes(), 0o600, self.home.owner)

    async def _make_disk(self, step: MakeDisk) -> str | None:
        path = Path(step.path)
        if path.exists():
            return f"{path} is there"
        backing = Path(step.backing) if step.backing else None
        if str(path.parent) == self.places.images:
            files.make_directory(path.parent, 0o711 if self.home.owner else 0o700)
        await disk.create(path, step.size, format=step.format, backing=backing, backing_format=step.backing_format)
        self._hand_over(path)
        return None

    async def _run_installer(self, step: RunInstaller) -> None:
        places, process, began = self.places, *records.under_way(self.places)
        if process is None:
            began = time.time()
            Path(places.known_hosts).unlink(missing_ok=True)  # those of a guest that was here before
            process = await self._spawn(step, places.install_log)
            files.write_record(Path(places.install_record), {"process": process.identity.as_record(), "began": began})
        else:
            self.tell("note", text="the install that an earlier vmd started goes on")
        running = Running(self.guest.name, process, places, lambda *_: None, began)
        try:
            await self._hold(running, step, places.install_log)
            self.installing = running
            await install.watch(self.guest.name, running, step, self._progress)
        except VmdError:
            discard(Path(places.disk_tmp))
            raise
        finally:
            self.installing = None
            if not process.alive:
                Path(places.install_record).unlink(missing_ok=True)
            await running.release()

    async def _accept_disk(self, step: AcceptDisk) -> str | None:
        made, path = Path(step.made), Path(step.path)
        if not made.exists() and path.exists():
            return f"{path} is there"
        await disk.flush(made)
        made.rename(path)
        await disk.flush(path)
        return None

    async def _start(self, step: Start) -> None:
        self.home.make_directories(self.guest.name)
        places = self.places
        await before_start(self.guest, self.home)
        keep_previous(Path(places.console_log))
        boards.tidy(self.guest, places, steps.argv(step))
        process = await self._spawn(step, places.console_log)
        running = Running(self.guest.name, process, places, self._rung, time.time())
        guest = self.guest
        booted = records.Booted(guest, steps.argv(step), process.identity, running.since, guest.memory)
        await asyncio.to_thread(booted.write, places)  # it waits for the disk: QEMU comes up meanwhile
        records.keep_pins(places, step.pins)
        await self._hold(running, step, places.console_log)
        self.running, self.booted = running, booted

    def _rung(self, rung: str, seconds: float) -> None:
        self.tell("rung", rung=rung, seconds=seconds)

    async def _spawn(self, step: Start | RunInstaller, log: str) -> Process:
        """Start QEMU, in an empty room: no socket of an earlier run, a log that is its own."""
        check(self.guest, self.home)
        for socket in (self.places.qmp, self.places.monitor, self.places.console, self.places.vnc, self.places.agent):
            Path(socket).unlink(missing_ok=True)
        files.write_atomic(Path(log), b"", 0o600, self.home.owner, sync="none")
        keep_previous(Path(self.places.qemu_log))
        try:
            return await spawn(
                self.handed.line(steps.argv(step)),
                log=Path(self.places.qemu_log),
                user=self.home.qemu_user,
                pass_fds=self.handed.descriptors,
                cwd=Path("/"),
                env=ENVIRONMENT,
            )
        finally:
            self.handed.close()

    async def _hold(self, running: Running, step: Start | RunInstaller, log: str) -> None:
        try:
            await confine(self.guest, self.home, running.process, self.tell)
            await running.hold(log)
        except VmdError as error:
            explained = self._explained(step, error)  # before QEMU says that we ended it
            await running.process.terminate(grace=1.0)
            raise explained from error

    def _explained(self, step: Start | RunInstaller, error: VmdError) -> VmdError:
        """What QEMU said when it would not start, and which line of the definition it means."""
        said = Path(self.places.qemu_log).read_text(errors="replace").strip()[-2000:]
        guilty = blame(step.options, said)
        key = ("guests", self.guest.name, *(guilty.key.split(".") if guilty and guilty.key else ()))
        place = self.home.fleet.position(*key)
        words = said or error.message
        return QemuFailed(f"{self.guest.name}: QEMU did not start: {words}", f"see {'.'.join(key)} at {place}")

    def _hand_over(self, path: Path) -> None:
        """Let QEMU's user have a file that it shall write."""
        if owner := self.home.owner:
            os.chown(path, *owner, follow_symlinks=False)


def discard(path: Path) -> str | None:
    """Remove a half-made disk; say so when there is none."""
    if not path.exists():
        return "it is gone"
    path.unlink()
    return None


def keep_previous(log: Path) -> None:
    """Give a log of the run before another name, so that nothing said is lost."""
    if log.exists():
        log.rename(log.with_name(log.name + ".1"))

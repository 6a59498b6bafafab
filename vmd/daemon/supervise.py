"""One guest, kept: observe, plan, execute, wait; and see how it ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..errors import Refused, TimedOut, VmdError
from ..host import files
from ..host.process import Exit, Identity, adopt
from ..plan import reconcile
from ..plan.cmdline import Place
from ..plan.step import Down, Kill, Quit, Up
from .execute import Executor, under_way
from .home import Home
from .ladder import Ladder
from .observe import lines_of, observe, unique
from .running import Running


class Supervisor:
    """Keeps one guest. What it says of itself is derived at every look: from jobs, processes and files."""

    def __init__(self, name: str, home: Home) -> None:
        self.name, self.home = name, home
        self.running: Running | None = None
        self.error: str | None = None
        self.since: float | None = None
        self.progress: dict[str, Any] | None = None
        self.job: asyncio.Task[None] | None = None
        self.job_kind = ""
        self._gone = asyncio.Event()
        self._gone.set()
        self._attendant: asyncio.Task[None] | None = None
        self._stopping = False

    # -- what it is

    @property
    def guest(self) -> Guest | None:
        """Its definition, if the fleet still has one."""
        return self.home.fleet.guests.get(self.name)

    @property
    def busy(self) -> bool:
        """A job of it is under way."""
        return self.job is not None and not self.job.done()

    @property
    def state(self) -> str:
        """One of `protocol.STATES`."""
        if self.busy and self.job_kind == "down":
            return "stopping"
        if self.progress is not None and self.busy:
            return "installing"
        if self.running is not None:
            return self._running_state(self.running)
        if self.busy:
            return "starting"
        if self.error is not None:
            return "failed"
        return "stopped" if Path(self.home.places(self.name).dir).exists() else "absent"

    def _running_state(self, running: Running) -> str:
        if self.guest is None:
            return "orphan"
        return "running" if running.readiness.has("kernel") or not self.busy else "starting"

    def tell(self, event: str, **facts: object) -> None:
        """Emit an event about this guest."""
        if event == "progress":
            self.progress = {key: facts[key] for key in ("done", "total", "text")}
        self.home.events.emit(event, self.name, **facts)

    def _tell_state(self) -> None:
        self.since = time.time()
        self.tell("state", state=self.state)

    # -- plan

    async def place(self, guest: Guest, keys: tuple[str, ...] = ()) -> Place:
        """Where it lives and all that is observed of it now; ``keys`` stand in where it has none yet."""
        host = await self.home.facts.host([guest.run_by.binary])
        process, _ = under_way(self.home.places(self.name).install_record)
        if process is not None:
            process.close()
        state = await self.running.state() if self.running else ("running" if process else None)
        observed = await observe(guest, self.home, run_state=state, installing=process is not None)
        observed = replace(observed, keys=observed.keys or (() if guest.ssh_keys else keys))
        return Place(self.home.places(self.name, guest), host, observed)

    async def plan_up(self, guest: Guest, keys: tuple[str, ...] = ()) -> tuple[Up, ...]:
        """The steps that would lead it up from where it is; ``keys`` are those of whoever asks."""
        own = self.home.fleet.installers.get(guest.install or "")
        return reconcile.up(guest, own, await self.place(guest, keys))

    # -- jobs: each goes on whether or not who asked still listens

    def up(self, keys: tuple[str, ...] = ()) -> asyncio.Task[None]:
        """Lead it up; joins the job that does so already.

        :raise Refused: it is on its way down.
        """
        if self.busy and self.job is not None:
            if self.job_kind == "up":
                return self.job
            raise Refused(f"{self.name} is on its way down", "try again when it is stopped")
        return self._start_job("up", self._up(keys))

    def down(self, patience: float | None) -> asyncio.Task[None]:
        """Lead it down within ``patience`` seconds, or its own; an install under way is given up."""
        if self.busy and self.job is not None and self.job_kind == "down":
            return self.job
        return self._start_job("down", self._down(patience, self.job if self.busy else None))

    def _start_job(self, kind: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.error, self.job_kind = None, kind
        self.job = asyncio.create_task(self._work(work), name=f"{kind} {self.name}")
        return self.job

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except VmdError as error:
            self.error = str(error)
            raise
        except OSError as error:
            self.error = f"{self.name}: {error}"
            raise VmdError(self.error, "is the disk full, or not writable?") from error
        except asyncio.CancelledError:
            raise
        finally:
            self.progress = None
            asyncio.get_running_loop().call_soon(self._tell_state)

    async def _up(self, keys: tuple[str, ...]) -> None:
        guest = self._defined()
        self.home.make_directories(self.name)
        self._want("up")
        self._keep_keys(keys)
        self._tell_state()
        await self._adopt_running()
        executor = Executor(guest, self.home, self.tell)
        if self.running is None:
            await executor.carry_out(await self.plan_up(guest))
        if executor.running is not None:
            self._attend(executor.running, guest)

    def _defined(self) -> Guest:
        if self.guest is None:
            raise VmdError(f"{self.name} is not defined any more", "define it again, or vmctl down it")
        return self.guest

    async def _down(self, patience: float | None, before: asyncio.Task[None] | None) -> None:
        self._want("down")
        self._tell_state()
        if before is not None:
            before.cancel()
            with suppress(asyncio.CancelledError, VmdError):
                await before
        installing, _ = under_way(self.home.places(self.name).install_record)
        if installing is not None:
            installing.close()
            await self._give_up_install()
            return
        await self._adopt_running()
        self._stopping = True
        try:
            ladder = Ladder(self.running, self.wait_gone, self.tell)
            await ladder.climb_down(await self._plan_down(patience))
        finally:
            self._stopping = False
        if self.running is not None:
            raise TimedOut(f"{self.name}: QEMU could not be ended", "vmctl status says its pid")

    async def _plan_down(self, patience: float | None) -> tuple[Down, ...]:
        guest = self.guest
        if guest is None:
            return (Quit(reconcile.QUIT_TAKES), Kill())
        return reconcile.down(guest, await self.place(guest), guest.stop_timeout if patience is None else patience)

    async def _give_up_install(self) -> None:
        places = self.home.places(self.name, self.guest)
        process, _ = under_way(places.install_record)
        if process is not None:
            await process.terminate(grace=5.0)
        for path in (places.install_record, places.disk_tmp):
            Path(path).unlink(missing_ok=True)
        self.tell("ladder", rung="quit", text="the install was given up; nothing of its disk is left")

    async def wait_gone(self, patience: float) -> bool:
        """Wait up to so many seconds for the end of what runs; say whether it came."""
        if patience > 0 and not self._gone.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), patience)
        return self._gone.is_set()

    # -- what outlives us

    def _want(self, word: str) -> None:
        """Desired state goes to the disk before anything is sent."""
        if Path(self.home.places(self.name).dir).exists():
            files.write_atomic(Path(self.home.places(self.name).want), word + "\n")

    def _keep_keys(self, keys: tuple[str, ...]) -> None:
        path = Path(self.home.places(self.name).authorized_keys)
        if keys and not path.exists():
            files.write_atomic(path, "".join(f"{key}\n" for key in unique(k for key in keys for k in lines_of(key))))

    async def adopt(self) -> None:
        """Take hold of what an earlier vmd left: a running QEMU, or an install under way."""
        places = self.home.places(self.name)
        installing, _ = under_way(places.install_record)
        if installing is not None:
            installing.close()
        if Path(places.install_record).exists() and self.guest is not None:
            text = "takes over the install" if installing else "starts the install afresh"
            self.tell("note", text=f"vmd was away: it {text} that was under way")
            self.up()
            return
        await self._adopt_running()

    async def _adopt_running(self) -> None:
        """Take hold of the QEMU that the booted record names, if it still runs."""
        places = self.home.places(self.name)
        booted = files.read_record(Path(places.booted)) if self.running is None else None
        process = adopt(Identity.from_record(booted["process"])) if booted else None
        if booted is None or process is None:
            return
        guest = Guest.model_validate(booted["definition"])
        running = Running(self.name, process, places, lambda *_: None, float(booted["since"]))
        await running.hold(places.console_log)
        self._attend(running, guest)

    # -- attendance: from start to end of one run

    def _attend(self, running: Running, guest: Guest) -> None:
        self.running = running
        self._gone.clear()
        on_user = any(nic.network == "user" for nic in guest.nics)
        running.watch(guest, self.home.ssh_port(self.name, running=True) if on_user else 0)
        self._attendant = asyncio.create_task(self._until_end(running), name=f"attend {self.name}")

    async def _until_end(self, running: Running) -> None:
        off = asyncio.create_task(running.powered_off.wait())
        ends: set[asyncio.Future[Any]] = {off, running.process.exited}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        off.cancel()
        powered_off = running.powered_off.is_set()
        if running.process.alive:
            await running.end(grace=10.0)
        await self._ended(running, await running.process.exited, powered_off)

    async def _ended(self, running: Running, ended: Exit, powered_off: bool) -> None:
        cause, text = cause_of(ended, powered_off, self._stopping)
        if cause in ("crashed", "killed"):
            said = Path(running.places.qemu_log).read_text(errors="replace").strip()[-500:]
            self.error = f"{self.name}: {text}" + (f"; its last words: {said}" if said else "")
        await running.release()
        self.running = None
        self._gone.set()
        self.tell("exit", cause=cause, text=text)
        self._tell_state()

    def remove(self) -> None:
        """Put all that it has in the trash; it must not run."""
        places, now = self.home.places(self.name), time.strftime("%Y%m%dT%H%M%S")
        files.make_directory(Path(self.home.layout.trash), 0o700)
        with suppress(FileNotFoundError):
            Path(places.dir).rename(Path(self.home.layout.trash) / f"{self.name}-{now}")
        files.remove_tree(Path(places.runtime))
        self.error = None
        self._tell_state()

    async def release(self) -> None:
        """Let go of everything, end nothing: vmd goes, the guest stays."""
        for task in (self.job, self._attendant):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, VmdError):
                    await task
        if self.running is not None:
            await self.running.release()


def cause_of(ended: Exit, powered_off: bool, stopping: bool) -> tuple[str, str]:
    """Why a guest is gone: a word, and a sentence."""
    if stopping:
        return "stopped", "it was stopped"
    if powered_off:
        return "powered-off", "it powered itself off"
    if ended.signal in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return "killed", f"QEMU {ended} from outside"
    if ended.signal is not None or ended.status not in (0, None):
        return "crashed", f"QEMU {ended}"
    return "killed", f"QEMU {ended}, and nobody here asked it to"

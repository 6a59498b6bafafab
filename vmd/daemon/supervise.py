"""One guest, kept: observe, plan, execute, wait; and when it ends, see why and what to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..errors import Refused, TimedOut, VmdError
from ..plan import reconcile
from ..plan.cmdline import Place
from ..plan.live import live
from ..plan.restart import FAILURES, Again, Cause, after_end
from ..plan.step import AcceptDisk, BuildIso, Down, Kill, Quit, Up
from . import records, standing, trash
from .attend import Attendant
from .execute import Executor
from .home import Home
from .ladder import Ladder
from .observe import observe
from .running import Running

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps one guest. What it says of itself is derived at every look: from jobs, processes and files."""

    def __init__(self, name: str, home: Home) -> None:
        self.name, self.home = name, home
        self.attendant = Attendant(name, home, self._ended)
        self.error: str | None = None
        self.since: float | None = None
        self.progress: dict[str, Any] | None = None
        self.job: asyncio.Task[None] | None = None
        self.job_kind = ""
        self._again: asyncio.Task[None] | None = None
        self._executor: Executor | None = None

    # -- what it is

    @property
    def guest(self) -> Guest | None:
        """Its definition, if the fleet still has one."""
        return self.home.fleet.guests.get(self.name)

    @property
    def running(self) -> Running | None:
        """What runs of it."""
        return self.attendant.running

    @property
    def present(self) -> Running | None:
        """What runs of it, the QEMU of its installer included."""
        return self.running or (self._executor.installing if self._executor and self.busy else None)

    @property
    def busy(self) -> bool:
        """A job of it is under way."""
        return self.job is not None and not self.job.done()

    @property
    def state(self) -> str:
        """One of `protocol.STATES`."""
        return standing.state(self)

    def tell(self, event: str, **facts: object) -> None:
        """Emit an event about this guest."""
        if event == "progress":
            self.progress = {key: facts[key] for key in ("done", "total", "text")}
        self.home.events.emit(event, self.name, **facts)

    def _tell_state(self) -> None:
        self.since = time.time()
        self.tell("state", state=self.state, error=self.error)

    # -- plan

    async def place(self, guest: Guest, keys: tuple[str, ...] = ()) -> Place:
        """Where it lives and all that is observed of it now; ``keys`` stand in where it has none yet."""
        places = self.home.places(self.name, guest)
        host = await self.home.facts.host([guest.run_by.binary])
        process, _ = records.under_way(places)
        if process is not None:
            process.close()
        state = await self.running.state() if self.running else ("running" if process else None)
        observed = await observe(guest, self.home, run_state=state, installing=process is not None)
        booted = self.attendant.booted if self.running else None
        observed = replace(
            observed,
            keys=observed.keys or (() if guest.ssh_keys else keys),
            pins=records.pins(places),
            booted=booted.guest if booted else None,
            ceiling=booted.ceiling if booted else None,
        )
        return Place(places, host, observed, self.home.fleet.networks)

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
        self._no_restart()
        self.attendant.ends.forget()
        return self._start_job("up", self._up(keys))

    def down(self, patience: float | None, *, for_now: bool = False) -> asyncio.Task[None]:
        """Lead it down within ``patience`` seconds, or its own; an install under way is given up.

        ``for_now`` is for a host that goes down: what the operator wants of the guest stays as it was.
        """
        if self.busy and self.job is not None and self.job_kind == "down":
            return self.job
        self._no_restart()
        if not for_now:
            records.want(self.home.places(self.name), "down")
        return self._start_job("down", self._down(patience, self.job if self.busy else None))

    def change(self) -> asyncio.Task[None]:
        """Make it as it is defined now, as far as that can be done while it runs."""
        if self.busy and self.job is not None:
            return self.job
        return self._start_job("change", self._change())

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
        except Exception as error:
            log.exception("%s: %s failed in a way vmd did not foresee", self.name, self.job_kind)
            self.error = f"{self.name}: internal error: {error!r}"
            raise VmdError(self.error, "vmd's own log has more") from error
        finally:
            self.progress = None
            asyncio.get_running_loop().call_soon(self._tell_state)

    async def _up(self, keys: tuple[str, ...]) -> None:
        guest = self._defined()
        self.home.make_directories(self.name)
        records.want(self.home.places(self.name), "up")
        records.keep_keys(self.home.places(self.name), keys)
        self._tell_state()
        await self.attendant.adopt()
        executor = Executor(guest, self.home, self.tell)
        if self.running is None:
            self._executor = executor
            try:
                await self._carry_out(executor)
            finally:
                if executor.running is not None and executor.booted is not None:
                    self.attendant.attend(executor.running, executor.booted)

    async def _carry_out(self, executor: Executor) -> None:
        """Plan and carry out; after what took long plan anew: a port that was free may be taken by now."""
        while True:
            plan = await self.plan_up(executor.guest)
            long = next((index for index, step in enumerate(plan) if isinstance(step, BuildIso | AcceptDisk)), None)
            if long is None:
                return await executor.carry_out(plan)
            await executor.carry_out(plan[: long + 1])

    async def _change(self) -> None:
        guest = self._defined()
        place = await self.place(guest)
        await Executor(guest, self.home, self.tell, self.running).carry_out(live(guest, place))
        if self.running and (booted := records.booted(place.layout)):
            self.attendant.booted = booted

    def _defined(self) -> Guest:
        if self.guest is None:
            raise VmdError(f"{self.name} is not defined any more", "define it again, or vmctl down it")
        return self.guest

    async def _down(self, patience: float | None, before: asyncio.Task[None] | None) -> None:
        self._tell_state()
        if before is not None:
            before.cancel()
            with suppress(asyncio.CancelledError, VmdError):
                await before
        if await self._give_up_install():
            return
        await self.attendant.adopt()
        with self.attendant.stopping():
            ladder = Ladder(self.running, self.attendant.wait_gone, self.tell)
            await ladder.climb_down(await self._plan_down(patience))
        if self.running is not None:
            raise TimedOut(f"{self.name}: QEMU could not be ended", "vmctl status says its pid")

    async def _plan_down(self, patience: float | None) -> tuple[Down, ...]:
        guest = self.guest
        if guest is None:
            return (Quit(reconcile.QUIT_TAKES), Kill())
        return reconcile.down(guest, await self.place(guest), guest.stop_timeout if patience is None else patience)

    async def _give_up_install(self) -> bool:
        """End an install that is under way; say whether there was one."""
        places = self.home.places(self.name, self.guest)
        process, _ = records.under_way(places)
        if process is None:
            return False
        await process.terminate(grace=5.0)
        for path in (places.install_record, places.disk_tmp):
            Path(path).unlink(missing_ok=True)
        self.tell("ladder", rung="quit", text="the install was given up; nothing of its disk is left")
        return True

    # -- what outlives us

    async def adopt(self) -> None:
        """Take hold of what an earlier vmd left: a running QEMU or an install; see what ended meanwhile."""
        places = self.home.places(self.name)
        installing, _ = records.under_way(places)
        if installing is not None:
            installing.close()
        if Path(places.install_record).exists() and self.guest is not None:
            text = "takes over the install" if installing else "starts the install afresh"
            self.tell("note", text=f"vmd was away: it {text} that was under way")
            self.up()
        else:
            await self.attendant.adopt()

    # -- when it ends

    def _ended(self, cause: Cause, text: str) -> None:
        """A run ended: say so, and start the guest again where its definition says so."""
        if cause in FAILURES:
            self.error = f"{self.name}: {text}"
        self.tell("exit", cause=cause, text=text)
        if not self.busy:
            self._tell_state()
            self._restart_if_due()

    def _restart_if_due(self) -> None:
        if self.guest is None or records.wanted(self.home.places(self.name)) != "up":
            return
        verdict = after_end(self.guest.restart, self.attendant.ends.past)
        if isinstance(verdict, Again):
            self.tell("restart", delay=verdict.delay, attempt=verdict.attempt)
            self._again = asyncio.create_task(self._start_again(verdict.delay), name=f"restart {self.name}")
        elif verdict.gave_up:
            self.error = f"{self.name}: {verdict.why}"
            self.tell("gave-up", text=verdict.why)

    async def _start_again(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._again = None
        if not self.busy:
            self._start_job("up", self._up(()))

    def _no_restart(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def remove(self) -> None:
        """Put all that it has in the trash; it must not run."""
        left = self.guest.disk.path if self.guest and self.guest.disk else None
        trash.discard(self.home, self.home.places(self.name), self.name, left)
        self.error = None
        self._tell_state()

    async def release(self) -> None:
        """Let go of everything, end nothing: vmd goes, the guest stays."""
        for task in (self.job, self._again):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, VmdError):
                    await task
        await self.attendant.release()

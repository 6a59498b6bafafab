"""The life of one guest of a test: made ready, started, killed, put back to where it was."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..definition.network import USER
from ..errors import QemuFailed, TimedOut, VmdError
from ..host import disk, files, job, port, ssh
from ..plan import reconcile
from ..plan.cmdline import Place
from ..plan.observed import Pins
from ..plan.step import Start, Up
from ..protocol import RUNGS
from . import execute, line
from .facts import Facts
from .login import Login
from .observe import observe
from .run import Run
from .settings import Settings
from .terminal import Terminal

READY = "ready"
"""The snapshot that a guest is put back to."""

ROOM = 64 << 30
"""Bytes that all snapshots together may have; none is taken before it is needed."""

KNOCK = 0.2
"""Seconds between two knocks at a guest's ssh port."""

PORT_TAKEN = "Could not set up host forwarding rule"
"""What QEMU says when somebody else was faster (7.2 to 10.0)."""

ATTEMPTS = 5

PROVE_ADDRESS = frozenset({ssh.Answer.SSH, ssh.Answer.OTHER, ssh.Answer.CLOSED})
"""Only a guest with an address does one of these: QEMU itself accepts, and then says nothing."""


class Made(NamedTuple):
    """What a guest is started with, each time the same."""

    start: Start
    later: tuple[Up, ...]
    scale: float


class Life:
    """One guest, from its first start to the end of its tests; made of its definition and where it keeps things."""

    def __init__(self, guest: Guest, places: GuestLayout, facts: Facts, login: Login, settings: Settings) -> None:
        self.guest, self.places, self.settings = guest, places, settings
        self.login = login
        self.ssh_port = 0
        self.argv: tuple[str, ...] = ()
        self.terminal = Terminal(guest.name, lambda: self.run)
        self._facts = facts
        self._made: Made | None = None
        self._run: Run | None = None

    @property
    def run(self) -> Run:
        """What runs of it.

        :raise QemuFailed: it doesn't run.
        """
        if self._run is None:
            raise QemuFailed(f"{self.guest.name} does not run", "power.on() starts it")
        return self._run

    @property
    def made(self) -> Made:
        """What it is started with.

        :raise VmdError: it was never started.
        """
        if self._made is None:
            raise VmdError(f"{self.guest.name} was never started")
        return self._made

    @property
    def patience(self) -> float:
        """How long it may take to be ready, in seconds: longer where the host is slow."""
        return self.settings.timeout * self.made.scale

    async def begin(self) -> None:
        """Start it for the first time, wait until it is ready, and remember how it then is.

        :raise VmdError: it can't be started, or isn't ready in time.
        """
        for attempt in range(ATTEMPTS):
            await self._make()
            try:
                await self.start()
                break
            except QemuFailed as error:
                if PORT_TAKEN not in error.message or attempt == ATTEMPTS - 1:
                    raise
        await self.until_ready()
        if self.settings.snapshot:
            await self.snapshot("save", READY)

    async def _make(self) -> None:
        """Have the plan, and carry out what comes before the start."""
        places = self.places
        for directory in (places.dir, places.runtime):
            files.make_directory(Path(directory))
        scratch = Path(places.dir) / "vmstate.qcow2"
        if not scratch.exists():
            await disk.create(scratch, ROOM)
        guest = self.guest = await self._over(self.guest)
        on_user = any(nic.network == USER for nic in guest.nics)
        self.ssh_port = _port() if on_user else 0
        if guest.install and not Path(places.disk).exists():
            raise execute.refuse_install(guest)
        host = await self._facts.host(guest.run_by.binary, guest.accel)
        pins: Pins | None = None
        seen = await observe(guest, places, keys=(self.login.public,), ssh_port=self.ssh_port, pins=pins)
        plan = reconcile.up(guest, None, Place(places, host, seen))
        later = [step for step in plan if not await execute.make_ready(step)]
        start = next(step for step in later if isinstance(step, Start))
        self._made = Made(start, tuple(later), host.qemu[guest.run_by.binary].tcg_scale)

    async def _over(self, guest: Guest) -> Guest:
        """The guest with a disk that lies over the one its definition names, which stays as it is."""
        own = guest.disk
        if own is None or own.path is None:
            return guest
        if Path(own.path).exists():
            await disk.create(Path(self.places.disk), backing=Path(own.path), backing_format=own.format)
        return guest.model_copy(update={"disk": own.model_copy(update={"path": None, "format": "qcow2"})})

    async def start(self, *, cut: int = 0, restore: str = "") -> None:
        """Start its QEMU, from the beginning or from a snapshot; at the ``cut``-th write its power fails, if any."""
        start = self.made.start
        scratch = f"{self.places.dir}/vmstate.qcow2"
        words = tuple(line.of_test(start.options, scratch, cut))
        self.argv = (start.binary, *words)
        self.terminal.skip()
        self._run = await Run.begin(self.argv, self.places, self.terminal.heard, fragile=bool(cut))
        if restore:
            await self.snapshot("load", restore)
        await self.run.monitor.cont()
        if not restore:
            for step in self.made.later:
                await execute.follow(step, self.guest, self.run.monitor.execute, self.terminal)

    async def until_ready(self) -> None:
        """Wait for what its settings call ready."""
        ready = self.settings.ready
        if isinstance(ready, str):
            await self.until_rung(ready, self.patience)
        elif ready is not None:
            await self.terminal.expect(ready, self.patience)
        else:
            await self.terminal.find_shell(self.patience, self.settings.login, self.settings.password)

    async def until_rung(self, rung: str, timeout: float) -> None:  # noqa: ASYNC109 - our own words
        """Wait for a rung of readiness.

        :raise VmdError: there is no such rung, or the guest can't reach it.
        :raise TimedOut: it is not reached in time.
        :raise QemuFailed: the guest ended first.
        """
        if rung not in RUNGS:
            raise VmdError(f"there is no rung {rung!r}", f"one of {', '.join(RUNGS)}")
        if rung in ("address", "ssh") and not self.ssh_port:
            raise VmdError(f"{self.guest.name} has no NIC on {USER}, so nobody could see its {rung}")
        try:
            async with asyncio.timeout(timeout):
                while not await self._has(rung):
                    if self.run.why:
                        raise QemuFailed(f"{self.guest.name}: {self.run.why} before {rung}")
                    await asyncio.sleep(KNOCK)
        except TimeoutError:
            said = self.terminal.heard.text[-300:].strip()
            raise TimedOut(
                f"{self.guest.name} is not at {rung} after {timeout:g} s", f"it said last: {said!r}"
            ) from None

    async def _has(self, rung: str) -> bool:
        if rung == "process":
            return self.run.process.alive
        if rung == "kernel":
            return self.terminal.heard.end > 0
        if rung == "link" and self.run.link:
            return True
        if not self.ssh_port:
            return False
        answer = (await ssh.banner("127.0.0.1", self.ssh_port, timeout=3.0)).answer
        return answer is ssh.Answer.SSH or (rung != "ssh" and answer in PROVE_ADDRESS)

    async def snapshot(self, what: str, tag: str) -> None:
        """Save, load or delete a snapshot of its memory and all that it may write to (QEMU 6.0: ``snapshot-save``).

        :raise QemuFailed: QEMU could not.
        """
        monitor, name = self.run.monitor, f"snapshot-{what}"
        nodes = [line.VMSTATE, *line.writable(self.made.start.options)]
        where: dict[str, object] = {"job-id": name, "tag": tag, "devices": nodes}
        if what != "delete":
            where["vmstate"] = line.VMSTATE
        await job.run(monitor, name, lambda: monitor.execute(name, timeout=job.STANDSTILL, **where))

    async def reset(self) -> None:
        """Put it back to where it was when it was ready, whatever became of it."""
        if not self.settings.snapshot:
            hint = f"write lab: {{guests: {{{self.guest.name}: {{snapshot: true}}}}}}"
            raise VmdError(f"{self.guest.name} has no snapshot to go back to", hint)
        if self._run is None or self._run.why or not self._run.process.alive:
            await self.kill()
            await self.start(restore=READY)
        else:
            await self.run.monitor.execute("stop")
            await self.snapshot("load", READY)
            await self.run.monitor.cont()
        self.terminal.skip()

    async def kill(self) -> None:
        """Take its power away."""
        run, self._run = self._run, None
        if run:
            await run.end()

    async def screen(self, path: Path) -> Path | None:
        """What its screen shows, or nothing where it has none."""
        with suppress(VmdError):
            form = await self.run.monitor.screendump(path)
            return path if form == "png" else path.rename(path.with_suffix(".ppm"))
        return None


def _port() -> int:
    """A free port; test runs side by side begin to look at different places."""
    return port.free_port(preferred=secrets.choice(port.FORWARDED), taken=())

"""One living QEMU and every hold we have on it: its process, its monitor, its console, and how ready it is."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import QemuFailed, VmdError
from ..host import files, ssh
from ..host.console import Console
from ..host.monitor import Monitor, MonitorEvent
from ..host.process import Process
from ..host.transcript import read_from
from ..installer.contract import HostKey, Transcript
from .readiness import Readiness

CONNECT_TIME = 30.0
"""How long a new QEMU may take to answer on its monitor, in seconds: a busy machine needs some."""

ANSWERS = 2.0
"""How long QEMU may take to say what it is doing, in seconds; it takes a millisecond."""

PICTURE_LIMIT = 64 << 20
"""Bytes of a screen: more than 4096 x 4096 pixels make uncompressed."""

PROBE_EVERY = 0.3
"""How often a guest that has not answered on ssh yet is tried, in seconds."""

PROVE_ADDRESS = frozenset({ssh.Answer.SSH, ssh.Answer.OTHER, ssh.Answer.CLOSED})
"""Only a guest with an address does one of these: QEMU itself accepts, and then says nothing."""


NO_SPACE = "no space"
"""What a guest is paused by that its host's disk has no room for."""


class Running:
    """One run of a guest; ``since`` is when it began, by the wall clock.

    Its monitor and its console are there once :meth:`hold` has returned; a QEMU that hangs is held by its process
    alone.
    """

    def __init__(
        self, name: str, process: Process, places: GuestLayout, announce: Callable[[str, float], None], since: float
    ) -> None:
        self.name, self.process, self.places, self.since = name, process, places, since
        self._monitor: Monitor | None = None
        self._console: Console | None = None
        self.readiness = Readiness(announce, time.monotonic() - max(0.0, time.time() - since))
        self.powered_off = asyncio.Event()
        self.panicked = asyncio.Event()
        self.over = asyncio.Event()
        self.paused: str | None = None
        self._pause_changed = asyncio.Event()
        self._background: asyncio.Task[None] | None = None
        self.ssh_port = 0
        self._learnt: Callable[[], str | None] | None = None
        self.on_said: Callable[[bytes], None] | None = None
        self.on_note: Callable[[str], object] = lambda _: None
        self._transcript: Transcript | None = None
        self._climb: asyncio.Task[None] | None = None

    async def hold(self, console_log: str, patience: float = CONNECT_TIME) -> None:
        """Take hold of the QEMU, whether it was just started or is adopted, within ``patience`` seconds.

        :raise QemuFailed: it ended before it answered.
        :raise TimedOut: it doesn't answer.
        """
        exited = self.process.exited
        monitor = await Monitor.connect(
            Path(self.places.qmp), process_exited=exited, timeout=patience, on_event=self._heard
        )
        try:
            self._console = await Console.connect(
                Path(self.places.console), Path(console_log), process_exited=exited, on_output=self._said
            )
            self._monitor = monitor
            await self._take_state(await monitor.status())
        except BaseException:
            self._monitor = None
            await monitor.close()
            raise
        self.readiness.climb("process")

    @property
    def held(self) -> bool:
        """Its monitor and its console are ours."""
        return self._monitor is not None

    @property
    def monitor(self) -> Monitor:
        """Its monitor.

        :raise QemuFailed: it doesn't answer, so there is none.
        """
        if self._monitor is None:
            raise self._hangs("monitor")
        return self._monitor

    @property
    def console(self) -> Console:
        """Its console.

        :raise QemuFailed: it doesn't answer, so there is none.
        """
        if self._console is None:
            raise self._hangs("console")
        return self._console

    def _hangs(self, what: str) -> QemuFailed:
        hint = f"vmctl down {self.name} ends it, by force if need be"
        return QemuFailed(f"{self.name}: its QEMU (pid {self.process.pid}) hangs, and has no {what}", hint)

    async def _take_state(self, status: str) -> None:
        """What happened while nobody listened."""
        if status == "shutdown":
            self._is_over(self.powered_off)
        elif status == "guest-panicked":
            self._is_over(self.panicked)
        elif status == "io-error":
            told = [each.get("io-status") for each in await self.monitor.execute("query-block")]
            self._pause(NO_SPACE if "nospace" in told else "an error of its disk")

    def _heard(self, event: MonitorEvent) -> None:
        match event.name:
            case "SHUTDOWN" if event.data.get("guest"):
                self._is_over(self.powered_off)
            case "GUEST_PANICKED":
                self._is_over(self.panicked)
            case "WATCHDOG":
                self.on_note(f"its watchdog was not fed and bit: {event.data.get('action')}")
            case "NIC_RX_FILTER_CHANGED":
                self.readiness.climb("link")
            case "BLOCK_IO_ERROR" if event.data.get("action") == "stop":
                self._pause(NO_SPACE if event.data.get("nospace") else str(event.data.get("reason")))
            case "RESUME":
                self._pause(None)

    def _pause(self, why: str | None) -> None:
        self.paused = why
        self._pause_changed.set()

    async def until_paused(self) -> str:
        """Return when it can't go on; what it needs."""
        while self.paused is None:
            self._pause_changed.clear()
            await self._pause_changed.wait()
        return self.paused

    async def until_resumed(self) -> None:
        """Return when it goes on."""
        while self.paused is not None:
            self._pause_changed.clear()
            await self._pause_changed.wait()

    def _is_over(self, why: asyncio.Event) -> None:
        """The guest has ended, though its QEMU has not: what is left is paused."""
        why.set()
        self.over.set()

    @property
    def door(self) -> tuple[str, int] | None:
        """Where its ssh answers, if anywhere: at a port of this host's, or at an address of its own."""
        if self.ssh_port:
            return "127.0.0.1", self.ssh_port
        address = self._learnt() if self._learnt else None
        return (address, 22) if address else None

    def watch(self, guest: Guest, ssh_port: int, learnt: Callable[[], str | None] | None = None) -> None:
        """Watch it climb, in the background, until it answers on ssh or ends.

        ``ssh_port`` leads there; where it is 0, ``learnt`` says the guest's own address; without both it never will.
        """
        self.ssh_port, self._learnt = ssh_port, learnt
        self._transcript = Transcript()
        if not self.held:
            return
        if Path(self.places.console_log).stat().st_size:
            self.readiness.climb("kernel")
        if self.has_ssh:
            self._climb = asyncio.create_task(self._probe(), name=f"climb {guest.name}")

    def _said(self, data: bytes) -> None:
        self.readiness.climb("kernel")
        if self.on_said:
            self.on_said(data)
        if self._transcript is not None:
            messages = self._transcript.feed(data)
            remember_keys(self.name, self.places, (key for key in messages if isinstance(key, HostKey)))

    @property
    def has_ssh(self) -> bool:
        """There is a way to its ssh, or will be when its address is known."""
        return bool(self.ssh_port or self._learnt)

    @property
    def last_line(self) -> str:
        """The last line it said on its console since we watch it."""
        return self._transcript.last_line if self._transcript else ""

    async def _probe(self) -> None:
        """Knock at its ssh port until its own host key answers.

        A door that is shut in our face proves an address; silence proves nothing.
        """
        await self.readiness.wait("kernel")
        known = Path(self.places.known_hosts)
        while self.process.alive:
            door = self.door
            if door is None:
                await asyncio.sleep(PROBE_EVERY)
                continue
            answer = (await ssh.banner(*door, timeout=3.0)).answer
            if answer in PROVE_ADDRESS:
                self.readiness.climb("address")
            if answer is ssh.Answer.SSH and known.exists():
                verified = await ssh.verify(*door, known, self.name, timeout=20.0)
                if verified.verdict is ssh.Verdict.VERIFIED:
                    self.readiness.climb("ssh")
                    return
            await asyncio.sleep(PROBE_EVERY)

    async def state(self) -> str:
        """QEMU's own word for what it does; ``unresponsive`` where its monitor doesn't answer."""
        try:
            return str((await self.monitor.execute("query-status", timeout=ANSWERS))["status"])
        except VmdError:
            return "unresponsive"

    async def has_agent(self) -> bool:
        """Whether something in the guest holds its end of the agent's port open (``frontend-open``, QEMU 2.0)."""
        try:
            ports = await self.monitor.execute("query-chardev", timeout=ANSWERS)
        except VmdError:
            return False
        return any(port["label"] == "agent" and port["frontend-open"] for port in ports)

    async def picture(self) -> bytes:
        """What its screen shows, as a PNG, or as a PPM where QEMU knows no PNG.

        QEMU draws it, as its own user, in the one directory that it may write to.

        :raise VmdError: it has no screen, or doesn't answer.
        """
        path = Path(self.places.runtime) / f"screen-{secrets.token_hex(4)}"
        try:
            await self.monitor.screendump(path)
            return read_from(path, 0, PICTURE_LIMIT)
        finally:
            path.unlink(missing_ok=True)

    async def end(self, grace: float) -> None:
        """Let QEMU write what it holds, and go; killed when it doesn't within ``grace`` seconds."""
        with suppress(VmdError):
            await self.monitor.quit()
        await asyncio.wait({self.process.exited}, timeout=grace)
        await self.process.terminate(grace=1.0)

    def tend(self, work: Coroutine[Any, Any, None]) -> None:
        """Have this done for as long as it is held."""
        self._background = asyncio.create_task(work, name=f"tend {self.name}")

    def stop_climbing(self) -> None:
        """Don't knock at its door any more: it is on its way down."""
        if self._climb:
            self._climb.cancel()

    async def release(self) -> None:
        """Let go of it; the process, if it lives, goes on."""
        for task in (self._climb, self._background):
            if task:
                task.cancel()
                with suppress(asyncio.CancelledError, VmdError):
                    await task
        if self._console:
            await self._console.close()
        if self._monitor:
            await self._monitor.close()
        self.process.close()


def remember_keys(name: str, places: GuestLayout, keys: Iterable[HostKey]) -> None:
    """Keep the host keys a guest showed on its own console; of each kind the first that was seen stays."""
    known = Path(places.known_hosts)
    held = known.read_text() if known.exists() else ""
    kinds = {line.split()[1] for line in held.splitlines() if len(line.split()) > 2}
    new = {key.type: ssh.known_hosts_line(name, key.type, key.key) for key in keys if key.type not in kinds}
    if new:
        # ssh runs as the operator: host keys are public
        files.write_atomic(known, held + "".join(f"{line.strip()}\n" for line in new.values()), mode=0o644)

"""One QEMU of a test's guest: started paused, listened to from its first byte, gone when the test run is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Self

from ..definition.layout import GuestLayout
from ..errors import QemuFailed, VmdError
from ..host.console import Console
from ..host.monitor import Monitor, MonitorEvent
from ..host.process import Process, spawn
from .heard import Heard

CONNECT_TIME = 30.0
"""How long a new QEMU may take to answer on its monitor, in seconds."""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
"""All that QEMU gets to know of our environment."""


class Run:
    """A living QEMU and every hold we have on it; made by :meth:`begin`.

    ``why`` says what ended the guest, and is empty while it lives. With ``fragile``, the first write that fails is
    where its power fails: it is killed at once.
    """

    def __init__(self, process: Process, heard: Heard, *, fragile: bool) -> None:
        self.process, self.heard = process, heard
        self.why = ""
        self.cut = False
        self.link = False
        self._fragile = fragile
        self._monitor: Monitor | None = None
        self._console: Console | None = None

    @classmethod
    async def begin(cls, argv: Sequence[str], places: GuestLayout, heard: Heard, *, fragile: bool = False) -> Self:
        """Start a QEMU; it is held paused.

        :raise QemuFailed: it would not start; says what it said.
        """
        for name in (places.qmp, places.monitor, places.console, places.vnc, places.agent):
            Path(name).unlink(missing_ok=True)
        log = Path(places.qemu_log)
        log.unlink(missing_ok=True)
        process = await spawn(argv, log=log, cwd=Path("/"), env=ENVIRONMENT, die_with_parent=True)
        run = cls(process, heard, fragile=fragile)
        try:
            await run._hold(places)
        except VmdError as error:
            await process.terminate(grace=0)
            said = log.read_text(errors="replace").strip()[-2000:]
            raise QemuFailed(f"QEMU did not start: {said or error.message}") from error
        except BaseException:
            await process.terminate(grace=0)
            raise
        process.exited.add_done_callback(lambda _: run._over("its QEMU has ended"))
        return run

    async def _hold(self, places: GuestLayout) -> None:
        exited = self.process.exited
        self._monitor = await Monitor.connect(
            Path(places.qmp), process_exited=exited, timeout=CONNECT_TIME, on_event=self._event
        )
        self._console = await Console.connect(
            Path(places.console), Path(places.console_log), process_exited=exited, on_output=self.heard.feed
        )

    @property
    def monitor(self) -> Monitor:
        """Its monitor."""
        assert self._monitor is not None, "begin() has connected it"  # noqa: S101
        return self._monitor

    @property
    def console(self) -> Console:
        """Its console."""
        assert self._console is not None, "begin() has connected it"  # noqa: S101
        return self._console

    def _event(self, event: MonitorEvent) -> None:
        match event.name:
            case "SHUTDOWN" if event.data.get("guest"):
                self._over("it has powered off")
            case "GUEST_PANICKED":
                self._over("its kernel panicked")
            case "NIC_RX_FILTER_CHANGED":
                self.link = True
            case "BLOCK_IO_ERROR" if self._fragile and event.data.get("operation") == "write":
                self.cut = True
                self.process.signal(SIGKILL)
                self._over("its power failed")

    def _over(self, why: str) -> None:
        self.why = self.why or why
        self.heard.wake()

    def revive(self) -> None:
        """It has been put back to where it lived."""
        self.why = ""

    async def end(self) -> None:
        """Kill it, and let go of it."""
        self._over("its power was cut")
        self.process.signal(SIGKILL)
        if self.process.alive:
            await asyncio.wait({self.process.exited})
        for held in (self._console, self._monitor):
            if held:
                with suppress(VmdError, OSError):
                    await held.close()
        self.process.close()

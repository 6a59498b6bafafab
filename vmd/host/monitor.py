"""One QEMU's monitor: commands, answers and events over QMP.

QEMU makes the socket itself: ``-chardev socket,id=qmp,path=…,server=on,wait=off -mon chardev=qmp,mode=control``.
It serves one client at a time; a second one is connected and hears nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self
from weakref import WeakSet

from qemu.qmp import ConnectError, ExecuteError, Message, QMPClient, QMPError, Runstate
from qemu.qmp.qmp_client import NegotiationError

from vmd.errors import QemuFailed, TimedOut
from vmd.host.dial import dial

PATIENCE: Final = 10.0
"""Seconds for one command; an idle QEMU 7.2 answers in 0.3 ms, one on a stuck disk never."""

log = logging.getLogger(__name__)

# The library logs as an error whatever it also raises, and vmd reports what is raised. CRITICAL is a bug of its own.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class MonitorEvent:
    """What QEMU told without being asked; ``seconds`` since the epoch by the host's clock."""

    name: str
    data: dict[str, Any]
    seconds: float


class Monitor:
    """The connection to one QEMU's monitor; made by :meth:`connect`.

    Each command has its own time limit, so a QEMU that hangs holds up nobody but who asked it.
    """

    def __init__(self, path: Path, connection: socket.socket) -> None:
        self.path = path
        self._connection = connection
        self._client = QMPClient()
        # As a filter that takes nothing: a listener of the library keeps each event it ever took, for ever.
        self._client.events.event_filter = self._hear
        self._callbacks: list[Callable[[MonitorEvent], None]] = []
        self._queues: WeakSet[asyncio.Queue[MonitorEvent | None]] = WeakSet()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watcher: asyncio.Task[None] | None = None
        self._lending = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        path: Path,
        *,
        process_exited: asyncio.Future[Any] | None = None,
        timeout: float = PATIENCE,  # noqa: ASYNC109 - the message says which socket did not answer
        on_event: Callable[[MonitorEvent], None] | None = None,
    ) -> Self:
        """Connect to a QEMU that runs or is being started, within ``timeout`` seconds.

        ``on_event`` hears events from the very first on. Raises QemuFailed when the process ends first or speaks no
        QMP, TimedOut when nobody answers.
        """
        try:
            async with asyncio.timeout(timeout):
                monitor = await cls._greeted(path, process_exited, on_event)
        except TimeoutError:
            hint = "is something else connected to it? QEMU serves one client at a time"
            raise TimedOut(f"{path} did not answer within {timeout:g} s", hint) from None
        except ConnectError as error:
            raise await _why_not(path, error, process_exited) from error
        monitor._watcher = asyncio.create_task(monitor._watch(), name=f"monitor {path}")
        return monitor

    @classmethod
    async def _greeted(
        cls, path: Path, process_exited: asyncio.Future[Any] | None, on_event: Callable[[MonitorEvent], None] | None
    ) -> Self:
        """Connect and shake hands; once more where the first answer made no sense.

        It did not in one start of some thousand, of a QEMU 7.2 that was met while it was still setting itself up.
        """
        for last in (False, True):
            monitor = cls(path, await dial(path, process_exited))
            if on_event:
                monitor._callbacks.append(on_event)
            try:
                await monitor._shake_hands()
            except ConnectError as error:
                if last or not isinstance(error.exc, NegotiationError):
                    raise
            else:
                return monitor
        raise AssertionError("one of the two returned or raised")

    async def _shake_hands(self) -> None:
        await self._client.connect(self._connection)

    @property
    def connected(self) -> bool:
        """Whether QEMU has not hung up, nor we."""
        return self._client.runstate == Runstate.RUNNING

    @property
    def disconnected(self) -> asyncio.Future[None]:
        """Done when the connection is over. Each look is a future of its own: to cancel one cancels no other."""
        return asyncio.shield(self._over)

    def on_disconnect(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once when the connection is over, soon if it already is."""
        self._over.add_done_callback(lambda _: call())

    async def execute(
        self,
        command: str,
        /,
        *,
        timeout: float = PATIENCE,  # noqa: ASYNC109 - the message says which command
        **arguments: Any,
    ) -> Any:
        """Have QEMU execute one QMP command and return its answer; ``timeout`` is in seconds.

        Raises QemuFailed with QEMU's own words when it refuses or hangs up, TimedOut when it does not answer: the
        command may be carried out all the same.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._client.execute(command, arguments or None)
        except TimeoutError:
            raise TimedOut(f"QEMU did not answer {command} on {self.path} within {timeout:g} s") from None
        except ExecuteError as error:
            raise QemuFailed(f"QEMU refused {command}: {error}") from error
        except QMPError as error:
            raise QemuFailed(f"QEMU hung up on {self.path} at {command}: {error}") from error

    def events(self) -> AsyncIterator[MonitorEvent]:
        """Return the events from this call on, until the connection is over.

        Not bounded: QEMU itself limits the rate of those a guest can bring about often.
        """
        queue: asyncio.Queue[MonitorEvent | None] = asyncio.Queue()
        if self._over.done():
            queue.put_nowait(None)
        self._queues.add(queue)
        return _until_none(queue)

    async def status(self) -> str:
        """Return QEMU's run state, as its QMP reference has it: ``running``, ``paused``, ``shutdown``, ….

        ``prelaunch`` is one that was started with -S, ``shutdown`` a guest that has powered off.
        """
        return str((await self.execute("query-status"))["status"])

    async def cont(self) -> None:
        """Let the guest run."""
        await self.execute("cont")

    async def power_button(self) -> None:
        """Press the ACPI power button; a guest whose kernel is not up yet does not feel it."""
        await self.execute("system_powerdown")

    async def quit(self) -> None:
        """Have QEMU end at once, disks flushed; fine if it hangs up before it has answered."""
        try:
            await self.execute("quit")
        except QemuFailed:
            if self.connected:
                raise

    async def screendump(self, path: Path) -> Literal["png", "ppm"]:
        """Have QEMU, as its own user, write a picture of the screen; return the format it could write.

        PNG needs QEMU 7.1 built with libpng. Raises QemuFailed when there is no screen or no way to write.
        """
        try:
            await self.execute("screendump", filename=str(path), format="png")
        except QemuFailed:
            await self.execute("screendump", filename=str(path))  # and if that fails too, it says why
            return "ppm"
        return "png"

    async def lend(self, descriptor: int) -> int:
        """Give QEMU a file that it may not open by itself; return N of the ``/dev/fdset/N`` to name it by.

        Our own descriptor can be closed at once (QMP reference, ``add-fd``).
        """
        async with self._lending:  # QEMU keeps the descriptors of one message only
            self._client.send_fd_scm(descriptor)
            return int((await self.execute("add-fd"))["fdset-id"])

    async def take_back(self, number: int) -> None:
        """Have QEMU close what :meth:`lend` gave it, once no node uses it any more."""
        arguments: dict[str, Any] = {"fdset-id": number}
        await self.execute("remove-fd", **arguments)

    async def hmp(self, line: str) -> str:
        """Have QEMU carry out a line of its human monitor and return what that printed; a failure is text too."""
        arguments: dict[str, Any] = {"command-line": line}
        return str(await self.execute("human-monitor-command", **arguments))

    async def close(self) -> None:
        """Hang up, whatever state QEMU is in; the guest runs on."""
        with suppress(OSError):  # it has hung up already
            self._connection.shutdown(socket.SHUT_RDWR)
        if self._watcher:
            await asyncio.wait({self._watcher})

    async def _watch(self) -> None:
        while self.connected:
            await self._client.runstate_changed()
        with suppress(Exception):  # the library re-raises why it is over; who waits for an answer has been told
            await self._client.disconnect()
        for queue in self._queues:
            queue.put_nowait(None)
        self._over.set_result(None)

    def _hear(self, message: Message) -> bool:
        stamp: Any = message.get("timestamp") or {}
        seconds = stamp.get("seconds", 0) + stamp.get("microseconds", 0) / 1e6
        data: Any = message.get("data") or {}
        event = MonitorEvent(str(message["event"]), data, seconds)
        for queue in self._queues:
            queue.put_nowait(event)
        for call in self._callbacks:
            try:
                call(event)
            except Exception:  # else the library would hang up on QEMU for a fault of ours
                log.exception("at event %s of %s", event.name, self.path)
        return False


async def _until_none(queue: asyncio.Queue[MonitorEvent | None]) -> AsyncIterator[MonitorEvent]:
    while (event := await queue.get()) is not None:
        yield event


async def _why_not(path: Path, error: ConnectError, process_exited: asyncio.Future[Any] | None) -> QemuFailed:
    """QEMU's end closes the socket a moment before its process is gone: wait for that moment, it says more."""
    if process_exited is not None and isinstance(error.exc, EOFError | OSError):
        await asyncio.wait({process_exited}, timeout=1)
        if process_exited.done():
            return QemuFailed(f"QEMU {process_exited.result()} before it answered on {path}")
    return QemuFailed(f"{path} speaks no QMP: {error}")

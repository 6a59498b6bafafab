"""The serial console of one guest, for any number of readers.

QEMU: ``-chardev socket,id=console0,path=…,server=on,wait=off,logfile=…,logappend=on -serial chardev:console0``.
Measured on QEMU 7.2: it serves one client; a client that does not read stops the guest's output, and the log, after
about 300 bytes; a client that comes late gets no backlog. So the daemon is that one client, always reads, and fans
out; the log has everything from byte 0, also what was said while no daemon ran. But the log repeats a byte for each
time the client's queue was full (QEMU logs what it failed to send, and logs it again when it has sent it): whoever
looks for a word in a flood of output does better to hear it live, by ``on_output``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from vmd.errors import QemuFailed, TimedOut, VmdError
from vmd.host.dial import dial
from vmd.host.rotate import rotate
from vmd.host.transcript import read_from

TAIL: Final = 16 << 10
"""Bytes of the past kept for who attaches: a few screens."""

BACKLOG: Final = 256 << 10
"""Bytes kept for a reader who is slow: 2 to 5 seconds of the fastest console (56 to 160 KiB/s, QEMU 7.2)."""

SEAM: Final = 64
"""Bytes by which to find a place in the log again; console output of that length seldom repeats itself."""

PIECE: Final = 4 << 10
"""Bytes of input taken at a time; people type, and a paste is a few KiB."""

BOUND: Final = 16 << 20
"""Bytes of a transcript; then it becomes the previous one, so that a guest can't fill the host's disk by talking."""

LOOK_AFTER: Final = 1 << 20
"""Bytes of output after which to see how large the transcript has become."""

log = logging.getLogger(__name__)


class Attachment:
    """One reader of a console: iterate over it for the tail and all that comes, until QEMU ends.

    A reader too slow loses the oldest of what waits for him, and ``skipped`` counts the bytes he has lost so far.
    """

    def __init__(self, console: Console, tail: bytes, backlog: int) -> None:
        self.skipped = 0
        self._console = console
        self._waiting = bytearray(tail)
        self._backlog = backlog
        self._ended = False
        self._news = asyncio.Event()

    def close(self) -> None:
        """Detach; what still waits can be read."""
        self._console._attachments.discard(self)
        self._end()

    def _feed(self, data: bytes) -> None:
        self._waiting += data
        surplus = max(0, len(self._waiting) - self._backlog)
        del self._waiting[:surplus]
        self.skipped += surplus
        self._news.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        data = bytes(self._waiting)
        self._waiting.clear()
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Console:
    """The daemon's end of one serial console; made by :meth:`connect`."""

    def __init__(self, path: Path, transcript: Path, on_output: Callable[[bytes], None] | None) -> None:
        self.path = path
        self._attachments: set[Attachment] = set()
        self._on_output = on_output
        self._output = asyncio.Event()
        self._writable = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._transcript = transcript
        self._known = _size(transcript)
        self._tail = bytearray(read_from(transcript, max(0, self._known - TAIL), min(TAIL, self._known)))
        self._seam: bytearray | None = bytearray()
        self._unlooked = LOOK_AFTER  # what was said while nobody looked is unknown

    @classmethod
    async def connect(
        cls,
        path: Path,
        transcript: Path,
        *,
        process_exited: asyncio.Future[Any] | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109 - the message says which socket did not answer
        on_output: Callable[[bytes], None] | None = None,
    ) -> Self:
        """Connect to the console socket of a QEMU that runs or is being started; ``transcript`` is its logfile.

        ``on_output`` hears all output from now on. Raises QemuFailed when the process ends first, TimedOut when no
        socket is there within ``timeout`` seconds.
        """
        console = cls(path, transcript, on_output)
        try:
            async with asyncio.timeout(timeout):
                connection = await dial(path, process_exited)
        except TimeoutError:
            raise TimedOut(f"there is no console at {path} after {timeout:g} s") from None
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: _Wire(console), sock=connection)
        return console

    @property
    def connected(self) -> bool:
        """Whether neither QEMU nor we have hung up."""
        return not self._over.done()

    @property
    def disconnected(self) -> asyncio.Future[None]:
        """Done when the connection is over. Each look is a future of its own: to cancel one cancels no other."""
        return asyncio.shield(self._over)

    def attach(self, tail: int = TAIL, backlog: int = BACKLOG) -> Attachment:
        """Begin to read: the last ``tail`` bytes (at most ``TAIL``) first, then what comes, without a seam.

        ``backlog`` is how many bytes may wait for this reader. Of what the guest said while the daemon was just
        connecting, a few bytes may be missing from the tail; the transcript has them.
        """
        attachment = Attachment(self, bytes(self._tail[max(0, len(self._tail) - tail) :]), backlog)
        if self.connected:
            self._attachments.add(attachment)
        else:
            attachment._end()
        return attachment

    async def write(self, data: bytes) -> None:
        """Type this at the console; waits while the guest takes no input.

        Raises QemuFailed when the connection is over, also while waiting.
        """
        for start in range(0, len(data), PIECE):
            await self._writable.wait()
            if self._transport is None or not self.connected:
                raise QemuFailed(f"QEMU has hung up its console {self.path}")
            self._transport.write(data[start : start + PIECE])

    async def output(self) -> None:
        """Wait for the next output; for ever, when the connection is over."""
        await self._output.wait()

    async def close(self) -> None:
        """Hang up; the guest runs on, and its transcript grows on."""
        if self._transport:
            self._transport.abort()
            await self.disconnected

    def _hear(self, data: bytes) -> None:
        self._tail += data
        self._mend(data)
        self._bound(len(data))
        del self._tail[: max(0, len(self._tail) - TAIL)]
        for attachment in self._attachments:
            attachment._feed(data)
        self._output.set()
        self._output.clear()  # a pulse: who waits now goes on, who comes later waits for the next
        if self._on_output:
            try:
                self._on_output(data)
            except Exception:  # else the loop would hang up on the guest for a fault of ours
                log.exception("at output of %s", self.path)

    def _bound(self, said: int) -> None:
        """See now and then that the transcript has not become too large."""
        self._unlooked += said
        if self._unlooked >= LOOK_AFTER and self._seam is None:
            self._unlooked = 0
            with suppress(OSError, VmdError):
                rotate(self._transcript, BOUND)

    def _mend(self, data: bytes) -> None:
        """Put into the tail what QEMU logged after we had read its log and before it had accepted us.

        What we were sent last is looked for in the log. That may not have it yet, or with a byte repeated: then
        what comes next is.
        """
        if self._seam is None:
            return
        self._seam += data
        if len(self._seam) < SEAM:
            return
        found = read_from(self._transcript, self._known, TAIL).find(self._seam[-SEAM:])
        missed = found + SEAM - len(self._seam)
        if found >= 0 and missed >= 0:
            place = len(self._tail) - len(self._seam)
            self._tail[place:place] = read_from(self._transcript, self._known, missed)
        if found >= 0 or len(self._seam) > PIECE:
            self._seam = None

    def _lost(self) -> None:
        self._over.set_result(None)
        self._writable.set()  # who waits to write learns that it is over
        for attachment in self._attachments:
            attachment._end()
        self._attachments.clear()


class _Wire(asyncio.Protocol):
    """What the event loop calls; a protocol and not a stream, for a stream stops reading when nobody takes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._console._transport = cast(asyncio.Transport, transport)
        self._console._transport.set_write_buffer_limits(high=PIECE)
        self._console._writable.set()

    def data_received(self, data: bytes) -> None:
        self._console._hear(data)

    def pause_writing(self) -> None:
        self._console._writable.clear()

    def resume_writing(self) -> None:
        self._console._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._console._lost()


def _size(path: Path) -> int:
    with suppress(OSError):
        return os.stat(path, follow_symlinks=False).st_size  # noqa: PTH116 - Path.stat follows by default
    return 0

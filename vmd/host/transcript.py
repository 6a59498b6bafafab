"""What a guest said on its serial console, from byte 0: the log file its QEMU writes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmd.host.files import open_regular

CHUNK: Final = 64 << 10
"""Bytes read at a time."""

SOON: Final = 0.01
"""Seconds after which to look again when there was output: QEMU logs it just after it has sent it."""

RARELY: Final = 1.0
"""Seconds between two looks at a log that nobody tells us about."""


def read_from(path: Path, start: int, limit: int) -> bytes:
    """Read at most ``limit`` bytes from byte ``start`` on; nothing where there is no file."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, limit, start)
    finally:
        os.close(fd)


async def follow(
    path: Path,
    *,
    start: int = 0,
    follow: bool = True,
    changed: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[bytes]:
    """Yield the transcript from byte ``start`` on (from the end, if negative), and go on as it grows.

    Without ``follow`` it ends at the end of the file. ``changed`` returns at the next output (Console.output);
    without it, or when it does not tell, the file is looked at once a second. A file that is not there yet is
    waited for; one that was cut short or replaced is read from its byte 0.
    """
    transcript = _Transcript(path, start)
    delay, told = SOON, False
    try:
        while True:
            if data := transcript.read():
                delay = SOON
                yield data
            elif not follow:
                return
            elif told:  # of something the log does not hold yet
                told = await _told(None, SOON)
            else:
                told = await _told(changed, delay)
                delay = SOON if told else min(2 * delay, RARELY)
    finally:
        transcript.close()


async def _told(changed: Callable[[], Awaitable[object]] | None, within: float) -> bool:
    if changed is None:
        await asyncio.sleep(within)
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await changed()
            return True
    return False


class _Transcript:
    """A place in a log file that may be cut short, or moved away and begun anew."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._place = start
        self._fd: int | None = None

    def read(self) -> bytes:
        """Return what comes next, or nothing when there is nothing yet."""
        if self._fd is None and not self._open():
            return b""
        data = self._next()
        if not data and self._begun_anew():
            data = self._next()
        return data

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _open(self) -> bool:
        with suppress(FileNotFoundError):
            self._fd = open_regular(self._path, os.O_RDONLY)
            if self._place < 0:
                self._place = max(0, os.fstat(self._fd).st_size + self._place)
        return self._fd is not None

    def _next(self) -> bytes:
        if self._fd is None:
            return b""
        data = os.pread(self._fd, CHUNK, self._place)
        self._place += len(data)
        return data

    def _begun_anew(self) -> bool:
        """Whether the file was cut short or another has its name; if so, go to byte 0 of what is there now."""
        if self._fd is None:
            return False
        ours = os.fstat(self._fd)
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            return False  # moved away, and no new one yet: QEMU may still write to the old one
        if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            self.close()
            self._place = 0
            return self._open()
        if ours.st_size < self._place:
            self._place = 0
            return True
        return False

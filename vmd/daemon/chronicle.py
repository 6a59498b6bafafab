"""What happened, on the disk: one JSON object a line, in two files of bounded size, so that it outlives the daemon.

Writing is done by a thread of its own, as much at a time as has come: it neither blocks the event loop nor fails the
work that is told of. What a full disk doesn't take waits, bounded, and is written when there is room.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

from ..errors import VmdError
from ..host.files import open_regular

BOUND: Final = 4 << 20
"""Bytes a file may have before it becomes the previous one: about 20,000 events, and as many before."""

RECENT: Final = 256 << 10
"""Bytes of the past that are read at the start: some 1,500 events, in a few milliseconds."""

WAITING: Final = 10_000
"""Lines that wait for a disk that takes none; then the oldest gives way."""

Event = dict[str, Any]

log = logging.getLogger(__name__)


class Chronicle:
    """The files at ``path`` and, the one before, ``path.1``."""

    def __init__(self, path: Path, bound: int = BOUND) -> None:
        self.path, self.previous = path, path.with_name(f"{path.name}.1")
        self._bound = bound
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._writer = ThreadPoolExecutor(1, "chronicle")
        self._writing: asyncio.Future[tuple[bytes, ...]] | None = None
        self._broken = False

    # -- the past

    def recent(self) -> list[Event]:
        """The last events an earlier daemon kept, the oldest first."""
        found = _events(_tail(self.path, RECENT))
        return found or _events(_tail(self.previous, RECENT))

    def whole(self) -> Iterator[Event]:
        """Everything kept, the oldest first; reads as it goes: call it from a thread."""
        last = 0
        with ExitStack() as files:
            # the newer first: if it becomes the previous one meanwhile, it is met twice, and nothing is missed
            opened = [file for path in (self.path, self.previous) if (file := _opened(path, files))]
            for file in reversed(opened):
                for line in file:
                    for event in _events(line):
                        if event["id"] > last:
                            last = event["id"]
                            yield event

    # -- the present

    def keep(self, event: Event) -> None:
        """Have an event written soon; never waits."""
        self._waiting.append(json.dumps(event, ensure_ascii=False).encode(errors="replace") + b"\n")
        if self._writing is None:
            self._begin()

    def _begin(self) -> None:
        lines = tuple(self._waiting)
        self._waiting.clear()
        self._writing = asyncio.get_running_loop().run_in_executor(self._writer, self._write, lines)
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[tuple[bytes, ...]]) -> None:
        self._writing = None
        left = () if writing.cancelled() else writing.result()
        room = WAITING - len(self._waiting)
        self._waiting.extendleft(reversed(left[max(0, len(left) - room) :]))
        if self._waiting and not left:
            self._begin()

    def _write(self, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Append lines, whole or not at all; return what the disk did not take. In the thread."""
        try:
            _append(self.path, b"".join(lines), self._bound)
        except (OSError, VmdError) as error:
            self._complain(error)
            return lines
        self._broken = False
        return ()

    def _complain(self, error: Exception) -> None:
        if not self._broken:
            log.warning("what happens can't be kept in %s until there is room: %s", self.path, error)
        self._broken = True

    async def flush(self) -> None:
        """Return when all that was kept has been written, or can't be."""
        while self._writing is not None:
            await asyncio.wait({self._writing})
            await asyncio.sleep(0)  # its callback may have begun the next

    async def close(self) -> None:
        """Write what waits, and end the thread."""
        await self.flush()
        if self._waiting:
            self._begin()
            await self.flush()
        self._writer.shutdown()


def _opened(path: Path, files: ExitStack) -> IO[bytes] | None:
    try:
        return files.enter_context(os.fdopen(open_regular(path, os.O_RDONLY), "rb"))
    except (OSError, VmdError):
        return None  # not there, or not ours: the rest is still worth telling


def _append(path: Path, content: bytes, bound: int) -> None:
    if _size(path) + len(content) > bound and _size(path):
        path.rename(path.with_name(f"{path.name}.1"))
    fd = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        before = os.fstat(fd).st_size
        torn = before and os.pread(fd, 1, before - 1) != b"\n"
        _write_all(fd, b"\n" + content if torn else content, before)
    finally:
        os.close(fd)


def _write_all(fd: int, content: bytes, before: int) -> None:
    """Write it all; where the disk takes only a part, take that back."""
    try:
        while content:
            content = content[os.write(fd, content) :]
    except OSError:
        os.ftruncate(fd, before)
        raise


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _tail(path: Path, limit: int) -> bytes:
    """The last whole lines of a file, at most so many bytes."""
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - limit)
            file.seek(start)
            if start:
                file.readline()
            return file.read(limit)
    except (OSError, VmdError):
        return b""


def _events(content: bytes) -> list[Event]:
    """The events of some lines; a line that was torn, or is garbage, is passed over."""
    found = []
    for line in content.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(event, dict)
            and isinstance(event.get("id"), int)
            and {"time", "guest", "event"} <= event.keys()
        ):
            found.append(event)
    return found

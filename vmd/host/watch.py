"""Notice that files change, by the kernel's word for it: inotify(7). Nothing polls.

inotify follows an inode, not a name. A directory that is not there yet, or is moved away and made anew, is found
again because the nearest directory above it that exists is watched as well.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from vmd.errors import VmdError

MODIFY: Final = 0x2
ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x1000000

_CONTENT: Final = CLOSE_WRITE | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE
_SELF: Final = DELETE_SELF | MOVE_SELF
_ARRIVAL: Final = CREATE | MOVED_TO

_EVENT = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then the name
_BLOCK: Final = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class Change(NamedTuple):
    """One thing that happened: to which watch, what (bits of the mask), and the name of the file in it."""

    watch: int
    mask: int
    name: str


class Inotify:
    """The kernel's queue of changes; ``heard`` is called in the event loop for each."""

    def __init__(self, heard: Callable[[Change], None]) -> None:
        self._heard = heard
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def add(self, path: Path, mask: int) -> int | None:
        """Watch a file or a directory; the number of the watch, or None where there is nothing to watch.

        :raise VmdError: the kernel has no watch left for this user.
        """
        found: int = _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask))
        if found < 0 and ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
            return None
        return _checked(found, str(path))

    def remove(self, watch: int) -> None:
        """Watch it no longer; one that ended by itself is fine."""
        _libc.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            block = os.read(self._fd, _BLOCK)
        except BlockingIOError:
            return
        for change in _changes(block):
            if self._fd >= 0:
                self._heard(change)


def _changes(block: bytes) -> Iterator[Change]:
    at = 0
    while at < len(block):
        watch, mask, _, length = _EVENT.unpack_from(block, at)
        at += _EVENT.size
        yield Change(watch, mask, os.fsdecode(block[at : at + length].rstrip(b"\0")))
        at += length


def _checked(result: int, what: str) -> int:
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise VmdError(f"{what} can't be watched: {reason}", "sysctl fs.inotify.max_user_watches, max_user_instances")
    return result


class DirectoryWatch:
    """Tells, once it is quiet again, that files of a directory changed, wherever it comes from or goes."""

    def __init__(self, path: Path, changed: Callable[[], None], *, suffix: str = "", quiet: float = 0.3) -> None:
        """``changed`` is called ``quiet`` seconds after the last change of a file whose name ends so."""
        self.path, self._changed, self._suffix, self._quiet = path, changed, suffix, quiet
        self._inotify = Inotify(self._heard)
        self._watches: dict[int, Path] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def close(self) -> None:
        """Watch no longer."""
        self._inotify.close()
        if self._timer:
            self._timer.cancel()

    def _arm(self) -> None:
        """Watch the directory, and the nearest one above it that is there."""
        for watch in self._watches:
            self._inotify.remove(watch)
        self._watches = {}
        while (above := self._nearest()) is not None:
            watched = self._watch(above, _ARRIVAL | _SELF | MOVED_FROM | DELETE)
            if not watched or self._nearest() == above:
                break  # else the way has become longer while we looked
        self._watch(self.path, _CONTENT | _SELF)

    def _nearest(self) -> Path | None:
        return next((above for above in self.path.parents if above.is_dir()), None)

    def _watch(self, path: Path, mask: int) -> bool:
        watch = self._inotify.add(path, mask | ONLYDIR)
        if watch is not None:
            self._watches.setdefault(watch, path)
        return watch is not None

    def _heard(self, change: Change) -> None:
        watched = self._watches.get(change.watch)
        if change.mask & OVERFLOW:
            self._arm()
        elif watched is None or change.mask & IGNORED:
            return  # the farewell of a watch that we gave up
        elif watched == self.path and not change.mask & _SELF:
            if not change.name.endswith(self._suffix):
                return
        elif change.mask & _SELF or change.name == self._below(watched):
            self._arm()
        else:
            return  # something else in the directory above
        self._settle()

    def _below(self, above: Path) -> str:
        """What the way to the directory is called in one above it."""
        return self.path.relative_to(above).parts[0] if above != self.path else ""

    def _settle(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._quiet, self._settled)

    def _settled(self) -> None:
        self._timer = None
        self._changed()


class FileWatch:
    """Tells that something was written to a file; each at most once in ``pause`` seconds, however much it is."""

    def __init__(self, pause: float = 1.0) -> None:
        self._pause = pause
        self._inotify = Inotify(self._heard)
        self._grew: dict[Path, Callable[[], None]] = {}
        self._watches: dict[int, Path] = {}

    def add(self, path: Path, grew: Callable[[], None]) -> None:
        """Watch a file from now on, until it is given up."""
        self._grew[path] = grew
        self._resume(path)

    def remove(self, path: Path) -> None:
        """Give up a file."""
        self._grew.pop(path, None)
        for watch in [watch for watch, watched in self._watches.items() if watched == path]:
            self._suspend(watch)

    def close(self) -> None:
        """Give up every file."""
        self._grew.clear()
        self._inotify.close()

    def _resume(self, path: Path) -> None:
        if path in self._grew and (watch := self._inotify.add(path, MODIFY)) is not None:
            self._watches[watch] = path
            self._grew[path]()  # it may have grown meanwhile

    def _suspend(self, watch: int) -> None:
        del self._watches[watch]
        self._inotify.remove(watch)

    def _heard(self, change: Change) -> None:
        path = self._watches.get(change.watch)
        if path is not None:
            self._suspend(change.watch)
            asyncio.get_running_loop().call_later(self._pause, self._resume, path)

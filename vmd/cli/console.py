"""A guest's serial console: a terminal's, or a plain pipe."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ..protocol import Exit
from . import show
from .client import daemon, route

ESCAPE = b"\x1d"
"""Ctrl-], as telnet and virsh have it: no shell, editor or boot loader wants it."""

SCREENFUL = 4096
"""Bytes of tail that a person is shown: more than a screen of 80 by 25."""

QUIET = 1.0
"""Seconds without a byte, after our side has ended, until the guest's last words are taken for said."""

DRAINED = 5.0
"""Seconds after our side has ended in which even a guest that never stops talking is left."""

_BLOCK = 64 * 1024


def console(arguments: Namespace) -> int:
    """Attach standard input and output to a guest's console until one side ends."""
    on_terminal = os.isatty(0)
    greet = on_terminal and not arguments.raw
    tail = arguments.tail if arguments.tail is not None else SCREENFUL if greet else 0
    connection, first = daemon().attach(route("guests", arguments.guest, "console", tail=str(max(tail, 0))))
    if greet:
        show.note(f"[{arguments.guest}: Ctrl-] leaves]")
    sys.stdout.flush()
    with connection, _raw_terminal(0) if on_terminal else _as_it_is():
        _write(1, first)
        left = Pipe(connection, 0, 1, ESCAPE if on_terminal else b"").carry()
    if greet:
        show.note(f"\n[{arguments.guest}: {'left' if left else 'vmd closed the console'}]")
    return Exit.DONE


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _raw_terminal(terminal: int) -> Iterator[None]:
    """Pass every key through; whatever happens short of SIGKILL, the terminal is as before afterwards."""
    before = termios.tcgetattr(terminal)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(terminal, termios.TCSADRAIN)
        yield
    finally:
        # flushed, or the shell would be given what was typed for the guest
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _alarm() -> Iterator[socket.socket]:
    """Yield a socket that a signal makes readable: one that comes just before select(2) would not end its wait."""
    ours, pythons = socket.socketpair()
    with ours, pythons:
        pythons.setblocking(False)
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(before)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


class Pipe:
    """Bytes both ways between a connection and two descriptors; ``escape`` ends it, empty for none.

    The guest's output is read whatever becomes of what was typed: a console that nobody reads stops the guest.
    """

    def __init__(self, connection: socket.socket, keyboard: int, screen: int, escape: bytes) -> None:
        self._connection, self._keyboard, self._screen, self._escape = connection, keyboard, screen, escape
        self._unsent = b""
        self._ours = self._theirs = True
        """Which sides have not ended."""
        self._escaped = False

    def carry(self) -> bool:
        """Carry until a side has ended and what it said is through; True if that was the escape."""
        self._connection.setblocking(False)
        with _alarm() as alarm:
            while self._ours and self._theirs:
                self._turn(None, alarm)
        if not self._escaped:
            self._drain()
        return self._escaped

    def _turn(self, wait: float | None, *alarms: socket.socket) -> bool:
        """Move what can be moved; False if in ``wait`` seconds nothing could."""
        sources: list[socket.socket | int] = [self._connection, *alarms]
        if self._ours and len(self._unsent) < _BLOCK:
            sources.append(self._keyboard)
        ready, writable, _ = select.select(sources, [self._connection] if self._unsent else [], [], wait)
        if self._connection in ready:
            self._hear()
        if self._keyboard in ready:
            self._listen()
        if writable:
            self._say()
        return bool(ready or writable)

    def _hear(self) -> None:
        try:
            block = self._connection.recv(_BLOCK)
        except BlockingIOError:
            return
        except ConnectionError:
            block = b""
        self._theirs = bool(block)
        _write(self._screen, block)

    def _listen(self) -> None:
        try:
            typed = os.read(self._keyboard, _BLOCK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal was hung up
            typed = b""
        if self._escape and self._escape in typed:
            self._escaped = True
        self._ours = bool(typed) and not self._escaped
        self._unsent += typed

    def _say(self) -> None:
        try:
            self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            return
        except ConnectionError:
            self._unsent, self._ours = b"", False

    def _drain(self) -> None:
        """Send what is unsent, and hear the guest out: only its silence tells that it has answered.

        The connection is not shut down half-way: vmd ends a console as soon as one side has.
        """
        while self._theirs and self._unsent:
            self._turn(None)
        end = time.monotonic() + DRAINED
        while self._theirs and (left := end - time.monotonic()) > 0 and self._turn(min(left, QUIET)):
            pass


def _write(descriptor: int, block: bytes) -> None:
    while block:
        try:
            block = block[os.write(descriptor, block) :]
        except BlockingIOError:  # whoever shares the descriptor made it so
            select.select([], [descriptor], [])

"""A segment without root: QEMUs' own sockets in one directory, and a small switch that passes on what they send.

``python -m vmd.host.switch SOCKET LIFELINE DIRECTORY`` is started with the descriptors of its bound socket and of
the read end of its lifeline. Each QEMU holds the lifeline's write end: the switch goes when the last of them is gone,
whatever happened to vmd, and is there as long as one lives. It remembers nothing that matters, so one that was killed
can be replaced under running guests.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from vmd.host.process import spawn

NAME = "switch"
"""The switch's own socket; every other socket in the directory is a guest's."""
_LIFELINE, _LOCK, _LOG = "lifeline", "lock", "log"
_NO_GUEST = frozenset({NAME, _LIFELINE, _LOCK, _LOG})
FRAME_LIMIT = 1 << 16
MAC_LIMIT = 4096
"""So many MAC addresses are remembered: a guest may claim as many as it likes."""


async def join(directory: Path, env: Mapping[str, str] | None = None) -> int:
    """Have a switch for a directory that is there; return the lifeline that a QEMU in it is to hold.

    Raises VmdError or OSError when the switch can't be started.
    """
    with _locked(directory):
        with suppress(OSError):  # ENXIO: nobody reads it; ENOENT: there never was one
            return os.open(directory / _LIFELINE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(FileExistsError):
            os.mkfifo(directory / _LIFELINE, 0o600)
        reading = os.open(directory / _LIFELINE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            writing = os.open(directory / _LIFELINE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            await _start(directory, reading, env)
        finally:
            os.close(reading)
    return writing


async def _start(directory: Path, lifeline: int, env: Mapping[str, str] | None) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as own:
        path = directory / NAME
        path.unlink(missing_ok=True)
        own.bind(str(path))
        path.chmod(0o666)  # who may come near is up to the directory
        fds = (own.fileno(), lifeline)
        argv = (sys.executable, "-m", __name__, *map(str, fds), str(directory))
        process = await spawn(argv, log=directory / _LOG, pass_fds=fds, env=env)
        process.close()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Nobody else starts or ends the switch meanwhile."""
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Switch:
    """Passes on what guests send: to whom it is for where that is known, else to all others."""

    def __init__(self, own: socket.socket, directory: Path) -> None:
        self._own, self._directory = own, directory
        self._guests: dict[bytes, str] = {}
        own.setblocking(False)

    def pass_on(self) -> None:
        """Pass on all that has come."""
        while True:
            try:
                frame, sender = self._own.recvfrom(FRAME_LIMIT)
            except BlockingIOError:
                return
            if sender and len(frame) >= 14:
                self._learn(frame[6:12], sender)
                known = self._guests.get(frame[:6])
                for receiver in (known,) if known else self._others(sender):
                    self._send(frame, receiver)

    def _learn(self, mac: bytes, sender: str) -> None:
        if mac not in self._guests and len(self._guests) >= MAC_LIMIT:
            self._guests.clear()
        self._guests[mac] = sender

    def _others(self, sender: str) -> Iterator[str]:
        for entry in os.scandir(self._directory):
            if entry.name not in _NO_GUEST and entry.path != sender:
                yield entry.path

    def _send(self, frame: bytes, receiver: str) -> None:
        try:
            self._own.sendto(frame, receiver)
        except BlockingIOError:
            pass  # its guest doesn't keep up: a frame is lost, as on any cable
        except OSError:  # it is gone; what it was called may be elsewhere next time
            self._guests = {mac: path for mac, path in self._guests.items() if path != receiver}


def serve(own: socket.socket, lifeline: int, directory: Path) -> None:
    """Be the switch until nobody holds the lifeline."""
    switch = Switch(own, directory)
    waits = select.poll()
    waits.register(own, select.POLLIN)
    waits.register(lifeline, 0)
    while True:
        for descriptor, _ in waits.poll():
            if descriptor != lifeline:
                switch.pass_on()
            elif _let_go(lifeline, directory):
                return


def _let_go(lifeline: int, directory: Path) -> bool:
    """Shut the lifeline for good, unless somebody has taken hold of it again; say which."""
    with _locked(directory):
        again = select.poll()
        again.register(lifeline, 0)
        if not again.poll(0):
            return False
        os.close(lifeline)
        return True


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))

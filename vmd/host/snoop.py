"""Where is my guest: its addresses, from what passes its own tap. Nothing is ever sent."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from vmd.errors import VmdError
from vmd.host.frames import FILTER, Told, read

LIMIT = 64
"""Addresses remembered of one tap: a guest may claim as many as it likes, the ones heard longest ago go first."""
_BURST = 64
_EVERYTHING = 0x0003
_ATTACH_FILTER = 26
"""ETH_P_ALL (linux/if_ether.h) and SO_ATTACH_FILTER (asm/socket.h)."""


class Sighting(NamedTuple):
    """A MAC address was seen to have an IP address; ``seen`` is when, in seconds since the epoch."""

    mac: str
    address: str
    source: str
    seen: float


class Snoop:
    """Listens at one tap; the running event loop calls it. Close it when the guest is gone.

    ``on_news`` is called whenever an address was seen.
    """

    def __init__(
        self, tap: str, clock: Callable[[], float] = time.time, on_news: Callable[[], None] = lambda: None
    ) -> None:
        self.tap = tap
        self._on_news = on_news
        self._clock = clock
        self._sightings: OrderedDict[Told, float] = OrderedDict()
        self._sock = _listen(tap)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._hear)

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """What was seen, the newest last."""
        return tuple(Sighting(*told, seen) for told, seen in self._sightings.items())

    def close(self) -> None:
        """Listen no more; what was seen is kept. Done twice it is as good."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _hear(self) -> None:
        for _ in range(_BURST):  # a guest that floods its tap doesn't keep the daemon from its other work
            try:
                frame = self._sock.recv(2048)
            except BlockingIOError:
                return
            except OSError:  # the tap is gone
                self.close()
                return
            if told := read(frame):
                self._remember(told)
                self._on_news()

    def _remember(self, told: Told) -> None:
        self._sightings[told] = self._clock()
        self._sightings.move_to_end(told)
        if len(self._sightings) > LIMIT:
            self._sightings.popitem(last=False)


def _listen(tap: str) -> socket.socket:
    """A packet socket that hears only what :data:`FILTER` lets through. Raises VmdError when it can't be had."""
    sock = None
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)  # 0: deaf until it is bound
        program = b"".join(struct.pack("=HBBI", *instruction) for instruction in FILTER)
        buffer = ctypes.create_string_buffer(program)
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(FILTER), ctypes.addressof(buffer)))
        sock.setblocking(False)
        sock.bind((tap, _EVERYTHING))
    except OSError as error:
        if sock:
            sock.close()
        raise VmdError(f"nothing can be heard on {tap}: {error.strerror}") from error
    return sock

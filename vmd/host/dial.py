"""Connect to a unix socket that a process is about to make."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any, Final

from vmd.errors import QemuFailed

FIRST_DELAY: Final = 0.002
LONGEST_DELAY: Final = 0.05
"""Seconds between two looks: QEMU has its sockets after about 0.03 s (QEMU 7.2), so the first look must not sleep
past that, and one that takes long must not cost CPU."""

GROWTH: Final = 1.07
"""How much longer each delay is than the one before: a wait is overslept by no more than a fifteenth of it."""

# Not there yet; bound but not listening, or left behind by the one before; its queue of clients is full.
NOT_YET: Final = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN})


async def dial(path: Path, process_exited: asyncio.Future[Any] | None = None) -> socket.socket:
    """Connect to ``path`` as soon as someone listens there; return the connected, non-blocking socket.

    The caller bounds the wait. Raises QemuFailed when ``process_exited`` is done first, its result said in words,
    or when the socket can't be connected to at all.
    """
    delay = FIRST_DELAY
    while (connected := _connect(path)) is None:
        if process_exited is None:
            await asyncio.sleep(delay)
        elif (await asyncio.wait({process_exited}, timeout=delay))[0]:
            raise QemuFailed(f"QEMU {process_exited.result()} before it answered on {path}")
        delay = min(GROWTH * delay, LONGEST_DELAY)
    return connected


def _connect(path: Path) -> socket.socket | None:
    """Try once. Not by the event loop: it takes EAGAIN of a unix socket, a full queue, for a connection under way."""
    attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        attempt.connect(os.fspath(path))
    except OSError as error:
        attempt.close()
        if error.errno in NOT_YET:
            return None
        raise QemuFailed(f"can't connect to {path}: {error}") from error
    return attempt

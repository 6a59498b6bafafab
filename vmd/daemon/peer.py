"""Who is at the other end of a unix socket, as the kernel says."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

SO_PEERGROUPS = 59
"""asm-generic/socket.h; Python has no name for it."""

MOST_GROUPS = 256
"""Python reads 1024 bytes of a socket's option at most; who is in more groups counts as being in none."""


class Peer(NamedTuple):
    """Who is at the other end, as the kernel says (unix(7), ``SO_PEERCRED``), and the groups it is in besides."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def peer(connection: socket.socket) -> Peer:
    """The process, user and groups at the other end."""
    pid, uid, gid = struct.unpack("i2I", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid, gid, _groups(connection))


def _groups(connection: socket.socket) -> tuple[int, ...]:
    """The supplementary groups it was in when it connected; none before Linux 4.13."""
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MOST_GROUPS)
    except OSError:
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)

"""TCP ports of this host: which is free, and who has one that is not."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from vmd.errors import VmdError

FORWARDED: Final = range(20000, 30000)
"""Where ports for guests are looked for: below Linux's own 32768-60999 for outgoing connections (ip(7))."""

LISTENING: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp, proc_net_tcp(5)."""


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now.

    Raises VmdError when this host does not have the address, or when we may not: ports below 1024 are root's.
    A port whose last connection has just been closed is free, as it is for QEMU, which sets SO_REUSEADDR too.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((address, port))
            attempt.listen()  # two sockets may be bound with SO_REUSEADDR; only one may listen
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise VmdError(f"can't listen on {address} port {port}: {error.strerror}") from error
    return True


def free_port(
    preferred: int | None = None,
    taken: Collection[int] = (),
    address: str = "127.0.0.1",
    ports: range = FORWARDED,
) -> int:
    """Return ``preferred`` if it is free, else the first free one of ``ports``; never one of ``taken``.

    Nothing holds it: another may take it before its user does. Raises VmdError when none is free.
    """
    if preferred is not None and preferred not in taken and is_free(preferred, address):
        return preferred
    for port in ports:
        if port not in taken and is_free(port, address):
            return port
    raise VmdError(f"no port from {ports.start} to {ports.stop - 1} is free on {address}", "end what listens there")


def holder(port: int) -> str | None:
    """Say who listens on this port, on any address: program and pid, or the user where only root may know more.

    None when nobody does.
    """
    owners = dict(_listeners(port))
    if not owners:
        return None
    sockets = {f"socket:[{inode}]" for inode in owners}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):  # noqa: PTH208 - names suffice
        if sockets & _descriptors(pid):
            return f"{_name(pid)} (pid {pid})"
    return f"a process of user {min(owners.values())}"


def _listeners(port: int) -> Iterator[tuple[str, int]]:
    """Yield the inode and the user id of each socket that listens on the port."""
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):  # a host without IPv6
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9], int(fields[7])


def _descriptors(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it has ended, or is another user's
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(descriptor))  # noqa: PTH115 - no path, but a name like socket:[1]
    return found


def _name(pid: int) -> str:
    with suppress(OSError):
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if argv[0]:  # a longer name than comm's 15 bytes
            return os.path.basename(os.fsdecode(argv[0]))  # noqa: PTH119 - as it stands, "-sh" too
    return "a process"

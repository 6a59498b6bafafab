"""The service manager that started us: what it is told, and what it hands over.

sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3) are a datagram and four variables, and so they are ours:
python-systemd 235 knows no watchdog, and needs a compiler. Where no manager is, each word is lost without harm.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final

FIRST_FD: Final = 3
"""Where the handed descriptors begin, sd_listen_fds(3)."""

_OWN: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Notify:
    """One service manager; ``watchdog`` is how long it bears our silence, in seconds, or None if for ever."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def tell(self, **words: str | int) -> bool:
        """Tell it these words, as READY=1 or STATUS="…"; False where nobody listens. It is never waited for."""
        if not self._address:
            return False
        said = "\n".join(f"{word}={' '.join(str(what).splitlines())}" for word, what in words.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as door:
            door.sendto(said.encode(), self._address)
            return True
        return False


def manager(environ: Mapping[str, str], pid: int) -> Notify:
    """The service manager of the process ``pid``; one that hears nothing where there is none."""
    return Notify(environ.get("NOTIFY_SOCKET", ""), _watchdog(environ, pid))


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(microseconds) / 1e6 or None


def sockets(environ: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The sockets that were handed to the process ``pid``, by their names (``FileDescriptorName=``)."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not count.isdecimal():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for index in range(int(count)):
        os.set_inheritable(FIRST_FD + index, False)
        with suppress(OSError):  # not a socket: nothing of ours
            found[names[index] if index < len(names) else "unknown"] = socket.socket(fileno=FIRST_FD + index)
    return found


def forget(environ: MutableMapping[str, str]) -> None:
    """Take out what is meant for us alone, so that no program we start believes that it is meant."""
    for word in _OWN:
        environ.pop(word, None)


def started_by_systemd(environ: Mapping[str, str], pid: int) -> bool:
    """Whether systemd started this very process (``SYSTEMD_EXEC_PID``, systemd 248), and not one above it."""
    return environ.get("SYSTEMD_EXEC_PID") == str(pid) and Path("/run/systemd/system").is_dir()


def lingers(user: str) -> bool | None:
    """Whether a user's services run without a login (loginctl enable-linger); None where no systemd runs."""
    if not Path("/run/systemd/system").is_dir():
        return None
    return Path("/var/lib/systemd/linger", user).exists()

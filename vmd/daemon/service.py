"""vmd as a service: the manager that started it, the socket it was handed, and scopes where they are to be had."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from ..host import notify
from ..host.scope import Scopes


@dataclass(frozen=True)
class Manager:
    """What the service manager gave us; outside of one, nothing."""

    notify: notify.Notify
    scopes: Scopes | None
    handed: tuple[socket.socket, ...] = ()

    def control(self, path: Path) -> socket.socket | None:
        """The handed socket that is bound to this path."""
        return next((each for each in self.handed if each.getsockname() == str(path)), None)


def begin() -> Manager:
    """Take what is ours out of the environment, so that no program we start believes that it is meant."""
    environ, pid = os.environ, os.getpid()
    scopes = Scopes(user=os.geteuid() != 0) if notify.started_by_systemd(environ, pid) else None
    handed = notify.sockets(environ, pid)
    found = Manager(notify.manager(environ, pid), scopes, tuple(handed.values()))
    notify.forget(environ)
    return found

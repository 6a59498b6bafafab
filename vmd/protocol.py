"""What vmctl and vmd say to each other, and where they meet.

HTTP/1.1 with JSON over a unix socket. A verb that takes time answers with a stream of events, one JSON object a
line, whose last line is its outcome. Light on purpose: vmctl imports nothing else of vmd to print a fact.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

API = "/v1"

CONSOLE = "vmd-console"
"""The protocol that a request for a guest's console upgrades its connection to."""

GROUP = "vmd"
"""Who is in it may talk to the system's daemon."""

STATES = ("absent", "installing", "stopped", "starting", "running", "stopping", "failed", "orphan")
"""What a guest can be."""

RUNGS = ("process", "kernel", "link", "address", "ssh")
"""Readiness, in the order it is climbed; ``kernel`` is the first serial output."""


class Exit(IntEnum):
    """Exit statuses of ``vmctl``."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SUCH_GUEST = 3
    NO_DAEMON = 4
    TIMED_OUT = 5


class Directories(NamedTuple):
    """The three directories that a daemon calls its own."""

    config: str
    state: str
    runtime: str

    @property
    def fleet(self) -> str:
        """Where the definitions are: every ``*.yaml`` in it."""
        return f"{self.config}/fleet.d"

    @property
    def socket(self) -> str:
        """The daemon's control socket."""
        return f"{self.runtime}/vmd.sock"


def directories(environ: Mapping[str, str], uid: int) -> Directories:
    """The directories of this user's daemon: the system's for root, by XDG's rules for anyone else.

    ``VMD_CONFIG_DIR``, ``VMD_STATE_DIR`` and ``VMD_RUNTIME_DIR`` override each. The XDG defaults are those of the
    XDG Base Directory Specification 0.8.
    """
    if uid == 0:
        config, state, runtime = "/etc/vmd", "/var/lib/vmd", "/run/vmd"
    else:
        home = environ.get("HOME") or "/"
        config = f"{environ.get('XDG_CONFIG_HOME') or f'{home}/.config'}/vmd"
        state = f"{environ.get('XDG_STATE_HOME') or f'{home}/.local/state'}/vmd"
        runtime = f"{environ.get('XDG_RUNTIME_DIR') or f'/tmp/vmd-{uid}'}/vmd"  # noqa: S108 - made 0700, checked
    return Directories(
        _absolute(environ.get("VMD_CONFIG_DIR") or config),
        _absolute(environ.get("VMD_STATE_DIR") or state),
        _absolute(environ.get("VMD_RUNTIME_DIR") or runtime),
    )


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - pathlib would cost vmctl a third of its start

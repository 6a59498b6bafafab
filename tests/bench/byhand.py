"""QEMU as one would run it by hand: the same lines that vmd uses, typed by nobody but this."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.daemon.house import qemu_user

Line = tuple[str, ...]


class ByHand:
    """One QEMU started from a line, with its monitor."""

    def __init__(self, line: Line) -> None:
        for path in sockets(line):
            path.unlink(missing_ok=True)
        for path in _logs(line):
            path.write_bytes(b"")  # QEMU appends, and what it says now is waited for
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user())
        self._stream = _dialled(next(sockets(line))).makefile("rwb", buffering=0)
        self._stream.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str) -> None:
        """Have it do something, and return when it has."""
        self._stream.write(json.dumps({"execute": command}).encode() + b"\n")
        self.hear(b'"return"')

    def hear(self, word: bytes) -> None:
        """Return when it has said this."""
        while word not in (line := self._stream.readline()):
            if not line:
                raise EOFError(f"QEMU hung up before it said {word!r}")

    def power_off(self) -> None:
        """Press the power button, and see it go, as vmd does: a QEMU that pauses at the end is told to quit."""
        self._stream.write(b'{"execute": "system_powerdown"}\n')

    def gone(self) -> None:
        """Wait for the guest's end, and for QEMU's."""
        self.hear(b'"SHUTDOWN"')
        self._stream.write(b'{"execute": "quit"}\n')
        self.process.wait()
        self._stream.close()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self._stream.close()


def sockets(line: Line) -> Iterator[Path]:
    """The sockets that a line makes; its QMP first."""
    words = [word for word in line if word.startswith("socket,id=")]
    return (Path(word.partition(",path=")[2].partition(",")[0]) for word in words)


def _logs(line: Line) -> Iterator[Path]:
    """The consoles' logs that a line writes."""
    found = (word.partition(",logfile=")[2].partition(",")[0] for word in line)
    return (Path(path) for path in found if path)


def as_user() -> dict[str, Any]:
    """Run as whom vmd would run it."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(qemu_user())
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _dialled(path: Path) -> socket.socket:
    while True:
        attempt = socket.socket(socket.AF_UNIX)
        attempt.settimeout(60.0)
        if attempt.connect_ex(str(path)) == 0:
            return attempt
        attempt.close()
        time.sleep(0.001)


def start(lines: Sequence[Line], side_by_side: int) -> list[ByHand]:
    """Start them all, so many at a time."""
    with ThreadPoolExecutor(side_by_side) as pool:
        return list(pool.map(ByHand, lines))


def power_off(guests: Sequence[ByHand]) -> None:
    """Press all power buttons, and wait for all ends."""
    for guest in guests:
        guest.power_off()
    for guest in guests:
        guest.gone()

"""A vmd of the bench's own, with a fleet of tiny guests, and how it is asked."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.byhand import Line
from tests.bench.measure import until
from tests.daemon.house import ROOT, Vmd
from tests.tiny import guests

PYTHON = f"{sys.base_exec_prefix}/bin/python3"
"""The interpreter without this environment: an editable install costs each start 25 ms, and nobody else has one."""


class House(Vmd):
    """A vmd with so many tiny guests, none of which runs yet."""

    def __init__(self, root: Path, count: int) -> None:
        super().__init__(root)
        self.tiny_disk = guests.disk(root / "tiny.raw")
        self.names = [f"g{number:03}" for number in range(count)]
        self.define_tiny(*self.names)

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a vmctl, as it starts where it is installed."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen((PYTHON, "-m", "vmd.cli", *words), env=self.environ, cwd=ROOT, **{**pipes, **options})

    def done(self, *words: str) -> str:
        """Run a vmctl that must succeed."""
        done = self.ctl(*words)
        if done.code != 0:
            raise RuntimeError(f"vmctl {' '.join(words)}: {done.err}")
        return done.out

    def lines(self) -> list[Line]:
        """Each guest's QEMU line; they have run once, so that all is there that the lines name."""
        return [tuple(json.loads(self.done("argv", name, "--json"))) for name in self.names]

    def spoken(self) -> None:
        """Return when each guest has said that it is up: then it takes the power button at once."""
        for name in self.names:
            log = self.guest(name) / "console.log"
            until(lambda log=log: guests.READY in log.read_bytes())  # type: ignore[misc]

    def answers(self) -> bool:
        """Whether vmd answers, and every guest answers it."""
        with socket.socket(socket.AF_UNIX) as attempt:
            if attempt.connect_ex(str(self.socket)) != 0:
                return False
        _, told = self.ask("GET /v1/guests HTTP/1.0\r\n\r\n")
        return all(guest["rung"] for guest in told["guests"])

    def again(self) -> None:
        """Start a vmd that finds its guests running."""
        self._daemon = self.spawn()


@contextmanager
def house(count: int) -> Iterator[House]:
    """A running vmd with so many guests defined; all is gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="vmd-bench-"))
    root.chmod(0o755)
    try:
        with House(root, count).running() as vmd:
            vmd.ctl("doctor")  # whether KVM runs is found out once, and not what is measured
            yield vmd  # type: ignore[misc]
    finally:
        shutil.rmtree(root)

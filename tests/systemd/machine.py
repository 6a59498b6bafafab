"""A Debian with a real systemd as its first process, in namespaces of this host; it leaves no trace."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

HERE = Path(__file__).parent
PATIENCE = 90.0
POWER_OFF = signal.SIGRTMIN + 4
"""systemd(1): starts poweroff.target."""


class Said(NamedTuple):
    code: int
    out: str


def missing() -> str:
    """Why there can be no machine here, or nothing."""
    if os.geteuid() != 0:
        return "a machine needs root: cgroups and device nodes"
    for program in ("unshare", "nsenter", "pivot_root", "mmdebstrap", "ip"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if hierarchy() is None:
        return "there is no cgroup v2 hierarchy here"
    try:
        probe = hierarchy() / "vmd-test-probe"  # type: ignore[operator]  # looked at above
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"no cgroup can be made: {error}"
    return ""


def hierarchy() -> Path | None:
    """Where cgroup v2 is mounted: alone, or beside v1."""
    found = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    return next((path for path in found if (path / "cgroup.procs").exists()), None)


T = TypeVar("T")


def until(look: Callable[[], T]) -> T:
    """Look until there is something to see; systemd tells nobody who is outside."""
    end = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < end, look
        select.select([], [], [], 0.05)
    return seen


class Machine:
    """One machine on top of a root directory, which is only read; what it writes outlives a reboot."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root, self.directory = root, directory
        above = hierarchy()
        assert above is not None
        self._cgroup = above / f"vmd-test-{directory.name}"
        for name in ("upper", "work", "root"):
            (directory / name).mkdir()
        self._outer: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def files(self) -> Path:
        """The machine's own files as they are written, from outside; only while it is off."""
        return self.directory / "upper"

    def boot(self) -> None:
        """Start it; return when systemd says that it is up."""
        (self._cgroup / "init").mkdir(parents=True, exist_ok=True)
        argv = (sys.executable, str(HERE / "init.py"), str(self._cgroup), str(self._root), str(self.directory))
        with (self.directory / "log").open("ab") as log:
            self._outer = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = until(self._first)
        until(lambda: self.run("systemctl", "is-system-running").out.strip() in {"running", "degraded"})

    def _first(self) -> int:
        """The number of its systemd, once there is one."""
        assert self._outer is not None
        assert self._outer.poll() is None, (self.directory / "log").read_text()
        with suppress(OSError):
            children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
            for child in children:
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return 0

    def run(self, *argv: str, stdin: str = "") -> Said:
        """Run a program in it."""
        enter = ("nsenter", f"--target={self.pid}", "--all", "--root", "--wd", "--", *argv)
        done = subprocess.run(
            enter,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        )
        return Said(done.returncode, done.stdout)

    def ok(self, *argv: str, stdin: str = "") -> str:
        """Run a program in it that must succeed; return what it said."""
        said = self.run(*argv, stdin=stdin)
        assert said.code == 0, f"{argv}: {said.code}\n{said.out}\n{self.journal()}"
        return said.out.strip()

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "-n", "60", "-o", "short-monotonic").out

    def off(self) -> None:
        """Power it off, as somebody at its button would."""
        self._end(lambda: os.kill(self.pid, POWER_OFF))

    def _end(self, begin: Callable[[], object]) -> None:
        assert self._outer is not None
        held = os.pidfd_open(self.pid)
        begin()
        gone = select.select([held], [], [], PATIENCE)[0]
        os.close(held)
        assert gone, self.journal()
        self._outer.wait(PATIENCE)
        self._outer = None

    def discard(self) -> None:
        """End it, however it stands, and leave nothing."""
        if self._outer is not None:
            with suppress(ProcessLookupError):
                if self.pid:
                    os.kill(self.pid, signal.SIGKILL)
            self._outer.kill()
            self._outer.wait()
        until(self._empty)

    def _empty(self) -> bool:
        """Remove its cgroups; what was killed may need a moment to be gone from them."""
        if not self._cgroup.exists():
            return True
        with suppress(OSError):
            for path in sorted(self._cgroup.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
            self._cgroup.rmdir()
        return not self._cgroup.exists()


@contextmanager
def machine(root: Path) -> Iterator[Machine]:
    """A machine that is off, and gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="vmd-machine-"))
    made = Machine(root, directory)
    try:
        yield made
    finally:
        made.discard()
        shutil.rmtree(directory, ignore_errors=True)

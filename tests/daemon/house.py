"""One vmd as a process, in directories of its own: define guests, ask it by vmctl or by raw HTTP, end it, look."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
QEMU = "qemu-system-x86_64"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJnot7a7real7key7but7it7looks7like7one77 tiny"
PATIENCE = 60.0
"""Seconds after which what a test waits for is called lost."""


class Done(NamedTuple):
    """How a vmctl ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its lines, where it said ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]


class Vmd:
    """A vmd and its directories, all below ``root``."""

    tiny_disk: Path

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config, self.state, self.runtime = root / "config", root / "state", root / "run"
        self.fleet = self.config / "fleet.d"
        for directory in (self.fleet, self.state, self.runtime, root / "home"):
            directory.mkdir(parents=True)
        self.socket = self.runtime / "vmd.sock"
        self.capabilities = self.runtime / "capabilities.json"
        self.log = root / "vmd.log"
        self.prefix: tuple[str, ...] = ()
        self.words: tuple[str, ...] = ()
        self.pass_fds: tuple[int, ...] = ()
        self.undo = ExitStack()
        self.entry = "vmd.daemon"
        self.crash = ""
        self._daemon: subprocess.Popen[bytes] | None = None

    # -- the daemon

    @property
    def environ(self) -> dict[str, str]:
        own = {"HOME": str(self.root / "home"), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        dirs = {"CONFIG": self.config, "STATE": self.state, "RUNTIME": self.runtime}
        crash = {"VMD_TEST_CRASH": self.crash} if self.crash else {}
        return {**own, **crash, **{f"VMD_{name}_DIR": str(path) for name, path in dirs.items()}}

    @property
    def pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start a daemon in these directories, and don't wait for it."""
        argv = (*self.prefix, sys.executable, "-m", self.entry, *self.words)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv,
                env=self.environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.pass_fds,
            )

    def start(self) -> None:
        """Start it, and return when it keeps its guests."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self.began = time.time()
        self._daemon = self.spawn()
        with self.log.open("rb") as log:
            log.seek(before)
            said = b""
            while b"control socket" not in said:  # the log is a file, so there is nothing to wait on but time
                said += log.read()
                assert self._daemon.poll() is None, f"vmd ended: {said.decode()}"
                select.select([], [], [], 0.01)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal, and return how it ended."""
        assert self._daemon is not None
        daemon, self._daemon = self._daemon, None
        daemon.send_signal(number)
        return daemon.wait(PATIENCE)

    def died(self, within: float) -> int | None:
        """Wait so many seconds until it has ended by itself, and return how; None if it lives."""
        assert self._daemon is not None
        try:
            return self._daemon.wait(within)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if self._daemon.returncode is not None:
                self._daemon = None

    @contextmanager
    def running(self) -> Iterator[Vmd]:
        with self.ended():
            self.start()
            yield self

    @contextmanager
    def ended(self) -> Iterator[Vmd]:
        """End what was started in these directories, and see that nothing went wrong without a word."""
        try:
            yield self
        finally:
            if self._daemon is not None:
                self.kill()
            for pid in self.qemus():
                end(pid)
            self.undo.close()
        said = self.log.read_text() if self.log.exists() else ""
        assert "Traceback" not in said, said
        assert "never retrieved" not in said, said
        assert self.qemus() == []

    def qemus(self) -> list[int]:
        """The pids of the QEMUs that live in these directories."""
        marks = (f"{self.runtime}/guests/".encode(), b"qemu-system-")
        return [pid for pid in _pids() if all(mark in _cmdline(pid) for mark in marks)]

    # -- vmctl

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a vmctl."""
        argv = (sys.executable, "-m", "vmd.cli", *words)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(argv, env=self.environ, cwd=ROOT, **{**pipes, **options})

    def begin_install(self) -> subprocess.Popen[bytes]:
        """Start a vmctl that has alice installed, and return it when the installer has begun."""
        up = self.begin("up", "alice", bufsize=0)
        assert up.stderr is not None
        told = b""
        while b"1/2" not in told:
            line = up.stderr.readline()
            assert line, f"no install began: {told.decode()}"
            told += line
        return up

    def ctl(self, *words: str) -> Done:
        """Run a vmctl."""
        return finish(self.begin(*words))

    def status(self, name: str = "alice") -> dict[str, Any]:
        (found,) = self.ctl("status", name, "--json").json["guests"]
        return dict(found)

    # -- definitions

    def define(self, text: str, file: str = "fleet.yaml") -> None:
        """Write a file of definitions, and have a running vmd read it."""
        (self.fleet / file).write_text(text)
        if self._daemon is not None:
            self.ctl("reload")

    def define_tiny(self, *names: str, more: str = "") -> None:
        """Define guests that boot the tiny disk; ``more`` are more keys of each, as in ``, cpus: 2``."""
        lines = [f"  {name}: {{{self.tiny(name)}{more}}}" for name in names]
        self.define("\n".join(["guests:", *lines, ""]))

    def tiny(self, name: str) -> str:
        """The keys of a guest that boots a tiny disk of its own."""
        path = self.root / f"{name}.raw"
        if not path.exists():
            path.write_bytes(self.tiny_disk.read_bytes())
            run_as(path)
        return f"memory: 16M, disk: {{path: {path}, format: raw}}"

    def define_installed(self, iso: Path, *, installer: str = "", guest: str = "") -> None:
        """Define alice, whom this ISO installs; ``installer`` and ``guest`` are more keys of each, one per line."""
        keys = "".join(f"    {line}\n" for line in guest.splitlines())
        rules = "".join(f"    {line}\n" for line in installer.splitlines())
        ssh = "" if "ssh_keys" in guest else f"    ssh_keys: [{KEY}]\n"
        self.define(
            f"installers:\n  tiny:\n    iso: {iso}\n{rules}"
            f"guests:\n  alice:\n    memory: 16M\n    disk: 32M\n    install: tiny\n{ssh}{keys}"
        )

    # -- what can be seen

    def guest(self, name: str = "alice") -> Path:
        """Where a guest keeps what it has."""
        return self.state / "guests" / name

    def sockets(self, name: str = "alice") -> Path:
        return self.runtime / "guests" / name

    def heard(self, event: str, *, nth: int = 1, guest: str | None = "alice", **facts: Any) -> dict[str, Any]:
        """Wait for the nth event of this kind with these facts since vmd was started."""
        wanted = {"event": event, "guest": guest, **facts}
        with (
            self.request(f"GET /v1/events?follow=1&since={self.began} HTTP/1.0\r\n\r\n") as connection,
            connection.makefile("rb") as lines,
        ):
            for line in lines:
                if not line.startswith(b"{"):
                    continue
                told: dict[str, Any] = json.loads(line)
                nth -= wanted.items() <= told.items()
                if nth == 0:
                    return told
        raise AssertionError(f"vmd ended before {wanted}")

    def request(self, text: str | bytes) -> socket.socket:
        """Connect, and send this."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(str(self.socket))
        with suppress(BrokenPipeError):  # it answers before it has heard all of what is too much
            connection.sendall(text.encode() if isinstance(text, str) else text)
        return connection

    def ask(self, text: str | bytes) -> tuple[int, Any]:
        """Send a request as it is; the answer's status and its JSON."""
        with self.request(text) as connection, connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1."), head
        return int(head.split()[1]), json.loads(body or b"null")

    def qmp(self, command: str, name: str = "alice", starting: subprocess.Popen[bytes] | None = None) -> None:
        """Have a QEMU do something by the operator's own monitor; one that is ``starting`` may need a moment."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            while connection.connect_ex(str(self.sockets(name) / "monitor")) != 0:
                assert starting, f"{name} has no monitor"
                assert starting.poll() is None, starting.communicate()
                select.select([], [], [], 0.01)
            with connection.makefile("rwb", buffering=0) as stream:
                stream.readline()
                for each in ("qmp_capabilities", command):
                    stream.write(json.dumps({"execute": each}).encode() + b"\n")
                    while b'"return"' not in (line := stream.readline()):
                        assert line, f"QEMU hung up at {each}"
                        assert b'"error"' not in line, line


class Conversation:
    """A vmctl at a guest's console."""

    def __init__(self, vmctl: subprocess.Popen[bytes]) -> None:
        self.vmctl = vmctl
        self.heard = b""

    def type(self, text: str) -> None:
        assert self.vmctl.stdin is not None
        self.vmctl.stdin.write(text.encode())
        self.vmctl.stdin.flush()

    def expect(self, text: bytes) -> bytes:
        """Read until this was said; return all that came before it since the last time, and it."""
        assert self.vmctl.stdout is not None
        while text not in self.heard:
            assert select.select([self.vmctl.stdout], [], [], PATIENCE)[0], f"no {text!r} after {self.heard!r}"
            block = os.read(self.vmctl.stdout.fileno(), 65536)
            assert block, f"the console ended before {text!r}, after {self.heard!r}"
            self.heard += block
        before, found, self.heard = self.heard.partition(text)
        return before + found

    def leave(self) -> int:
        assert self.vmctl.stdin is not None
        self.vmctl.stdin.close()
        return self.end()

    def end(self) -> int:
        """Wait for its end."""
        code = self.vmctl.wait(PATIENCE)
        for pipe in (self.vmctl.stdout, self.vmctl.stderr):
            if pipe is not None:
                pipe.close()
        return code


@contextmanager
def at_console(vmd: Vmd, *words: str) -> Iterator[Conversation]:
    """A vmctl console, its input and output on pipes; it has been left afterwards."""
    vmctl = vmd.begin("console", *(words or ("alice",)), stdin=subprocess.PIPE)
    conversation = Conversation(vmctl)
    try:
        yield conversation
    finally:
        if vmctl.poll() is None:
            vmctl.kill()
        if vmctl.stdin is not None and not vmctl.stdin.closed:
            vmctl.stdin.close()
        conversation.end()


def finish(vmctl: subprocess.Popen[bytes]) -> Done:
    """Wait for a vmctl's end."""
    try:
        out, err = vmctl.communicate(timeout=PATIENCE)
    finally:
        vmctl.kill()
    return Done(vmctl.returncode, out.decode(), err.decode())


def run_as(path: Path) -> None:
    """Give a file to the user that QEMU runs as."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(qemu_user())
        os.chown(path, user.pw_uid, user.pw_gid)


def qemu_user() -> str:
    """As whom QEMU runs under a vmd of root's."""
    return next(name for name in ("vmd-qemu", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})


def end(pid: int) -> None:
    """Kill a process, and wait for its end."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(held, signal.SIGKILL)
        select.select([held], [], [], PATIENCE)
    except ProcessLookupError:
        pass
    finally:
        os.close(held)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""

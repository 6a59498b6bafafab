"""Start, adopt, signal and await one QEMU.

A process is held by its pidfd (Linux 5.3): it never means another process that got the same number, the event
loop is told when it ends without a thread or a poll, and it serves as well for a QEMU an earlier vmd started.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vmd.errors import TimedOut, VmdError
from vmd.host.credentials import Credentials
from vmd.host.files import boot_id, open_regular
from vmd.host.launch import launch, privileges

KILL_PATIENCE: Final = 10.0
"""Seconds a killed process may take to be gone; longer, and it hangs in the kernel."""


@dataclass(frozen=True)
class Identity:
    """One process and no other: its number, when it started (clock ticks since boot), and in which boot."""

    pid: int
    start_time: int
    boot_id: str

    def as_record(self) -> dict[str, Any]:
        """Return what :meth:`from_record` takes, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Identity:
        """Read a record back. Raises VmdError when something is missing or of another kind."""
        if not isinstance(record, Mapping):  # what was read may be anything
            raise VmdError(f"{record!r:.80} identifies no process")
        pid, start_time, boot = record.get("pid"), record.get("start_time"), record.get("boot_id")
        if not (isinstance(pid, int) and pid > 0 and isinstance(start_time, int) and isinstance(boot, str)):
            raise VmdError(f"{dict(record)!r:.200} identifies no process")
        return cls(pid, start_time, boot)


@dataclass(frozen=True)
class Exit:
    """How a process ended; both are None when it was not our child, for then the kernel tells nobody."""

    status: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"was killed by {_signal_name(self.signal)}"
        return "ended" if self.status is None else f"ended with exit status {self.status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True)
class Usage:
    """What a process has used: seconds of CPU so far, bytes of memory now."""

    cpu_seconds: float
    rss_bytes: int


@dataclass(frozen=True)
class Own:
    """What this process itself uses: as :class:`Usage`, and how many descriptors it has open."""

    cpu_seconds: float
    rss_bytes: int
    descriptors: int


@dataclass(frozen=True)
class _Stat:
    """A line of /proc/PID/stat, proc_pid_stat(5)."""

    state: str
    start_time: int
    cpu_ticks: int
    rss_pages: int


def _read_stat(pid: int) -> _Stat | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = line[line.rindex(b")") + 2 :].split()  # the name before it may hold anything, ")" too
    return _Stat(fields[0].decode(), int(fields[19]), int(fields[11]) + int(fields[12]), int(fields[21]))


def _used(found: _Stat) -> Usage:
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    return Usage(found.cpu_ticks / tick, found.rss_pages * page)


def own_usage() -> Own:
    """Return what this process has used so far."""
    found = _read_stat(os.getpid())
    assert found is not None, "whoever asks is there"  # noqa: S101
    used = _used(found)
    return Own(used.cpu_seconds, used.rss_bytes, len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - names suffice


class Process:
    """One process of ours, or one adopted; made by :func:`spawn` and :func:`adopt`."""

    def __init__(self, identity: Identity, pidfd: int) -> None:
        self.identity = identity
        self._pidfd: int | None = pidfd
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._loop.add_reader(pidfd, self._ended)

    @property
    def pid(self) -> int:
        """Its number, for people to read; to signal it, use :meth:`signal`."""
        return self.identity.pid

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Done when the process has ended. Each look is a future of its own: to cancel one cancels no other."""
        return asyncio.shield(self._exit)

    @property
    def alive(self) -> bool:
        """Whether the event loop has not yet heard of its end."""
        return not self._exit.done()

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal; False when it has ended. Raises PermissionError when it is another user's."""
        if self._pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    async def terminate(self, grace: float) -> Exit:
        """End it: SIGTERM, and SIGKILL after ``grace`` seconds.

        Raises TimedOut when it is not gone ``KILL_PATIENCE`` seconds after that.
        """
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_PATIENCE)):
            self.signal(number)
            await asyncio.wait({self.exited}, timeout=patience)
            if not self.alive:
                return self._exit.result()
        hint = "it hangs in the kernel, most often on a disk or a network file system that does not answer"
        raise TimedOut(f"process {self.pid} did not go {KILL_PATIENCE:.0f} s after SIGKILL", hint)

    def usage(self) -> Usage | None:
        """Return what it has used so far, or None when it has ended."""
        found = _read_stat(self.pid)
        if found is None or found.start_time != self.identity.start_time:
            return None
        return _used(found)

    def close(self) -> None:
        """Let go of it and leave it running. What waits for ``exited`` then waits for ever."""
        fd, self._pidfd = self._pidfd, None
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _ended(self) -> None:
        if self._pidfd is not None and not self._exit.done():
            self._exit.set_result(_reap(self._pidfd))
        self.close()


def _reap(pidfd: int) -> Exit:
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # an adopted one: its status goes to init
        return Exit()
    if found is None:
        return Exit()
    if found.si_code == os.CLD_EXITED:
        return Exit(status=found.si_status)
    return Exit(signal=found.si_status)


async def spawn(  # noqa: PLR0913 - the keywords of a call, each with its own default
    argv: Sequence[str],
    *,
    log: Path,
    user: Credentials | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    umask: int = 0o077,
    die_with_parent: bool = False,
) -> Process:
    """Start a program that outlives us, its stdout and stderr appended to ``log``.

    It has a session of its own and none of our descriptors but ``pass_fds``; ``env`` is its whole environment, ours
    when None. ``die_with_parent`` has the kernel kill it when we end (PR_SET_PDEATHSIG by setpriv of util-linux
    2.33): for tests and labs, never for a guest that is to be kept.
    Raises CommandFailed when it can't be started (127: there is no such program), VmdError when ``log`` is no
    regular file.
    """
    options = {"pass_fds": tuple(pass_fds), "cwd": cwd, "env": env, "umask": umask}
    output = open_regular(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        pid = launch(tuple(argv), output, privileges(user, die_with_parent=die_with_parent), options)
    finally:
        os.close(output)
    pidfd = os.pidfd_open(pid)  # ours and not reaped yet, so the number can't have passed to another
    found = _read_stat(pid)
    assert found is not None, "a child that nobody waited for is in /proc"  # noqa: S101
    return Process(Identity(pid, found.start_time, boot_id()), pidfd)


def adopt(identity: Identity) -> Process | None:
    """Take hold of a process started earlier; None when it is gone, also when its number is another's now."""
    if identity.boot_id != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # Only now look at its start: whoever has the number at this moment is who the pidfd holds.
    found = _read_stat(identity.pid)
    if found is None or found.start_time != identity.start_time or found.state in {"Z", "X"}:
        os.close(pidfd)
        return None
    return Process(identity, pidfd)


@dataclass(frozen=True)
class Found:
    """A running process and its command line."""

    identity: Identity
    argv: tuple[str, ...]


def find(matches: Callable[[tuple[str, ...]], bool]) -> list[Found]:
    """Return the running processes whose command line ``matches``: those whose record was lost."""
    numbers = (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - names suffice
    return [
        found
        for pid in numbers
        if matches(_argv(pid)) and (found := _look_at(pid)) is not None and matches(found.argv)
    ]


def _look_at(pid: int) -> Found | None:
    before = _read_stat(pid)
    argv = _argv(pid)
    after = _read_stat(pid)
    if not argv or before is None or after is None or before.start_time != after.start_time:
        return None  # a kernel thread, a zombie, or another process by now
    return Found(Identity(pid, after.start_time, boot_id()), argv)


def _argv(pid: int) -> tuple[str, ...]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - for every process: pathlib is slow
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(os.fsdecode(word) for word in line.removesuffix(b"\0").split(b"\0")) if line else ()

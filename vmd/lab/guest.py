"""A guest as a test sees it: plain calls, each bounded in time."""

from __future__ import annotations

import base64
import re
import secrets
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import VmdError
from .life import Life
from .loop import Loop
from .shell import Result
from .sweep import Cut, sweep


class GuestConsole:
    """The serial console: a shell, or whatever else is there."""

    def __init__(self, life: Life, loop: Loop) -> None:
        self._life, self._call = life, loop.call

    def run(self, cmd: str, timeout: float = 60.0) -> Result:
        """Have the shell there run a command, for ``timeout`` seconds at most.

        :raise TimedOut: it isn't done; it was interrupted.
        :raise QemuFailed: the guest ended first.
        """
        return self._call(self._life.terminal.run(cmd, timeout))

    def expect(self, pattern: str | re.Pattern[str], timeout: float = 60.0) -> re.Match[str]:
        """Wait until this regular expression is said, after what was found last.

        :raise TimedOut: it isn't said within ``timeout`` seconds.
        :raise QemuFailed: the guest ended first.
        """
        found = re.compile(pattern) if isinstance(pattern, str) else pattern
        return self._call(self._life.terminal.expect(found, timeout))

    def send(self, text: str) -> None:
        r"""Type this; Return is ``\n``."""
        self._call(self._life.terminal.send(text))

    @property
    def transcript(self) -> str:
        """What was said, without escape sequences: the last MiB of it."""
        return self._life.terminal.heard.text


class Link:
    """The cables of its NICs, counted from 0."""

    def __init__(self, life: Life, loop: Loop) -> None:
        self._life, self._call = life, loop.call

    def cut(self, nic: int = 0) -> None:
        """Pull a cable."""
        self._set(nic, up=False)

    def mend(self, nic: int = 0) -> None:
        """Plug it in again."""
        self._set(nic, up=True)

    def _set(self, nic: int, *, up: bool) -> None:
        self._call(self._life.run.monitor.execute("set_link", name=f"net{nic}", up=up))


class Power:
    """Its mains."""

    def __init__(self, life: Life, loop: Loop) -> None:
        self._life, self._call = life, loop.call

    def cut(self) -> None:
        """Take its power away, this moment. What it wrote and did not flush may be lost."""
        self._call(self._life.kill())

    def on(self) -> None:
        """Give it power, and wait until it is ready."""
        self._call(self._on())

    async def _on(self) -> None:
        await self._life.kill()
        await self._life.start()
        await self._life.until_ready()

    def button(self) -> None:
        """Press its power button."""
        self._call(self._life.run.monitor.power_button())


class LabGuest:
    """One guest of a lab."""

    def __init__(self, life: Life, loop: Loop, artefacts: Path) -> None:
        self._life, self._loop = life, loop
        self.name = life.guest.name
        self.artefacts = artefacts
        self.console = GuestConsole(life, loop)
        self.link = Link(life, loop)
        self.power = Power(life, loop)
        self.captures: list[Path] = []
        self.fate = ""

    @property
    def ssh_port(self) -> int:
        """The port of 127.0.0.1 that leads to its ssh; 0 where it has no NIC on user."""
        return self._life.ssh_port

    @property
    def line(self) -> str:
        """The QEMU line that it was started with, for a shell."""
        return shlex.join(self._life.argv)

    def ssh(self, cmd: str, timeout: float = 60.0, *, user: str | None = None, data: bytes = b"") -> Result:
        """Run a command by ssh, ``data`` on its input: as ``user``, else as its definition's, or root of a kernel's.

        :raise CommandFailed: nobody was let in.
        :raise TimedOut: it took longer than ``timeout`` seconds.
        """
        if not self.ssh_port:
            raise VmdError(f"{self.name} has no NIC on user, so no ssh", "use console.run")
        guest = self._life.guest
        who = user or ("root" if guest.boot else guest.user)
        return self._loop.call(self._life.login.command(who, self.ssh_port, (cmd,), timeout, data))

    def put(self, source: Path | bytes, target: str, timeout: float = 60.0) -> None:
        """Put a file, or these bytes, into the guest, by its console's shell and its base64: some 10 KiB a second.

        :raise VmdError: the guest could not write it.
        """
        data = source if isinstance(source, bytes) else source.read_bytes()
        path = shlex.quote(target)
        typed = base64.encodebytes(data).decode() + "\x04"
        self._must(f"base64 -d >{path}", timeout, typed)
        written = int(self._must(f"wc -c <{path}", timeout).stdout)
        if written != len(data):
            raise VmdError(f"{self.name}: of {len(data)} bytes {written} came to {target}", "put it there by ssh")

    def get(self, source: str, timeout: float = 60.0) -> bytes:
        """Read a file of the guest, by its console's shell and its base64.

        :raise VmdError: the guest could not read it, or it has more than the console keeps.
        """
        said = self._must(f"base64 {shlex.quote(source)}", timeout)
        if said.truncated:
            raise VmdError(f"{self.name}: {source} is too large for the console", "fetch it by ssh")
        return base64.b64decode(said.stdout)

    def _must(self, command: str, timeout: float, typed: str = "") -> Result:
        done = self._loop.call(self._life.terminal.run(command, timeout, typed))
        if done.status:
            raise VmdError(f"{self.name}: {command[:80]!r} ended with {done.status}: {done.stdout.strip()[-300:]}")
        return done

    @contextmanager
    def pcap(self, nic: int = 0) -> Iterator[Path]:
        """Capture what passes a NIC, in a file that tcpdump and wireshark read; it is whole when this ends."""
        name = f"pcap{secrets.token_hex(3)}"
        path = self.artefacts / f"{self.name}-{name}.pcap"
        monitor = self._life.run.monitor
        more: dict[str, Any] = {"qom-type": "filter-dump", "id": name, "netdev": f"nic{nic}", "file": str(path)}
        self._loop.call(monitor.execute("object-add", **more))
        self.captures.append(path)
        try:
            yield path
        finally:
            if monitor.connected:  # else it went with its QEMU, and has what had passed
                self._loop.call(monitor.execute("object-del", id=name))

    def wait_for(self, rung: str, timeout: float = 120.0) -> None:
        """Wait until the guest is this far: process, kernel, link, address, ssh.

        :raise TimedOut: it isn't within ``timeout`` seconds.
        """
        self._loop.call(self._life.until_rung(rung, timeout))

    def reset(self) -> None:
        """Put memory and disks back to where they were when it was ready, also after its power was cut.

        :raise VmdError: its settings say that it has no snapshot.
        """
        self._loop.call(self._life.reset())
        self.fate = ""

    def power_cuts(self, writes: Iterable[int]) -> Iterator[Cut]:
        """Have its power fail at its nth write, for each n, and boot it again on what was written.

        Each time it begins where it is now, memory and disks. What it does then stands in a ``with``; behind that
        it has booted again, and is to be checked. It is over when what it does has fewer writes than that::

            for cut in router.power_cuts(writes=range(1, 200)):
                with cut:
                    router.console.run("sysupgrade /tmp/new.img")
                assert router.console.run("check").status == 0
        """
        for cut in sweep(self._life, self._loop, writes):
            self.fate = f"its power fails at write {cut.write}"
            yield cut
        self.fate = ""

    def screenshot(self) -> Path | None:
        """A picture of its screen, or nothing where it has none."""
        path = self.artefacts / f"{self.name}-{secrets.token_hex(3)}.png"
        return self._loop.call(self._life.screen(path))

    def __repr__(self) -> str:
        return f"<guest {self.name}>"

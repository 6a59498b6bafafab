"""Watch one unattended install from its first byte to its verdict.

What is said while we listen comes from the console itself. What was said before, to a vmd that is gone, is in the
transcript on disk. That is complete, though QEMU 7.2 may repeat a byte in it when its client is slow: so either may
bring the good news.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..definition.units import format_duration
from ..errors import InstallFailed, VmdError
from ..host import files
from ..installer.contract import Failed, HostKey, Progress, Succeeded, Transcript
from ..plan.step import RunInstaller
from .running import Running, remember_keys

HALTED = "System halted"
"""What Linux says when it stopped without turning the power off (kernel/reboot.c)."""

LAST_WORDS = 5.0
"""How long QEMU may take to write what it holds once the guest is off, in seconds."""


@dataclass
class Watch:
    """What was heard of an install so far."""

    step: RunInstaller
    announce: Callable[[Progress], None]
    transcript: Transcript
    heard: float = field(default_factory=time.monotonic)
    succeeded: bool = False
    failure: str | None = None
    progress: Progress | None = None
    keys: list[HostKey] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def feed(self, data: bytes) -> None:
        """Take what the guest said."""
        self.heard = time.monotonic()
        for message in self.transcript.feed(data):
            match message:
                case Progress() if message != self.progress:
                    # the log we begin with may hold what the console is about to tell
                    self.progress = message
                    self.announce(message)
                case Succeeded():
                    self.succeeded = True
                case Failed(reason):
                    self.failure = self.failure or f"the installer says: {reason}"
                case HostKey():
                    self.keys.append(message)
        self.news.set()

    @property
    def halted(self) -> bool:
        """It succeeded and stopped, and only didn't turn the power off: a plain ``halt`` does that."""
        return self.succeeded and HALTED in self.transcript.last_line


async def watch(name: str, running: Running, step: RunInstaller, announce: Callable[[Progress], None]) -> None:
    """Return when the install has succeeded and QEMU is gone.

    :raise InstallFailed: it didn't succeed; QEMU is gone, transcript and screenshot are kept.
    """
    log = Path(running.places.install_log)
    heard = Watch(step, announce, Transcript(success=step.success))
    heard.feed(log.read_bytes())
    running.on_said = heard.feed
    failure = await _until_over(running, heard)
    if failure is None and not (heard.succeeded or _in_transcript(log, step)):
        failure = heard.failure or f"it turned itself off without saying {step.success}"
    if failure is not None:
        await _fail(name, running, heard, failure)
    remember_keys(name, running.places, heard.keys)
    await running.end(LAST_WORDS)


def _in_transcript(log: Path, step: RunInstaller) -> bool:
    """The transcript on disk holds the words of success."""
    return any(isinstance(message, Succeeded) for message in Transcript(step.success).feed(log.read_bytes() + b"\n"))


async def _until_over(running: Running, heard: Watch) -> str | None:
    """Wait for the end: None when the guest turned itself off, else why it failed."""
    over = asyncio.create_task(running.over.wait())
    try:
        while True:
            if (reason := _verdict(running, heard)) is not None:
                return reason or None
            left = min(_left(heard, running.since), 1.0)
            news = asyncio.create_task(heard.news.wait())
            waits: set[asyncio.Future[Any]] = {over, news, running.process.exited}
            await asyncio.wait(waits, timeout=max(0.01, left), return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            heard.news.clear()
    finally:
        over.cancel()


def _left(heard: Watch, began: float) -> float:
    silence = heard.heard + heard.step.silence - time.monotonic()
    return min(silence, began + heard.step.timeout - time.time())


def _verdict(running: Running, heard: Watch) -> str | None:  # noqa: PLR0911 - one return for each way to end
    """Why it is over: "" for an orderly end, a reason for a failure, None while it goes on."""
    if running.panicked.is_set():
        return "its kernel panicked"
    if running.powered_off.is_set() or heard.halted:
        return ""
    if not running.process.alive:
        return f"QEMU {running.process.exited.result()} in the middle of it"
    if running.paused:
        return f"its disk could not be written: {running.paused} left on the host"
    if heard.failure and not heard.succeeded:
        return heard.failure
    if heard.heard + heard.step.silence < time.monotonic():
        return f"it has said nothing for {format_duration(heard.step.silence)}"
    if running.since + heard.step.timeout < time.time():
        return f"it did not end within {format_duration(heard.step.timeout)}"
    return None


async def _fail(name: str, running: Running, heard: Watch, failure: str) -> None:
    places = running.places
    shot = await _screenshot(running)
    await running.end(LAST_WORDS)
    last = (
        f"; its last line: {heard.transcript.last_line!r}" if heard.transcript.last_line else "; it never said a word"
    )
    seen = f" and {places.install_screenshot}" if shot else ""
    raise InstallFailed(
        f"{name}: the install of {heard.step.installer} failed: {failure}{last}",
        f"vmctl log {name} --install shows all it said ({places.install_log}{seen}); vmctl up {name} tries again",
        places.install_log,
    )


async def _screenshot(running: Running) -> bool:
    """Keep what its screen shows, if it still shows something."""
    if not running.process.alive:
        return False
    with suppress(VmdError, OSError):
        files.write_atomic(Path(running.places.install_screenshot), await running.picture())
        return True
    return False

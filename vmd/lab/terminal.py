"""Somebody at a guest's console: types, waits for words, runs commands in whatever shell is there."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable

from ..errors import QemuFailed, TimedOut
from . import shell
from .heard import Heard
from .run import Run
from .shell import Result

PROMPT = re.compile(r"[#$>%] ?\Z")
"""What a shell that waits says last."""

LOGIN = re.compile(r"login: ?\Z")
PASSWORD = re.compile(r"[Pp]assword: ?\Z")

PAUSE = 0.1
"""Seconds of silence after which what was said last may be a question."""

POKE = 2.0
"""Seconds of silence after which Return is pressed: somebody may wait for just that."""

QUOTED = 300
"""Characters of a console that an error quotes."""


class Terminal:
    """The console of a guest over all its runs; what was found by :meth:`expect` is behind us."""

    def __init__(self, name: str, run: Callable[[], Run]) -> None:
        self.name = name
        self.heard = Heard()
        self.passed = ""
        self._run = run
        self._place = self._origin = 0

    async def send(self, text: str) -> None:
        """Type this."""
        await self._run().console.write(text.encode())

    def skip(self) -> None:
        """Put all that was said behind us."""
        self._place = self.heard.end

    async def expect(self, pattern: re.Pattern[str], timeout: float) -> re.Match[str]:  # noqa: ASYNC109 - our words
        """Wait ``timeout`` seconds at most until this is said after what was found last; ``passed`` is all before it.

        :raise TimedOut: it isn't said; quotes what was said last.
        :raise QemuFailed: the guest ended first.
        """
        try:
            async with asyncio.timeout(timeout):
                while (found := self.heard.find(pattern, self._place)) is None:
                    self._check_alive(f"before it said {pattern.pattern!r}")
                    await self.heard.more()
        except TimeoutError:
            raise TimedOut(
                f"{self.name} did not say {pattern.pattern!r} within {timeout:g} s", self._last()
            ) from None
        self.passed = self.heard.text[max(0, self._place - self.heard.start) : found.start()]
        self._place = self.heard.start + found.end()
        return found

    async def run(self, command: str, timeout: float, typed: str = "") -> Result:  # noqa: ASYNC109 - our own words
        """Have the shell on the console run a command, this typed at it once it runs, and return what came of it.

        :raise TimedOut: it isn't done; it has been interrupted (Ctrl-C).
        :raise QemuFailed: the guest ended first.
        """
        token = secrets.token_hex(4)
        self._check_alive(f"and can't run {command!r}")
        self.skip()
        try:
            async with asyncio.timeout(timeout):
                for line in shell.typed(command, token):
                    await self.send(line + "\n")
                began = await self.expect(shell.begin(token), timeout)
                dropped = self.heard.start
                await self.send(typed)
                ended = await self.expect(shell.end(token), timeout)
        except (TimeoutError, TimedOut):
            await self.send("\x03")
            raise TimedOut(f"{self.name}: {command!r} was not done within {timeout:g} s", self._last()) from None
        truncated = self.heard.start > dropped and self._place - len(self.passed) - len(ended[0]) <= self.heard.start
        return shell.result(self.passed, int(ended[1]), began[1], truncated=truncated)

    async def find_shell(self, timeout: float, login: str = "", password: str = "") -> None:  # noqa: ASYNC109
        """Wait until a shell answers; log in where somebody asks for it, press Return where somebody waits for it.

        :raise TimedOut: none does.
        :raise QemuFailed: the guest ended first.
        """
        self.skip()
        self._origin = self._place
        try:
            async with asyncio.timeout(timeout):
                while not await self._answers(login, password):
                    pass
        except TimeoutError:
            raise TimedOut(f"{self.name} has no shell on its console after {timeout:g} s", self._last()) from None

    async def _answers(self, login: str, password: str) -> bool:
        """Wait for a question, and answer it; whether a shell has asked."""
        said = await self._question()
        if LOGIN.search(said) and login:
            await self.send(f"{login}\n")
        elif PASSWORD.search(said):
            await self.send(f"{password}\n")
        elif PROMPT.search(said):
            return await self._echoes()
        else:
            await self.send("\n")
        return False

    async def _question(self) -> str:
        """What was said last, when nothing more is said for a moment, or for long."""
        while True:
            self._check_alive("before it had a shell on its console")
            asks = any(each.search(self._tail()) for each in (PROMPT, LOGIN, PASSWORD))
            try:
                async with asyncio.timeout(PAUSE if asks else POKE):
                    await self.heard.more()
            except TimeoutError:
                if self.heard.end > self._origin:
                    return self._tail()

    async def _echoes(self) -> bool:
        try:
            return (await self.run(":", 5.0)).status == 0
        except TimedOut:
            return False

    def _tail(self) -> str:
        return self.heard.since(max(self._place, self.heard.end - 200))

    def _check_alive(self, when: str) -> None:
        if why := self._run().why:
            raise QemuFailed(f"{self.name}: {why} {when}", self._last())

    def _last(self) -> str:
        return f"it said last: {self.heard.text[-QUOTED:].strip()!r}"

"""The way down: ask, press, quit, kill, each only when the one before didn't do it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import assert_never

from ..errors import VmdError
from ..host import agent
from ..plan import step as steps
from ..plan.goodbye import AskSsh, TypePoweroff
from ..plan.step import AskAgent, DiscardHalfMade, Down, Kill, PressPower, Quit
from . import goodbye
from .announce import Tell
from .execute import discard
from .running import Running

Gone = Callable[[float], Awaitable[bool]]
"""Waits up to so many seconds for the guest's end; says whether it came."""


class Ladder:
    """One guest's way down. ``rung`` is the one that worked: agent, ssh, serial, power, quit or kill."""

    def __init__(self, running: Running | None, gone: Gone, tell: Tell) -> None:
        self._running, self._gone, self._tell = running, gone, tell
        self._began = time.monotonic()
        self.rung: str | None = None

    async def climb_down(self, plan: Iterable[Down]) -> None:
        """Take the rungs in turn until the guest is gone; what tidies up comes in any case."""
        for step in plan:
            facts = {"step": steps.name(step), "text": step.text}
            if not isinstance(step, DiscardHalfMade) and await self._gone(0):
                self._tell("step.skipped", **facts, why="it is gone")
                continue
            began = time.monotonic()
            self._tell("step.started", **facts)
            word = await self._do(step)
            spent = round(time.monotonic() - began, 3)
            if word and self.rung is None and await self._gone(0):
                self.rung = word
                self._tell("ladder", rung=word, text=f"{step.text}: that worked")
            self._tell("step.done", **facts, seconds=spent)

    async def _do(self, step: Down) -> str | None:  # noqa: PLR0911 - one case for each rung
        """Take one rung; its word, or None where the step is no rung."""
        match step:
            case AskAgent():
                await self._ask_agent(step)
                return "agent"
            case AskSsh():
                await self._ask_ssh(step)
                return "ssh"
            case TypePoweroff():
                if self._running:
                    await goodbye.by_serial(self._running, self._gone, lambda: self._left(step.until))
                return "serial"
            case PressPower():
                await self._press_power(step)
                return "power"
            case Quit():
                await self._quit(step)
                return "quit"
            case Kill():
                await self._kill()
                return "kill"
            case DiscardHalfMade():
                discard(Path(step.path))
                return None
        assert_never(step)

    def _left(self, until: float) -> float:
        return max(0.0, self._began + until - time.monotonic())

    async def _ask_agent(self, step: AskAgent) -> None:
        if self._running is None or not await self._running.has_agent():
            return
        try:
            path, patience = Path(self._running.places.agent), min(step.timeout, step.until)
            await agent.ask(path, "guest-shutdown", timeout=patience, answers=False, mode="powerdown")
        except VmdError:
            return  # no agent, or one that refuses: the power button is next
        await self._gone(self._left(step.until))

    async def _ask_ssh(self, step: AskSsh) -> None:
        own = Path(self._running.places.dir).parents[1] / "client" / "id_ed25519" if self._running else Path()
        if self._running and await goodbye.by_ssh(self._running, step.user, (own,) if own.exists() else ()):
            await self._gone(self._left(step.until))

    async def _press_power(self, step: PressPower) -> None:
        while self._running and (left := self._left(step.until)) > 0:
            with suppress(VmdError):
                await self._running.monitor.power_button()
            if await self._gone(min(step.again, left)):
                return

    async def _quit(self, step: Quit) -> None:
        until = time.monotonic() + step.patience
        if self._running:
            with suppress(VmdError, TimeoutError):  # one that doesn't answer is killed next
                await asyncio.wait_for(self._running.monitor.quit(), step.patience)
        await self._gone(max(0.0, until - time.monotonic()))

    async def _kill(self) -> None:
        if self._running:
            self._running.process.signal(SIGKILL)
        await self._gone(30.0)

"""Each step is announced as it starts, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from ..errors import VmdError
from ..plan import step as steps
from ..plan.step import Step
from ..plan.upkeep import Upkeep

Tell = Callable[..., object]
"""Emits an event about one guest: its kind, and facts by name."""


async def announced(tell: Tell, step: Step | Upkeep, work: Awaitable[str | None]) -> None:
    """Do a step and tell of it; ``work`` gives why there was nothing to do, or None.

    :raise VmdError: the step failed.
    """
    facts = {"step": steps.name(step), "text": step.text}
    began = time.monotonic()
    tell("step.started", **facts)
    try:
        skipped = await work
    except VmdError as error:
        spent = round(time.monotonic() - began, 3)
        tell("step.failed", **facts, seconds=spent, error=error.message, hint=error.hint)
        raise
    spent = round(time.monotonic() - began, 3)
    if skipped:
        tell("step.skipped", **facts, why=skipped)
    else:
        tell("step.done", **facts, seconds=spent)

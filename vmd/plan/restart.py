"""Past exits and the present time → wait so long and start it again, or give up and say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Policy = Literal["always", "on-failure", "never"]
Cause = Literal["stopped", "powered-off", "crashed", "killed", "panicked"]

FIRST_DELAY = 1.0
"""Seconds before the first restart; each further one waits twice as long."""

LONGEST_DELAY = 300.0
"""Seconds that a restart waits at the most."""

STEADY = 600.0
"""A run of so many seconds went well: what happened before it is forgotten."""

ATTEMPTS = 10
"""So many runs in a row that were not steady are enough: the eleventh would be no better."""

FAILURES: frozenset[Cause] = frozenset({"crashed", "killed", "panicked"})
"""Ends that nobody wanted; a guest that powers itself off has done what it meant to."""


class End(NamedTuple):
    """How one run ended; ``ran`` is how long it had lasted, in seconds."""

    cause: Cause
    ran: float


class Again(NamedTuple):
    """Start it again after ``delay`` seconds; ``attempt`` counts from 1."""

    delay: float
    attempt: int


class Leave(NamedTuple):
    """Don't start it again; ``gave_up`` is whether it was tried often enough."""

    why: str
    gave_up: bool = False


def after_end(policy: Policy, ends: Sequence[End]) -> Again | Leave:
    """What to do after the last of ``ends``, the oldest first."""
    last = ends[-1]
    if last.cause == "stopped":
        return Leave("it was stopped, as asked")
    if policy == "never":
        return Leave("restart: never")
    if policy == "on-failure" and last.cause not in FAILURES:
        return Leave(f"restart: on-failure, and it {last.cause.replace('-', ' ')}")
    quick = _quick(ends)
    if quick > ATTEMPTS:
        why = f"it ended {quick} times in a row within {STEADY:g} s of its start, the last time it was {last.cause}"
        return Leave(f"{why}; vmd gave up", gave_up=True)
    return Again(min(FIRST_DELAY * 2 ** max(0, quick - 1), LONGEST_DELAY), max(1, quick))


def _quick(ends: Sequence[End]) -> int:
    """How many of the last runs in a row were not steady."""
    count = 0
    for end in reversed(ends):
        if end.ran >= STEADY:
            break
        count += 1
    return count

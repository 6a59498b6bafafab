"""What would change, and how: for ``vmctl plan``, in the very steps that ``up`` and ``apply`` carry out."""

from __future__ import annotations

import difflib
from typing import Any

from ..definition.guest import Guest
from ..errors import VmdError
from ..plan import pins, reconcile
from ..plan import step as steps
from ..plan.cmdline import Place, boot_line, words
from ..plan.live import live
from . import records, standing
from .supervise import Supervisor

YOURS = ("the public keys of whoever says up",)
"""What stands for the keys in a plan that nobody has asked to carry out."""


async def planned(kept: Supervisor) -> dict[str, Any]:
    """One guest's part of ``plan --json``."""
    told: dict[str, Any] = {
        "name": kept.name,
        "state": kept.state,
        "due": standing.due(kept),
        "changes": [vars(change) for change in standing.pending(kept)],
        "steps": [],
        "upgrade": [],
        "argv_diff": [],
        "error": None,
    }
    if kept.guest is None:
        return told
    try:
        place = await kept.place(kept.guest, YOURS)
        told["steps"] = [{"step": steps.name(step), "text": step.text} for step in _steps(kept, kept.guest, place)]
        if place.observed.pins:
            told["upgrade"] = list(pins.upgrade(kept.guest, place.host, place.observed.pins))
        told["argv_diff"] = _diff(kept, kept.guest, place)
    except VmdError as error:
        told["error"] = str(error)
    return told


def _steps(kept: Supervisor, guest: Guest, place: Place) -> tuple[steps.Step, ...]:
    if kept.running is not None:
        return live(guest, place)
    return reconcile.up(guest, kept.home.fleet.installers.get(guest.install or ""), place)


def _diff(kept: Supervisor, guest: Guest, place: Place) -> list[str]:
    """The QEMU line it runs with against the one it would be started with now, an option a line."""
    booted = records.booted(place.layout) if kept.running is not None else None
    if booted is None:
        return []
    now = list(words(boot_line(guest, place)))
    was = _as_lines(booted.argv[1:])
    return [
        line for line in difflib.unified_diff(was, now, "booted", "current", lineterm="", n=0) if line[:2] != "@@"
    ]


def _as_lines(argv: tuple[str, ...]) -> list[str]:
    """A recorded line, an option with its value a line: an option begins with a dash, and no value of ours does."""
    lines: list[str] = []
    for word in argv:
        if word.startswith("-") or not lines:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines

"""How a guest stands: derived at every look, from its definition, its jobs, its process and its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..plan.drift import Change, drift
from . import records

if TYPE_CHECKING:
    from .supervise import Supervisor

Due = Literal["up", "change", "prune", ""]
"""What ``apply`` would do about a guest; "" is nothing."""


def state(kept: Supervisor) -> str:
    """One of `protocol.STATES`."""
    if kept.busy and kept.job_kind == "down":
        return "stopping"
    if kept.busy and kept.progress is not None:
        return "installing"
    if kept.guest is None:
        return "orphan"
    if kept.attendant.adopting:
        return "running"
    if kept.running is not None:
        return "running" if kept.running.readiness.has("kernel") or not kept.busy else "starting"
    return "starting" if kept.busy else _at_rest(kept)


def _at_rest(kept: Supervisor) -> str:
    if kept.error is not None:
        return "failed"
    return "stopped" if Path(kept.home.places(kept.name).dir).exists() else "absent"


def left_behind(kept: Supervisor) -> bool:
    """Something of it is here, defined or not: it runs, or has run once."""
    return kept.running is not None or kept.busy or Path(kept.home.places(kept.name).booted).exists()


def protected(kept: Supervisor) -> bool:
    """Its definition, or the last one it had, forbids to remove it."""
    guest = kept.guest
    if guest is None and (booted := records.booted(kept.home.places(kept.name))):
        guest = booted.guest
    return guest is not None and guest.protect


def pending(kept: Supervisor) -> tuple[Change, ...]:
    """What differs between the definition it runs with and the one it has."""
    booted = kept.attendant.booted
    if kept.guest is None or booted is None or kept.running is None:
        return ()
    return drift(booted.guest, kept.guest, booted.ceiling)


def due(kept: Supervisor, *, prune: bool = False) -> Due:
    """What ``apply`` would do about it."""
    if kept.guest is None:
        return "prune" if prune else ""
    if kept.running is not None:
        return "change" if any(change.effect == "live" for change in pending(kept)) else ""
    return "" if records.wanted(kept.home.places(kept.name)) == "down" else "up"

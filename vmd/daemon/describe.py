"""What a guest is, in the words of the API: from facts the daemon already has, never by asking a guest."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ..definition.network import USER
from .standing import pending
from .supervise import Supervisor

LOOPBACK = "127.0.0.1"


def status(kept: Supervisor) -> dict[str, Any]:
    """One guest, as ``status --json`` shows it; what has no value is null."""
    running, guest = kept.running, kept.guest
    place = kept.home.fleet.position("guests", kept.name) if guest else None
    return {
        "name": kept.name,
        "state": kept.state,
        "rung": running.readiness.rung if running else None,
        "pid": running.process.pid if running else None,
        "addresses": _addresses(kept),
        "since": kept.since or (running.since if running else None),
        "restarts": len(kept.attendant.ends.past),
        "pending": [change.text for change in pending(kept)],
        "error": kept.error
        or (f"its QEMU (pid {running.process.pid}) hangs" if running and not running.held else None),
        "paused": running.paused if running else None,
        "memory": guest.memory if guest else None,
        "cpus": guest.cpus if guest else None,
        "progress": _progress(kept),
        "defined": f"{place.file}:{place.line}" if place else None,
        "ssh": dict(zip(("host", "port"), running.door, strict=True)) if running and running.door else None,
    }


def _addresses(kept: Supervisor) -> list[dict[str, object]]:
    """Its own addresses, each with its surest source and the seconds since it was seen; then the forwarded port."""
    if kept.running is None:
        return []
    learnt = kept.attendant.addresses
    own: list[dict[str, object]] = [
        {"address": a.address, "port": None, "source": a.sources[0], "age": round(a.age, 1)} for a in learnt
    ]
    port = kept.running.ssh_port
    return [*own, {"address": LOOPBACK, "port": port, "source": "forward", "age": None}] if port else [*own]


def _progress(kept: Supervisor) -> dict[str, Any] | None:
    if kept.progress is None or not kept.busy:
        return None
    return {**kept.progress, "seconds": round(time.time() - kept.since, 1) if kept.since else None}


def ssh_facts(kept: Supervisor) -> dict[str, Any]:
    """How to reach its ssh, and where the host keys are that it showed on its own console."""
    known = kept.home.places(kept.name).known_hosts
    guest, running = kept.guest, kept.running
    on_user = guest is not None and any(nic.network == USER for nic in guest.nics)
    stopped = (LOOPBACK, kept.home.ssh_port(kept.name, running=True)) if on_user else None
    host, port = (running.door if running else stopped) or (None, None)
    return {
        "name": kept.name,
        "alias": kept.name,
        "host": host if port else None,
        "port": port or None,
        "user": guest.user if guest else None,
        "known_hosts": known,
        "verified": Path(known).exists() and os.access(known, os.R_OK),
    }

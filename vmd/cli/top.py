"""What guests use of the host, looked at again and again."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from ..protocol import Exit
from . import show
from .client import Json, daemon, route

HEADINGS = ("NAME", "STATE", "CPU", "MEMORY", "READ/s", "WRITTEN/s", "IN/s", "OUT/s")
HOME_AND_CLEAR = "\033[H\033[J"
"""ECMA-48: the cursor to the first line, and all below it away."""


def top(arguments: Namespace) -> int:
    """Print a table every few seconds, on a terminal in place of the one before, until Ctrl-C or ``--count``."""
    if arguments.json:
        show.facts(daemon().get(route("usage")))
        return Exit.DONE
    screen = sys.stdout.isatty()
    left = arguments.count or (0 if screen else 1)
    before = daemon().get(route("usage"))
    while True:
        time.sleep(arguments.every)
        now = daemon().get(route("usage"))
        if screen:
            sys.stdout.write(HOME_AND_CLEAR)
        show.table(HEADINGS, rows(before, now))
        sys.stdout.flush()
        before, left = now, left - 1
        if left == 0:
            return Exit.DONE


def rows(before: Json, now: Json) -> list[tuple[str, ...]]:
    """A line for each guest, the busiest first; rates are those between two looks."""
    seconds = max(now["time"] - before["time"], 0.001)
    earlier = {guest["name"]: guest for guest in before["guests"]}
    busy = sorted(now["guests"], key=lambda guest: -(_rate(earlier, guest, "cpu_seconds", seconds) or 0.0))
    return [_row(earlier, guest, seconds) for guest in busy]


def _row(earlier: Mapping[str, Any], guest: Mapping[str, Any], seconds: float) -> tuple[str, ...]:
    cpu = _rate(earlier, guest, "cpu_seconds", seconds)
    rates = (_rate(earlier, guest, key, seconds) for key in ("disk_read", "disk_written", "received", "sent"))
    return (
        guest["name"],
        guest["state"],
        "" if cpu is None else f"{cpu:.0%}",
        "" if guest["memory"] is None else show.size(guest["memory"]),
        *("" if rate is None else show.size(int(rate)) for rate in rates),
    )


def _rate(earlier: Mapping[str, Any], guest: Mapping[str, Any], key: str, seconds: float) -> float | None:
    """So much a second; None where it isn't known, or the guest was started anew in between."""
    was, is_now = earlier.get(guest["name"], {}).get(key), guest[key]
    if was is None or is_now is None or is_now < was:
        return None
    return float(is_now - was) / seconds

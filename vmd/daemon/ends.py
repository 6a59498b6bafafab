"""Why a run ended: seen by us, or found out afterwards from what it left behind."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from ..definition.layout import GuestLayout
from ..host.process import Exit
from ..plan.restart import Cause
from .running import Running

LAST_WORDS = 500
"""So many characters of what QEMU said last go into the message."""

TERMINATED = re.compile(r"terminating on signal (\d+)")
"""What QEMU says when it is asked to end by a signal (softmmu/runstate.c; system/runstate.c since 8.2)."""


def seen(ended: Exit, running: Running, *, stopping: bool) -> tuple[Cause, str]:
    """Why a QEMU is gone whose end we saw, and a sentence that says so."""
    if stopping:
        return "stopped", "it was stopped"
    if running.panicked.is_set():
        return "panicked", "its kernel panicked"
    if running.powered_off.is_set():
        return "powered-off", "it powered itself off"
    return by_exit(ended, last_words(running.places))


def by_exit(ended: Exit, said: str) -> tuple[Cause, str]:
    """Why a QEMU is gone that nobody asked to go, by its exit status and its last words."""
    if ended.signal in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return "killed", f"QEMU {ended} from outside"
    if told := TERMINATED.search(said):
        return "killed", f"QEMU was killed by {signal.Signals(int(told[1])).name} from outside"
    if ended.signal is not None or ended.status not in (0, None):
        return "crashed", _with(f"QEMU {ended}", said)
    if ended.status is None and said:
        return "crashed", _with("QEMU ended while vmd was away", said)
    if ended.status is None:
        return "killed", "QEMU was killed while vmd was away: it left no word"
    return "killed", "QEMU was told to quit by somebody else: its monitor is open to its operators"


def last_words(places: GuestLayout) -> str:
    """What QEMU itself said last."""
    try:
        return Path(places.qemu_log).read_text(errors="replace").strip()[-LAST_WORDS:]
    except FileNotFoundError:
        return ""


def _with(sentence: str, said: str) -> str:
    return f"{sentence}; its last words: {said}" if said else sentence

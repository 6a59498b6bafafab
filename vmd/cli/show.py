"""How facts look: lines, tables, sizes and times.

Results go to stdout, everything else to stderr. What a guest or the daemon said is printed without its control
characters, so that no guest can drive the operator's terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import VmdError

_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in {9, 10}}


def line(text: str = "") -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{clean(text)}\n")


def note(text: str) -> None:
    """Write a line that is no result: progress, advice, a fault."""
    sys.stderr.write(f"{clean(text)}\n")
    sys.stderr.flush()


def problem(error: VmdError) -> None:
    """Write an error and its hint as every verb does."""
    complaint(error.message, error.hint)


def complaint(message: str, hint: str = "") -> None:
    """Write what is wrong and, indented, what to do."""
    note(f"vmctl: {message}")
    for text in hint.splitlines():
        note(f"  {text}")


def blame(guest: str, message: str, hint: str = "") -> None:
    """Write what is wrong with a guest, led by its name unless the message is."""
    led = message.startswith((f"{guest}:", f"{guest} ", f"{guest}'"))
    complaint(message if led else f"{guest}: {message}", hint)


def facts(body: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write an answer of the API as it is."""
    sys.stdout.write(f"{json.dumps(body, indent=2, ensure_ascii=False)}\n")


def octets(block: bytes) -> None:
    """Write bytes as they are, at once."""
    rest = memoryview(block)
    while rest:  # where PYTHONUNBUFFERED is set, this is a bare write(2), which may write less
        rest = rest[sys.stdout.buffer.write(rest) or 0 :]
    sys.stdout.buffer.flush()


def clean(text: str) -> str:
    """Replace control characters, escape sequences with them; tabs and newlines stay."""
    return text.translate(_CONTROLS)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows in columns as wide as they need; on a terminal the last one is cut to fit."""
    cells = [headings, *(tuple(clean(cell).replace("\n", " ") for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    room = _room()
    for row in cells:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        line(text if len(text) <= room else f"{text[: room - 1]}…")


def _room() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or sys.maxsize
    except (OSError, ValueError):
        return sys.maxsize


def duration(seconds: float) -> str:
    """Say how long: ``0.1 s``, ``42 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    for above, great, unit, small, part in (
        (86400, 86400, "d", 3600, "h"),
        (3600, 3600, "h", 60, "min"),
        (60, 60, "min", 1, "s"),
    ):
        if whole >= above:
            rest = whole % great // small
            return f"{whole // great} {unit} {rest} {part}" if rest else f"{whole // great} {unit}"
    return f"{whole} s"


def size(octets: int) -> str:
    """Say how much, in binary units: ``1 GiB``, ``1.5 GiB``, ``64 MiB``."""
    amount, unit = float(octets), "B"
    for greater in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, greater
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"


def ago(since: float | None) -> str:
    """Say how long ago a moment was, in seconds since the epoch; nothing if there is none."""
    return "" if since is None else duration(time.time() - since)


def clock(moment: float) -> str:
    """Say when: the local time of day, the date before it when that was another day."""
    then, now = time.localtime(moment), time.localtime()
    today = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)


def place(address: Mapping[str, Any]) -> str:
    """Say where a guest is reached: ``10.0.2.15``, ``127.0.0.1:2222``, ``[::1]:2222``."""
    host, port = str(address["address"]), address.get("port")
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def advance(progress: Mapping[str, Any] | None) -> str:
    """Say how far a guest's work has come: ``3/7 unpacking, 12 s``; nothing if there is none."""
    if not progress:
        return ""
    steps = f"{progress['done']}/{progress['total']} " if progress.get("total") else ""
    seconds = progress.get("seconds")
    return f"{steps}{progress.get('text') or ''}{'' if seconds is None else f', {duration(seconds)}'}".strip()

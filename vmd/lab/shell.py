"""A command for a shell on a serial console, and its answer told from all else that is said there. Pure.

What is typed is echoed, wrapped and redrawn; kernels talk in between. So the answer stands between two words that
the shell puts together itself, and that are not in what is typed. Any shell with POSIX's words does: dash, bash and
busybox's ash were tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

PIECE = 400
"""Characters typed on one line: busybox's line editor may take no more than 512."""

KERNEL = re.compile(r"(?:<\d>)?\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+\])? [^\n]*(?:\n|\Z)")
"""A kernel's message, wherever in a line it broke in."""

SLACK = 0.5
"""Seconds: the kernel's messages and /proc/uptime count from slightly different moments."""


class Result(NamedTuple):
    """What a command did."""

    status: int
    """Its exit status."""
    stdout: str
    """What it said, on both its outputs: a console has but one."""
    kernel: tuple[str, ...] = ()
    """What the kernel said in between."""
    truncated: bool = False
    """It said more than is kept: ``stdout`` is the end of it."""


def typed(command: str, token: str) -> Iterator[str]:
    """The lines to type, so that the shell itself runs a command, ``cd`` and variables included."""
    pieces = list(_pieces(command.rstrip("\n")))
    for index, piece in enumerate(pieces):
        before = "$vmd_c" if index else ""
        assign = f'vmd_c="{before}$(printf \'{piece}%s\' .)"; vmd_c="${{vmd_c%.}}"'
        yield assign
    yield (
        f'vmd_u=; {{ read -r vmd_u vmd_r </proc/uptime; }} 2>/dev/null; echo "vmd:"{token}"<$vmd_u>"; '
        f'command eval "$vmd_c"; vmd_s=$?; echo; echo "vmd:"{token}"=$vmd_s="'
    )


def begin(token: str) -> re.Pattern[str]:
    """What is said before the answer; its group is the guest's uptime in seconds, or nothing."""
    return re.compile(rf"vmd:{token}<([\d.]*)>\n")


def end(token: str) -> re.Pattern[str]:
    """What is said behind the answer; its group is the exit status."""
    return re.compile(rf"\n?vmd:{token}=(\d+)=")


def result(said: str, status: int, uptime: str, *, truncated: bool = False) -> Result:
    """Tell a command's own words from the kernel's.

    What looks like a kernel's message and is older than the command is the command's: it asked for them.
    """
    since = float(uptime) - SLACK if uptime else 0.0
    live = [match for match in KERNEL.finditer(said) if float(match[1]) >= since]
    kernel = tuple(match[0].rstrip("\n") for match in live)
    for match in reversed(live):
        said = said[: match.start()] + said[match.end() :]
    return Result(status, said, kernel, truncated)


def _pieces(command: str) -> Iterator[str]:
    piece = ""
    for char in command:
        escaped = _escaped(char)
        if len(piece) + len(escaped) > PIECE:
            yield piece
            piece = ""
        piece += escaped
    yield piece


def _escaped(char: str) -> str:
    """A character as printf(1) takes it in single quotes, where a line editor would not take it for itself."""
    if char in "%'\\!" or not " " <= char <= "~":
        return "".join(f"\\{byte:03o}" if byte != 0x25 else "%%" for byte in char.encode())
    return char

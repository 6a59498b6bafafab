"""What a failed test's report says of its guests."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import VmdError
from .bench import Lab
from .guest import LabGuest

LINES = 100
"""Lines of each console that are in a report; the whole is in a file beside it."""


def sections(lab: Lab) -> Iterator[tuple[str, str]]:
    """Title and text of each section."""
    for guest in lab.values():
        if guest.line:
            yield from _of_one(guest)


def _of_one(guest: LabGuest) -> Iterator[tuple[str, str]]:
    transcript = guest.console.transcript
    path = guest.artefacts / f"{guest.name}-console.log"
    path.write_text(transcript)
    lines = transcript.splitlines()
    more = f"(the whole is in {path})\n" if len(lines) > LINES else ""
    yield f"console of {guest.name}", more + "\n".join(lines[-LINES:])
    yield f"QEMU line of {guest.name}", guest.line
    if guest.fate:
        yield f"fate of {guest.name}", guest.fate
    if shot := _screenshot(guest):
        yield f"screen of {guest.name}", shot
    if guest.captures:
        yield f"captures of {guest.name}", "\n".join(map(str, guest.captures))


def _screenshot(guest: LabGuest) -> str:
    try:
        return str(guest.screenshot() or "")
    except VmdError as error:
        return f"it can't be had: {error}"

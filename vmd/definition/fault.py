"""One thing wrong with a definition, and the place where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Key = tuple[str | int, ...]
"""The way from the top of a definition to a value: ``("guests", "alice", "network", 0)``."""


class Position(NamedTuple):
    """A place in a text; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Fault(NamedTuple):
    """One thing wrong: where, what, and what to do about it."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        words = ": ".join(part for part in (self.key, self.message) if part)
        return f"{self.file}:{self.line}:{self.column}: {words}{f'; {self.hint}' if self.hint else ''}"


def dotted(key: Key) -> str:
    """Show a key: ``guests.alice.network[0]``."""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{_short(part)}" for part in key)
    return shown.removeprefix(".")


def quoted(value: object) -> str:
    """Quote a value in a message; never more than a line of it, whatever it is."""
    if value is None or isinstance(value, (dict, list)):
        return "nothing" if value is None else "a mapping" if isinstance(value, dict) else "a list"
    return str(value).lower() if isinstance(value, bool) else repr(_short(value) if isinstance(value, str) else value)


def _short(words: str) -> str:
    return words if len(words) <= 70 else f"{words[:67]}..."


def nearest(where: Mapping[Key, Position], key: Key) -> Position:
    """Find the place of a key, or of what it would stand in; line 1 of an unnamed text if there is none."""
    for end in range(len(key), -1, -1):
        if key[:end] in where:
            return where[key[:end]]
    return Position("", 1, 1)

"""``lab.yaml``: a fleet's definition, and under ``lab`` what a test wants of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..definition.document import Source, read
from ..definition.guest import Guest
from ..definition.parse import parse
from ..errors import DefinitionError
from ..protocol import RUNGS

KEY = "lab"

Scope = Literal["module", "session"]


KINDS: dict[str, Any] = {"ready": str, "login": str, "password": str, "timeout": int | float, "snapshot": bool}
"""The keys of :class:`Settings`, and of what kind each is."""


@dataclass(frozen=True)
class Settings:
    """What a test wants of one guest.

    ``ready`` is a rung, words on the console, or None: a shell that answers there. ``timeout`` is in seconds.
    """

    ready: str | re.Pattern[str] | None = None
    login: str = ""
    password: str = ""
    timeout: float = 120.0
    snapshot: bool = True


@dataclass(frozen=True)
class Bench:
    """The guests of one ``lab.yaml``, and how long they live."""

    path: Path
    guests: dict[str, Guest]
    settings: dict[str, Settings] = field(default_factory=dict)
    scope: Scope = "module"


def load(path: Path) -> Bench:
    """Read a ``lab.yaml``.

    :raise DefinitionError: something in it is wrong; it carries every fault.
    """
    try:
        source = Source(str(path), path.read_bytes(), str(path.parent))
    except OSError as error:
        raise DefinitionError([f"{path}: {error.strerror}: a test that asks for lab needs it"]) from error
    fleet, faults = parse([source])
    told = [str(fault) for fault in faults if fault.key != KEY]
    written = read(source).data.get(KEY) or {}
    try:
        scope, settings = _lab(written, set(fleet.guests))
    except (ValueError, TypeError, re.error) as error:
        told.append(f"{path}: {KEY}: {error}")
    if told:
        raise DefinitionError(told)
    return Bench(path, dict(fleet.guests), settings, scope)


def _lab(written: Any, names: set[str]) -> tuple[Scope, dict[str, Settings]]:
    _check(written, {"scope", "guests"}, "scope and guests")
    scope = written.get("scope", "module")
    if scope not in ("module", "session"):
        raise ValueError(f"scope: {scope!r} is neither module nor session")
    guests = written.get("guests") or {}
    _check(guests, names, "the guests' names")
    return scope, {name: _settings(name, guests.get(name) or {}) for name in names}


def _settings(name: str, written: Any) -> Settings:
    try:
        _check(written, set(KINDS), ", ".join(KINDS))
        for key, value in written.items():
            _check_kind(key, value)
        return Settings(**{**written, "ready": _ready(written.get("ready"))})
    except (ValueError, TypeError, re.error) as error:
        raise ValueError(f"guests.{name}: {error}") from error


def _check_kind(key: str, value: object) -> None:
    if not isinstance(value, KINDS[key]) or (isinstance(value, bool) and KINDS[key] is not bool):
        raise TypeError(f"{key}: {value!r} is of the wrong kind")


def _ready(written: str | None) -> str | re.Pattern[str] | None:
    if written is None or written == "shell":
        return None
    return written if written in RUNGS else re.compile(written)


def _check(written: Any, known: set[str], what: str) -> None:
    if not isinstance(written, dict):
        raise TypeError("it is no mapping")
    for key in written:
        if key not in known:
            raise ValueError(f"{key}: there is no such key; it takes {what}")

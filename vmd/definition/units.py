"""Sizes and durations as people write them, and back.

Sizes are binary whatever they are called: ``1k``, ``1K``, ``1KB`` and ``1KiB`` are all 1024 bytes.
"""

from __future__ import annotations

import re
from decimal import Decimal

from ..errors import UsageError
from .fault import quoted

SIZE_PATTERN = r"^ *[0-9]{1,19}(\.[0-9]{1,9})? ?([KkMmGgTtPp]([Ii]?[Bb])?|[Bb]) *$"
"""A size, as a regular expression that Python and JSON Schema read alike."""

DURATION_PATTERN = r"^([0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d))+$"
"""A duration, likewise."""

LARGEST = 1 << 60
"""The largest size that is taken for serious, in bytes (1 EiB)."""

LONGEST = 366 * 86400.0
"""The longest duration that is taken for serious, in seconds."""

_SIZE = re.compile(r" *([0-9.]+) ?([kmgtp]?)i?b? *", re.IGNORECASE)
_PART = re.compile(r"([0-9.]+)(ms|[smhd])")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_SAY_SIZE = "say 512M or 1G"
_SAY_DURATION = "say 90s, 30m or 1h30m"


def parse_size(written: object) -> int:
    """Read a size such as ``512M`` or ``1.5GiB`` as bytes; a fraction is rounded down to a sector of 512.

    :raise UsageError: it is a bare number, not a size, zero, or larger than `LARGEST`.
    """
    if not isinstance(written, str) or not re.fullmatch(SIZE_PATTERN, written):
        raise UsageError(f"{quoted(written)} is not a size{_bare(written)}", _SAY_SIZE)
    number, unit = _SIZE.findall(written)[0]
    exact = Decimal(number) * 1024 ** _POWERS[unit.lower()]
    size = int(exact) if exact == int(exact) else int(exact) // 512 * 512
    if not 0 < size <= LARGEST:
        raise UsageError(f"{written.strip()} is too {'large' if size else 'small'} for a size", _SAY_SIZE)
    return size


def format_size(size: int) -> str:
    """Write so many bytes in the shortest exact way: ``1536M``, ``40G``, ``1000B``."""
    for power in "PTGMK":
        unit: int = 1024 ** _POWERS[power.lower()]
        if size and size % unit == 0:
            return f"{size // unit}{power}"
    return f"{size}B"


def parse_duration(written: object) -> float:
    """Read a duration such as ``30m``, ``1h30m`` or ``500ms`` as seconds.

    :raise UsageError: it is a bare number, not a duration, zero, or longer than `LONGEST`.
    """
    if not isinstance(written, str) or not re.fullmatch(DURATION_PATTERN, written):
        raise UsageError(f"{quoted(written)} is not a duration{_bare(written)}", _SAY_DURATION)
    seconds = float(sum(Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(written)))
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"{written} is too {'long' if seconds else 'short'} a time", _SAY_DURATION)
    return seconds


def format_duration(seconds: float) -> str:
    """Write so many seconds, to the millisecond: ``1h30m``, ``500ms``."""
    rest, words = round(seconds * 1000), ""
    for unit, size in (("d", 86400000), ("h", 3600000), ("m", 60000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        words += f"{count}{unit}" if count else ""
    return words or "0s"


def _bare(written: object) -> str:
    number = isinstance(written, (int, float)) and not isinstance(written, bool)
    bare = number or (isinstance(written, str) and re.fullmatch(r"[0-9.]+", written))
    return ": it has no unit" if bare else ""

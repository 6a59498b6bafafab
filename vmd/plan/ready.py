"""The steps that make what a board starts from: images and flash. They belong to the closed set of :mod:`step`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from .image import ALIGN


@dataclass(frozen=True)
class UnpackImage:
    """Make an image ready for a board: unpacked, and padded to whole sectors. Its source stays as it is."""

    source: str
    path: str
    multiple: int = ALIGN
    """What it is padded to, in bytes."""

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"make {PurePosixPath(self.source).name} ready"


@dataclass(frozen=True)
class MakeFlash:
    """Fill a board's flash of ``size`` bytes with a U-Boot.

    With ``swapped`` its 32-bit words are written in the other byte order, for a little-endian malta of QEMU's.
    """

    uboot: str
    path: str
    size: int
    swapped: bool

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"put {PurePosixPath(self.uboot).name} into its flash"


@dataclass(frozen=True)
class TypeCommands:
    """Type commands at the prompt of a boot loader that was just started, each when the one before is done.

    ``patience`` is how long it may take to come back with its prompt each time, in seconds.
    """

    commands: tuple[str, ...]
    patience: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "tell U-Boot to fetch and boot"

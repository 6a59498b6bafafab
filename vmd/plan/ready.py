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
    """Fill a board's flash with a U-Boot and its environment.

    ``size`` is the flash's, ``offset`` and ``length`` are the environment's, all in bytes. With ``swapped`` the words
    of the boot loader are written in the other byte order, as QEMU's malta wants them.
    """

    uboot: str
    path: str
    size: int
    offset: int
    length: int
    environment: tuple[tuple[str, str], ...]
    swapped: bool

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"put {PurePosixPath(self.uboot).name} into its flash"

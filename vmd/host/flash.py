"""A board's flash with a boot loader in it."""

from __future__ import annotations

import struct
from pathlib import Path

from vmd.errors import VmdError


def flash(loader: bytes, size: int, *, swapped: bool) -> bytes:
    """Lay out a flash of ``size`` bytes with a boot loader at its beginning.

    ``swapped`` turns each of its 32-bit words: QEMU's malta turns them back when it is little-endian (7.2 to 10.0,
    hw/mips/malta.c).

    :raise VmdError: the boot loader has no room in it.
    """
    if not 0 < len(loader) <= size:
        raise VmdError(f"it has {len(loader)} bytes, and a flash of {size} is to hold it", "is it a U-Boot?")
    padded = loader.ljust(-(-len(loader) // 4) * 4, b"\xff")
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    return (struct.pack(f">{len(words)}I", *words) if swapped else padded).ljust(size, b"\xff")


def read(path: Path, size: int, *, swapped: bool) -> bytes:
    """Read a boot loader, and give the content of the flash for it.

    :raise VmdError: it can't be read, or doesn't fit.
    """
    try:
        return flash(path.read_bytes(), size, swapped=swapped)
    except OSError as error:
        raise VmdError(f"{path} can't be read: {error.strerror}", "apt install u-boot-qemu has one") from error
    except VmdError as error:
        raise VmdError(f"{path} can't be put into a flash: {error.message}", error.hint) from error

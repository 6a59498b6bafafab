"""A board's flash with U-Boot in it, and the environment that U-Boot reads there at its start."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vmd.errors import VmdError


class Shape(NamedTuple):
    """A flash: its size, and the environment's place, in bytes; ``swapped`` is what a little-endian malta wants."""

    size: int
    offset: int
    length: int
    swapped: bool


def flash(uboot: bytes, environment: bytes, shape: Shape) -> bytes:
    """Lay out a flash: the boot loader at its beginning, the environment at its offset.

    ``swapped`` turns each 32-bit word of the boot loader: QEMU's malta turns those before the environment back when
    it is little-endian (7.2 to 10.0, hw/mips/malta.c), and leaves the environment as it is.

    :raise VmdError: the boot loader has no room before the environment.
    """
    if len(uboot) > shape.offset:
        raise VmdError(f"it has {len(uboot)} bytes, and {shape.offset} is all the room there is", "is it a U-Boot?")
    padded = uboot.ljust(-(-len(uboot) // 4) * 4, b"\xff")
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    loader = struct.pack(f">{len(words)}I", *words) if shape.swapped else padded
    return (loader.ljust(shape.offset, b"\xff") + environment).ljust(shape.size, b"\xff")


def environment(variables: Iterable[tuple[str, str]], length: int, *, big: bool) -> bytes:
    """Write an environment as U-Boot keeps it: a checksum in its own byte order, then NAME=VALUE, ended by NULs.

    :raise VmdError: it has more than ``length`` bytes, or a variable can't be written.
    """
    text = b""
    for name, value in variables:
        if "\0" in value or "=" in name:
            raise VmdError(f"{name} can't be told to U-Boot: {value!r}")
        text += f"{name}={value}".encode() + b"\0"
    if len(text) + 5 > length:
        raise VmdError(
            f"U-Boot's environment would have {len(text)} bytes, and {length - 5} is all the room there is"
        )
    body = text.ljust(length - 4, b"\0")
    return struct.pack(">I" if big else "<I", zlib.crc32(body)) + body


def make(uboot: Path, variables: Iterable[tuple[str, str]], shape: Shape) -> bytes:
    """Read a U-Boot, and give the content of the flash for it.

    :raise VmdError: it can't be read, or doesn't fit.
    """
    try:
        loader = uboot.read_bytes()
    except OSError as error:
        raise VmdError(f"{uboot} can't be read: {error.strerror}", "apt install u-boot-qemu has one") from error
    try:
        return flash(loader, environment(variables, shape.length, big=not shape.swapped), shape)
    except VmdError as error:
        raise VmdError(f"{uboot} can't be put into a flash: {error.message}", error.hint) from error

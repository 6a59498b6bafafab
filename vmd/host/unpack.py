"""An image made ready for a board: unpacked, padded to whole sectors, and never the one that was given."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmd.errors import VmdError
from vmd.host.image import unpacked

LARGEST: Final = 64 << 30
"""The most that an image may unpack to, in bytes: what is larger was made to fill a disk."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file once it is unpacked: its ``size`` in bytes, and a ``digest`` that no other content has."""

    size: int
    digest: str


def measure(path: Path) -> Content:
    """Read a file to its end; 1 s for 250 MB unpacked.

    :raise VmdError: it can't be read, or is damaged.
    """
    total, digest = 0, hashlib.sha256()
    try:
        for piece in unpacked(path, LARGEST):
            total += len(piece)
            digest.update(piece)
    except OSError as error:
        raise VmdError(f"{path} can't be read: {error.strerror}") from error
    return Content(total, digest.hexdigest())


def unpack(source: Path, target: Path, multiple: int) -> int:
    """Make ``target`` of what is in ``source``, with zero bytes up to a ``multiple``; return its size in bytes.

    Whole or not at all: it gets its name when it is complete. Blocks of zeroes take no room.

    :raise VmdError: the source can't be read or is damaged, or the target can't be written.
    """
    making = target.with_name(target.name + ".tmp")
    try:
        with making.open("wb") as file:
            for piece in unpacked(source, LARGEST):
                if piece.strip(b"\0"):
                    file.write(piece)
                else:
                    file.seek(len(piece), os.SEEK_CUR)
            size = -(-file.tell() // multiple) * multiple
            file.truncate(size)
        making.rename(target)
    except OSError as error:
        raise VmdError(f"{source} can't be unpacked to {target}: {error.strerror}", "is the disk full?") from error
    finally:
        making.unlink(missing_ok=True)
    return size

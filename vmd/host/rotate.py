"""Keep a log that another process appends to from filling the disk: copy it aside, and cut it to nothing.

QEMU opens its logs with O_APPEND and keeps them open, so it goes on at the new end; a log renamed under it would grow
on under its new name.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vmd.host.files import open_regular


def rotate(path: Path, bound: int) -> bool:
    """Where ``path`` has more than ``bound`` bytes, keep its last ``bound`` as ``path.1`` and empty it; say whether.

    What is appended while it is copied is kept as well; what is appended in the moment after that is lost. Where
    the copy can't be kept the log is emptied all the same: the bound holds.

    :raise VmdError: it is a link, or no regular file.
    """
    try:
        if path.lstat().st_size <= bound:
            return False
        fd = open_regular(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        with suppress(OSError):
            _copy_aside(fd, path.with_name(f"{path.name}.1"), bound)
    finally:
        os.ftruncate(fd, 0)
        os.close(fd)
    return True


def _copy_aside(fd: int, previous: Path, bound: int) -> None:
    found = os.fstat(fd)
    previous.unlink(missing_ok=True)
    copy = os.open(previous, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchown(copy, found.st_uid, found.st_gid)
        at, most = max(0, found.st_size - bound), found.st_size + bound
        while at < most and (sent := os.sendfile(copy, fd, at, bound)):  # with what comes while we copy
            at += sent
    except OSError:
        previous.unlink(missing_ok=True)  # no room for it: a part of it would only take more
        raise
    finally:
        os.close(copy)

"""The directory behind a guest's FAT drive, and a real FAT image where QEMU can't make one of it.

QEMU's vvfat turns a directory into a floppy of 2.88 MB, and mtools makes the same: what one of them could not hold
is refused for both, so that a guest can't tell which it got.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host.credentials import Credentials
from vmd.host.run import run

SIZE = 2880 * 1024
"""Bytes of the drive: the largest floppy, vvfat's with ``floppy=on``."""

CLUSTER, CLUSTERS = 1024, 2849
"""Bytes of a cluster, and how many files may fill: QEMU 7.2's vvfat has 2849, mformat 4.0 has 2863."""

SLOTS = 240
"""Directory entries in the root: mformat's 240 (vvfat has 512); the label and every 13 letters of a name take one."""

LABEL = re.compile(r"[A-Za-z0-9_-]{1,11}")
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9 ._+,=@~-]{0,254}(?<![. ])")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that DOS has for devices: mtools writes them as others."""

ENVIRONMENT = {"MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
"""For mtools: the operator's own settings play no part."""


def check_directory(path: Path, user: Credentials | None = None) -> tuple[Path, ...]:
    """Check that a directory can become a FAT drive, and return its files, sorted by name.

    vvfat follows symlinks, so a link could show a guest any file of the host; and it gives NUL bytes for what it
    can't read. ``user`` is as whom QEMU will read it, if not as us. The directory must be 0700 and ours, or that
    user's: nobody else may slip in a link after this look.

    :raise Refused: something in it is not a plain, readable file with a name and size FAT can hold; names it.
    :raise VmdError: it is not there, or not readable to us.
    """
    try:
        state = path.lstat()
        if not stat.S_ISDIR(state.st_mode):
            raise Refused(f"{path} is not a directory")
        _check_private(path, state, user)
        with os.scandir(path) as entries:
            files = sorted((_checked(entry, user) for entry in entries), key=lambda each: each[0].name)
    except OSError as error:
        raise VmdError(f"{path} cannot be read: {error.strerror}") from error
    _check_room(path, files)
    _check_twins(each for each, _ in files)
    return tuple(each for each, _ in files)


async def make(image: Path, directory: Path, label: str, user: Credentials | None = None) -> None:
    """Write a FAT12 floppy image of 2.88 MB with the files of a directory; only its owner can read it.

    An image that is there already is replaced, in one step. ``user`` may own the directory, if not we.

    :raise Refused: the directory can't become a FAT drive, or the label is none.
    :raise CommandFailed: mtools failed, or is not installed.
    """
    check_label(label)
    files = check_directory(directory, user)
    made = image.absolute().with_name(image.name + ".tmp")
    if "@@" in str(made):
        raise Refused(f"mtools takes what follows @@ for a number: {made}", "choose another directory")
    try:
        made.unlink(missing_ok=True)
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        os.truncate(made, SIZE)
        await _mtools("mformat", "-i", str(made), "-f", "2880", "-v", label, "::")
        if files:
            await _mtools("mcopy", "-m", "-i", str(made), "--", *(str(each.absolute()) for each in files), "::")
        made.replace(image)
    except OSError as error:
        raise VmdError(f"{image} cannot be made: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)


def check_label(label: str) -> None:
    """Check a FAT label: at most 11 letters, digits, ``-`` and ``_``.

    :raise Refused: it is none.
    """
    if not LABEL.fullmatch(label):
        raise Refused(f"{label!r} can't be a FAT label", "use at most 11 letters, digits, - and _")


def _check_private(path: Path, state: os.stat_result, user: Credentials | None) -> None:
    owners = {os.geteuid()} | ({user.uid} if user else set())
    if state.st_uid not in owners:
        raise Refused(f"{path} belongs to user {state.st_uid}, who could put anything into it")
    if state.st_mode & 0o077:
        raise Refused(f"{path} is open to others (mode {state.st_mode & 0o777:o})", f"chmod 700 {path}")


def _checked(entry: os.DirEntry[str], user: Credentials | None) -> tuple[Path, int]:
    """Check one file, and return it with its size in bytes."""
    state = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        raise Refused(f"{entry.path} is a symbolic link", "a guest would read where it leads: copy the file")
    if not stat.S_ISREG(state.st_mode):
        raise Refused(f"{entry.path} is not a plain file")
    if not NAME.fullmatch(entry.name) or RESERVED.fullmatch(entry.name):
        hint = "use plain letters, digits, dots and dashes"
        raise Refused(f"{entry.path} has a name that FAT can't hold: {entry.name!r}", hint)
    if not _readable(entry.path, state, user):
        raise Refused(f"{entry.path} can't be read by the user that runs QEMU", "the guest would get NUL bytes")
    return Path(entry.path), state.st_size


def _readable(path: str, state: os.stat_result, user: Credentials | None) -> bool:
    if user is None:
        return os.access(path, os.R_OK)
    if user.uid == state.st_uid:
        return bool(state.st_mode & stat.S_IRUSR)
    if state.st_gid in (user.gid, *user.groups):
        return bool(state.st_mode & stat.S_IRGRP)
    return user.uid == 0 or bool(state.st_mode & stat.S_IROTH)


def _check_room(directory: Path, files: list[tuple[Path, int]]) -> None:
    """Count clusters and directory entries, and name the largest file where they are too few."""
    if sum(_clusters(size) for _, size in files) > CLUSTERS:
        largest, size = max(files, key=lambda each: each[1])
        total = sum(each for _, each in files)
        raise Refused(
            f"{directory} has {total} bytes, and the largest file, {largest.name}, {size} of them",
            f"a FAT drive holds {CLUSTERS * CLUSTER}",
        )
    if 1 + sum(1 + -(-len(each.name) // 13) for each, _ in files) > SLOTS:
        raise Refused(f"{directory} has too many files for a FAT drive: {len(files)}", "use fewer, shorter names")


def _clusters(size: int) -> int:
    return -(-size // CLUSTER)


def _check_twins(files: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for each in files:
        if twin := seen.get(each.name.lower()):
            raise Refused(f"{each} and {twin.name} are one name to FAT", "rename one of them")
        seen[each.name.lower()] = each


async def _mtools(*argv: str) -> None:
    try:
        await run(argv, timeout=60, env=ENVIRONMENT)
    except CommandFailed as error:
        hint = "install it: apt install mtools" if error.status == 127 else ""
        raise CommandFailed(error.argv, error.status, error.output, hint) from error

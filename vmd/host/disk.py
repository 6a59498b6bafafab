"""Disk images, by qemu-img; what a header says plainly is read without it.

Paths are made absolute before qemu-img sees them: it takes what stands before a first colon for a protocol
(``json:``, ``nbd:``), but never behind a slash. Formats are always named, for a guest can write any header it
likes into its own raw disk, and one that is guessed to be qcow2 may name any file of the host as its backing file.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host.holder import holder
from vmd.host.image_header import read_header
from vmd.host.run import run

QUICK, SLOW = 30.0, 3600.0
"""Seconds: for what reads or writes headers, and for what may touch all of an image."""

Preallocation = Literal["off", "metadata", "falloc", "full"]

MAGIC = {
    b"KDMV": "a VMDK image",
    b"vhdxfile": "a VHDX image",
    b"conectix": "a VHD image",
    b"<<< ": "a VDI image",
    b"QED\0": "a QED image",
    b"LUKS\xba\xbe": "an encrypted (LUKS) image",
    b"\x1f\x8b": "compressed with gzip",
    b"\xfd7zXZ\0": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"PK\x03\x04": "a zip archive",
}


class ImageInfo(NamedTuple):
    """What an image's header says; sizes in bytes, and "" for what it does not name.

    ``backing_file`` is absolute where qemu-img could work that out. ``data_file`` is where a qcow2 keeps its data
    outside of itself: like a backing file, a way to any file of the host.
    """

    path: Path
    format: str
    virtual_size: int
    actual_size: int
    backing_file: str
    backing_format: str
    data_file: str
    dirty: bool
    corrupt: bool


class CheckResult(NamedTuple):
    """What ``qemu-img check`` counted: damage, space lost to nobody, and clusters that could not be checked."""

    corruptions: int
    leaks: int
    errors: int

    @property
    def sound(self) -> bool:
        """Whether the guest's data is whole; leaks only cost space."""
        return not (self.corruptions or self.errors)


async def create(  # noqa: PLR0913 - what an image is made of
    path: Path,
    size_bytes: int | None = None,
    *,
    format: str = "qcow2",  # noqa: A002 - the field's word
    backing: Path | None = None,
    backing_format: str | None = None,
    preallocation: Preallocation = "off",
) -> None:
    """Make an image that only its owner can read; without a size, of its backing file's.

    qcow2 has QEMU's defaults (64 KiB clusters, no extended L2, no lazy refcounts): none was measured better.

    :raise Refused: something is at ``path`` already, or the image would cut off the end of its backing file.
    :raise CommandFailed: qemu-img failed; nothing is left at ``path``.
    """
    arguments = ["-q", "-f", format, "-o", f"preallocation={preallocation}"]
    if backing is not None:
        arguments += ["-b", plain(backing), "-F", await _backing(path, size_bytes, backing, backing_format)]
    arguments += ["--", plain(path), *([str(size_bytes)] if size_bytes is not None else [])]
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise Refused(f"{path} exists already, and would be overwritten") from None
    except OSError as error:
        raise VmdError(f"{path} cannot be made: {error.strerror}") from error
    try:
        await qemu_img(path, "create", *arguments, limit=QUICK if preallocation == "off" else SLOW)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _backing(path: Path, size_bytes: int | None, backing: Path, backing_format: str | None) -> str:
    """Check what is asked of a linked clone, and return the backing file's format."""
    if backing_format is None:
        raise VmdError(f"{path}: the format of its backing file {backing} is not said", "say qcow2 or raw")
    below = await info(backing, backing_format)
    if size_bytes is not None and size_bytes < below.virtual_size:
        raise Refused(
            f"{path}: {size_bytes} bytes would cut off the end of its backing file {backing}, "
            f"which has {below.virtual_size}",
            f"make it at least {below.virtual_size} bytes",
        )
    return backing_format


async def info(path: Path, format: str) -> ImageInfo:  # noqa: A002 - the field's word
    """Read an image's header, also while a guest runs on it; its backing file is not opened.

    :raise CommandFailed: it is not there, not readable, or not of that format.
    """
    if (plainly := read_header(path, format)) is not None:
        return ImageInfo(path, format, *plainly, "", dirty=False, corrupt=False)
    told = await header(path, format)
    special = told.get("format-specific", {}).get("data", {})
    return ImageInfo(
        path=path,
        format=told["format"],
        virtual_size=told["virtual-size"],
        actual_size=told.get("actual-size", 0),
        backing_file=told.get("full-backing-filename", told.get("backing-filename", "")),
        backing_format=told.get("backing-filename-format", ""),
        data_file=special.get("data-file", ""),
        dirty=told.get("dirty-flag", False),
        corrupt=special.get("corrupt", False),
    )


async def header(path: Path, format: str) -> dict[str, Any]:  # noqa: A002 - the field's word
    """Read all that an image's header says, in qemu-img's own words; else as :func:`info`."""
    out = await qemu_img(path, "info", "-U", "-f", format, "--output=json", "--", plain(path))
    told: dict[str, Any] = json.loads(out)
    return told


async def chain(path: Path, format: str) -> tuple[ImageInfo, ...]:  # noqa: A002 - the field's word
    """Follow an image down to its last backing file, the top one first.

    :raise Refused: a file in it names a backing file without its format, one that is not a file of this host, or
        one that is already in the chain.
    :raise VmdError: a file of it is gone.
    """
    found = [await info(path, format)]
    while name := found[-1].backing_file:
        top = found[-1].path
        if not found[-1].backing_format:
            hint = f"say which: qemu-img rebase -u -b {name} -F qcow2 {top}"
            raise Refused(f"{top} names a backing file, {name}, but not its format", hint)
        if not name.startswith("/"):
            raise Refused(f"{top} has a backing file that is no file of this host: {name}")
        if not Path(name).exists():
            raise VmdError(f"{top} stands on {name}, which is gone", "put it back: without it the disk is of no use")
        if any(_same(Path(name), image.path) for image in found):
            raise Refused(f"{top} is its own backing file, by way of {name}")
        found.append(await info(Path(name), found[-1].backing_format))
    return tuple(found)


async def check(path: Path, format: str = "qcow2") -> CheckResult:  # noqa: A002 - the field's word
    """Count an image's faults; it must not be in use. A raw image can have none.

    :raise CommandFailed: it is in use, or could not be checked at all.
    """
    if format == "raw":
        return CheckResult(0, 0, 0)
    # qemu-img(1): 2 is "corrupt", 3 is "leaks"; both with the whole answer.
    arguments = ("check", "-f", format, "--output=json", "--", plain(path))
    told = json.loads(await qemu_img(path, *arguments, limit=SLOW, accept=(0, 2, 3)))
    return CheckResult(told.get("corruptions", 0), told.get("leaks", 0), told["check-errors"])


async def resize(path: Path, size_bytes: int, format: str = "qcow2") -> bool:  # noqa: A002 - the field's word
    """Let an image that is not in use grow; false where it has that size already.

    :raise Refused: it would shrink, which cuts off the end of what the guest wrote.
    :raise CommandFailed: qemu-img failed, or it is in use.
    """
    now = (await info(path, format)).virtual_size
    if size_bytes < now:
        raise Refused(f"{path} has {now} bytes and will not shrink to {size_bytes}", "a disk only ever grows")
    if size_bytes == now:
        return False
    await qemu_img(path, "resize", "-q", "-f", format, "--", plain(path), str(size_bytes))
    return True


def detect_format(path: Path) -> Literal["qcow2", "raw"]:
    """Tell a base image's format by its first bytes, where the operator named a file and no format.

    For nothing else. A guest writes its raw disk from byte 0: were its format looked for there, it could turn
    itself into a qcow2 whose backing file is any file of the host, and read that at its next start.

    :raise Refused: it is clearly something else.
    :raise VmdError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise VmdError(f"{path} cannot be read: {error.strerror}") from error
    if start.startswith(b"QFI\xfb"):
        return "qcow2"
    for magic, what in MAGIC.items():
        if start.startswith(magic):
            hint = "unpack it first" if "compress" in what or "zip" in what else "qemu-img convert -O qcow2"
            raise Refused(f"{path} is {what}, where a qcow2 or raw image is needed", hint)
    return "raw"


async def flush(path: Path) -> None:
    """See a file and its name onto the disk, before a rename that says it is whole.

    :raise VmdError: the disk did not take it.
    """
    try:
        for each in (path, path.parent):
            await asyncio.to_thread(_fsync, each)
    except OSError as error:
        raise VmdError(f"{path} could not be written to its disk: {error.strerror}") from error


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def plain(path: Path) -> str:
    """The path as qemu-img takes no part of it for anything else."""
    return str(path.absolute())


async def qemu_img(path: Path, *arguments: str, limit: float = QUICK, accept: tuple[int, ...] = (0,)) -> str:
    """Run qemu-img, and say of a failure with the image at ``path`` what to do about it; ``limit`` is in seconds.

    :raise CommandFailed: it failed.
    """
    try:
        return await run(("qemu-img", *arguments), timeout=limit, accept=accept)
    except CommandFailed as error:
        raise CommandFailed(error.argv, error.status, error.output, _remedy(path, error)) from error


def _remedy(path: Path, error: CommandFailed) -> str:
    if error.status == 127:
        return "install it: apt install qemu-utils"
    if "No space left" in error.output:
        free = shutil.disk_usage(path.absolute().parent).free
        return f"the disk of {path.parent} is full ({free} bytes free): make room and try again"
    if "lock" in error.output and (other := holder(path)):
        return f"{path} is held by process {other.pid} ({other.command}): stop it first"
    return ""

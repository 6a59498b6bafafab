"""A directory of backups: files of one guest's disk, each above the one it adds to, and a manifest that tells them.

The files are ordinary qcow2 images with relative backing files, so the directory can be moved, and read without vmd.
Nothing in it is ever overwritten but the manifest, and that atomically.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host import disk
from vmd.host.files import open_regular, read_record, write_record

FORM = 1
"""The manifest's form; a later vmd that changes it counts on."""


@dataclass(frozen=True)
class Part:
    """One backup. ``seconds`` since the epoch, sizes in bytes; ``backing`` names the file it adds to, "" for none.

    ``number`` counts from 1; ``at_rest`` says whether the guest's file systems were, or no guest ran.
    """

    number: int
    file: str
    seconds: float
    bytes: int
    size: int
    sha256: str
    backing: str
    at_rest: bool


@dataclass(frozen=True)
class Archive:
    """All backups of one guest in one directory; ``chain`` is what its dirty bitmaps are named by."""

    directory: Path
    guest: str
    chain: str
    parts: tuple[Part, ...] = ()

    @property
    def manifest(self) -> Path:
        """The file that tells of them."""
        return self.directory / f"{self.guest}.backup.json"

    @property
    def next_number(self) -> int:
        """What the next backup is called."""
        return max((part.number for part in self.parts), default=0) + 1

    def path(self, number: int) -> Path:
        """Where the backup of that number is, or will be."""
        return self.directory / f"{self.guest}.{number:04}.qcow2"

    def mark(self, number: int) -> str:
        """The dirty bitmap that remembers what changed since that backup."""
        return f"vmd-backup-{self.chain}-{number}"

    def upto(self, number: int | None) -> tuple[Part, ...]:
        """A backup (the last one if None) and all that it needs, itself first.

        :raise VmdError: there is no such backup, or one that it needs is not told of.
        """
        known = {part.file: part for part in self.parts}
        wanted = self.parts[-1:] if number is None else [part for part in self.parts if part.number == number]
        if not wanted:
            has = ", ".join(str(part.number) for part in self.parts) or "none"
            raise VmdError(f"{self.manifest} tells of no backup {number or ''}".rstrip(), f"it has {has}")
        needed = [wanted[0]]
        while below := needed[-1].backing:
            if below not in known or known[below].number >= needed[-1].number:
                raise VmdError(f"{self.manifest}: {needed[-1].file} needs {below}, of which nothing is told")
            needed.append(known[below])
        return tuple(needed)


def read(directory: Path, guest: str) -> Archive | None:
    """Read the manifest of a guest's backups in a directory; None where there is none.

    :raise VmdError: the directory is not there, or the manifest is no manifest.
    """
    if not directory.is_dir():
        raise VmdError(f"{directory} is no directory that is there", "make it first: vmd makes files in it, not it")
    bare = Archive(directory, guest, "")
    try:
        found = read_record(bare.manifest)
        return replace(bare, chain=str(found["chain"]), parts=_parts(bare, found)) if found else None
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise VmdError(f"{bare.manifest} is no manifest of backups: {error!r}") from error


def _parts(archive: Archive, found: dict[str, Any]) -> tuple[Part, ...]:
    if found["form"] != FORM or found["guest"] != archive.guest:
        raise ValueError(f"form {found['form']!r}, of guest {found['guest']!r}")
    parts = tuple(Part(**part) for part in found["parts"])
    for part in parts:
        if part.file != archive.path(part.number).name or "/" in part.backing:  # never out of the directory
            raise ValueError(f"{part.file!r} is not what backup {part.number!r} is called")
    return parts


async def add(archive: Archive, made: Path, part: Part) -> Archive:
    """Take a finished copy in: name what it adds to, flush it, give it its name, and tell of it last.

    :raise Refused: a file of that name is there.
    """
    if part.backing:
        # metadata alone: nothing that is relative to another place is opened (qemu-img rebase -u)
        rebase = ("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", part.backing, "--", disk.plain(made))
        await disk.qemu_img(made, *rebase)
    part = replace(part, sha256=await sha256(made), bytes=made.stat().st_size)
    path = archive.directory / part.file
    await disk.flush(made)
    _name(made, path)
    await disk.flush(path)
    grown = replace(archive, parts=(*archive.parts, part))
    record = {"form": FORM, "guest": grown.guest, "chain": grown.chain, "parts": [asdict(p) for p in grown.parts]}
    write_record(grown.manifest, record)
    return grown


def _name(made: Path, path: Path) -> None:
    """Give a file its name. A link never replaces what is there, as a rename does; but FAT has none."""
    with suppress(OSError):
        os.link(made, path)
        made.unlink()
        return
    if path.exists():
        raise Refused(f"{path} exists already, and would be overwritten")
    made.rename(path)


async def verify(archive: Archive, parts: tuple[Part, ...]) -> None:
    """See that these backups are what they were when they were made, and that they stand on each other alone.

    :raise VmdError: one is not; the message names the file.
    """
    for part in parts:
        path = archive.directory / part.file
        if not path.exists():
            raise VmdError(f"{path} is gone", "without it no later backup that adds to it can be used")
        if await sha256(path) != part.sha256:
            raise VmdError(f"{path} is not what it was: its checksum differs", "use another backup")
        await _verify_header(path, part)
    for part in parts:  # only now is any backing file opened
        await _verify_image(archive.directory / part.file)


async def _verify_header(path: Path, part: Part) -> None:
    told = await disk.header(path, "qcow2")
    below = told.get("backing-filename", "")
    if below != part.backing or (below and told.get("backing-filename-format") != "qcow2"):
        raise VmdError(f"{path} adds to {below or 'nothing'}, and was made to add to {part.backing or 'nothing'}")
    if (await disk.info(path, "qcow2")).data_file:
        raise VmdError(f"{path} keeps its data in another file")


async def _verify_image(path: Path) -> None:
    try:
        found = await disk.check(path)
    except CommandFailed as error:
        raise VmdError(f"{path} can't be checked: {error.output.strip()}", error.hint) from error
    if not found.sound:
        raise VmdError(f"{path} is damaged: {found.corruptions} faults", "use another backup")


async def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, read beside everything else that goes on."""
    return await asyncio.to_thread(_sha256, path)


def _sha256(path: Path) -> str:
    with open(open_regular(path, os.O_RDONLY), "rb") as file:  # noqa: PTH123 - a descriptor
        return hashlib.file_digest(file, "sha256").hexdigest()

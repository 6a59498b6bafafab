"""What is done to a guest's disk by itself, as steps: snapshots, backups, copies, and the way back from each.

As with the steps that lead a guest up, one says what should be true after it. What can't be done is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ..errors import Refused, UsageError
from .step import AcceptDisk, MakeDisk

TAG = re.compile(r"(?=.*[^0-9])[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a snapshot may be called: qcow2 also numbers its snapshots, so a number alone could mean another one."""


@dataclass(frozen=True, slots=True)
class DiskState:
    """A guest's disk: where it is, whether its guest runs on it, and its snapshots with the memory each holds."""

    guest: str
    path: str
    format: str
    live: bool
    snapshots: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TakeSnapshot:
    """Take a snapshot of the disk; of its memory too where the guest runs (``live``)."""

    path: str
    tag: str
    live: bool

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"take snapshot {self.tag}{', with its memory' if self.live else ''}"


@dataclass(frozen=True)
class RestoreSnapshot:
    """Put the disk back to a snapshot, and the memory too where the guest runs (``live``)."""

    path: str
    tag: str
    live: bool

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"go back to snapshot {self.tag}{', with its memory' if self.live else ''}"


@dataclass(frozen=True)
class DeleteSnapshot:
    """Remove a snapshot."""

    path: str
    tag: str
    live: bool

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"delete snapshot {self.tag}"


@dataclass(frozen=True)
class BackUp:
    """Copy the disk, as it is at one moment, into a directory; only what changed since the last time if it can."""

    path: str
    format: str
    directory: str
    live: bool
    full: bool = False

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"back up {PurePosixPath(self.path).name} to {self.directory}"


@dataclass(frozen=True)
class VerifyBackup:
    """See that a backup, and all that it needs, is what it was; ``number`` None is the last one."""

    directory: str
    number: int | None = None

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"verify backup {self.number or ''}".rstrip() + f" in {self.directory}"


@dataclass(frozen=True)
class CopyDisk:
    """Copy a whole image, and all that its backing files hold, into a new one."""

    source: str
    source_format: str
    path: str
    format: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"copy {self.source}"


@dataclass(frozen=True)
class ReplaceDisk:
    """Put another disk in the place of a guest's; the old one goes to the trash."""

    made: str
    path: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"replace {PurePosixPath(self.path).name}; the old one goes to the trash"


@dataclass(frozen=True)
class ShareDisk:
    """Make what a disk holds a base that is never written again; the disk goes on as a linked clone of it."""

    path: str
    base: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"share {PurePosixPath(self.path).name} as {PurePosixPath(self.base).name}"


Upkeep = (
    TakeSnapshot
    | RestoreSnapshot
    | DeleteSnapshot
    | BackUp
    | VerifyBackup
    | CopyDisk
    | ReplaceDisk
    | ShareDisk
    | MakeDisk
    | AcceptDisk
)
"""What is done to a disk by itself."""


def take(disk: DiskState, tag: str) -> tuple[Upkeep, ...]:
    """The steps to a new snapshot.

    :raise Refused: there is one of that tag, or the disk can hold none.
    """
    _check_format(disk)
    check_tag(tag)
    if tag in disk.snapshots:
        raise Refused(
            f"{disk.guest} has a snapshot {tag} already",
            f"choose another tag, or vmctl snapshot {disk.guest} {tag} --delete",
        )
    return (TakeSnapshot(disk.path, tag, disk.live),)


def delete(disk: DiskState, tag: str) -> tuple[Upkeep, ...]:
    """The steps to a disk without this snapshot.

    :raise Refused: there is none of that tag.
    """
    _check_there(disk, tag)
    return (DeleteSnapshot(disk.path, tag, disk.live),)


def restore(disk: DiskState, tag: str) -> tuple[Upkeep, ...]:
    """The steps back to a snapshot.

    :raise Refused: there is none of that tag, or the guest runs and its memory is not in it.
    """
    _check_there(disk, tag)
    if disk.live and not disk.snapshots[tag]:
        raise Refused(
            f"{disk.guest} runs, and snapshot {tag} holds its disk alone: its memory would not fit",
            f"vmctl down {disk.guest}, then restore it",
        )
    return (RestoreSnapshot(disk.path, tag, disk.live),)


def restore_backup(disk: DiskState, directory: str, number: int | None, source: str, made: str) -> tuple[Upkeep, ...]:
    """The steps back to a backup; ``source`` is its file, ``made`` what the disk is called until it is whole.

    :raise Refused: the guest runs.
    """
    if disk.live:
        raise Refused(f"{disk.guest} runs on its disk", f"vmctl down {disk.guest}, then restore it")
    copied = CopyDisk(source, "qcow2", made, disk.format)
    return (VerifyBackup(directory, number), copied, ReplaceDisk(made, disk.path))


def clone(source: DiskState, path: str, made: str, form: str) -> tuple[Upkeep, ...]:
    """The steps to a copy of a disk at ``path``, in the format ``form``; ``made`` as for `restore_backup`.

    :raise Refused: the guest whose disk it is runs.
    """
    _check_down(source)
    return (CopyDisk(source.path, source.format, made, form), AcceptDisk(made, path))


def linked_clone(source: DiskState, size: int, path: str, made: str, base: str) -> tuple[Upkeep, ...]:
    """The steps to a clone that holds only what differs; both then stand on ``base``. ``size`` is in bytes.

    :raise Refused: the guest whose disk it is runs, or its disk has what a base would hide.
    """
    _check_down(source)
    _check_format(source)
    if source.snapshots:
        raise Refused(
            f"{source.guest} has snapshots ({', '.join(source.snapshots)}), which it could not go back to any more",
            "delete them, or clone without --linked",
        )
    return (
        ShareDisk(source.path, base),
        MakeDisk(made, size, "qcow2", base, "qcow2"),
        AcceptDisk(made, path),
    )


def check_tag(tag: str) -> None:
    """See that a tag is one.

    :raise UsageError: it isn't.
    """
    if not TAG.fullmatch(tag):
        raise UsageError(
            f"{tag!r} is no tag for a snapshot",
            "a tag has letters, digits, '.', '_' and '-', begins with a letter or digit, and is no number",
        )


def _check_format(disk: DiskState) -> None:
    if disk.format != "qcow2":
        raise Refused(
            f"{disk.guest}: a disk of format {disk.format} can hold no snapshot",
            f"vmctl backup {disk.guest} DIR copies it, whether it runs or not",
        )


def _check_there(disk: DiskState, tag: str) -> None:
    _check_format(disk)
    check_tag(tag)
    if tag not in disk.snapshots:
        raise Refused(f"{disk.guest} has no snapshot {tag}", f"it has {', '.join(disk.snapshots) or 'none'}")


def _check_down(disk: DiskState) -> None:
    if disk.live:
        raise Refused(f"{disk.guest} runs on its disk, which must stand still", f"vmctl down {disk.guest} first")

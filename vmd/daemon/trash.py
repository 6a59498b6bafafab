"""The trash: what a guest had, whole, with a record of who put it there; nothing leaves it by itself.

An entry is a directory: a guest's own, or one made for a disk that another took the place of. What vmd did not make,
such as a disk at a path of its own, stays where it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..definition.layout import GuestLayout
from ..errors import Refused, VmdError
from ..host import files
from . import ownership
from .events import cause
from .home import Home

RECORD = "trash.json"
DISK = "disk"
"""What a disk is called in an entry of its own."""


@dataclass(frozen=True)
class Entry:
    """One thing in the trash. ``seconds`` since the epoch, ``bytes`` on the disk; ``what`` a ``guest`` or a ``disk``.

    ``path`` is where the disk was that this is, ``left`` a disk that was left where it is; ``error`` says what is
    wrong with its record.
    """

    name: str
    guest: str
    seconds: float
    bytes: int
    by: str | None
    what: Literal["guest", "disk"]
    path: str | None = None
    left: str | None = None
    error: str | None = None


def entries(home: Home) -> list[Entry]:
    """All that is in the trash, the oldest first; one with a bad record is told of as well."""
    trash = Path(home.layout.trash)
    found = [_entry(path) for path in trash.iterdir() if path.is_dir()] if trash.is_dir() else []
    return sorted(found, key=lambda entry: (entry.seconds, entry.name))


def _entry(path: Path) -> Entry:
    try:
        record = files.read_record(path / RECORD) or {}
        what: Literal["guest", "disk"] = "disk" if record.get("what") == "disk" else "guest"
        return Entry(
            name=path.name,
            guest=str(record["guest"]),
            seconds=float(record["seconds"]),
            bytes=int(record["bytes"]),
            by=record.get("by"),
            what=what,
            path=record.get("path"),
            left=record.get("left"),
        )
    except (VmdError, OSError, KeyError, TypeError, ValueError) as error:
        fault = f"its record can't be used: {error}"
        return Entry(path.name, path.name.rpartition("-")[0], path.stat().st_mtime, 0, None, "guest", error=fault)


def listed(home: Home) -> list[dict[str, Any]]:
    """All that is in the trash, in the words of the API."""
    every = [asdict(entry) for entry in entries(home)]
    return [{"time": each.pop("seconds"), **each} for each in every]


def discard(home: Home, places: GuestLayout, name: str, left: str | None) -> None:
    """Put all that a guest has into the trash; ``left`` is a disk of its own that stays where it is.

    :raise Refused: another guest's disk stands on something of it, or its directory isn't ours.
    """
    directory = Path(places.dir)
    if directory.exists():
        ownership.check(places, home.facts.fleet_id, name)
        if others := dependents(home, directory, name):
            raise Refused(
                f"{name} can't be removed: the disks of {', '.join(others)} stand on files in {places.dir}",
                "remove those first, or give them disks of their own: vmctl clone",
            )
        target = _room(home, name)
        size = _size(directory)
        _write(directory, Entry(target.name, name, time.time(), size, asker(home), "guest", left=left))
        directory.rename(target)
    files.remove_tree(Path(places.runtime))


def discard_disk(home: Home, name: str, disk: Path) -> Path:
    """Put a guest's disk into the trash as well, before another takes its place; returns where it is now.

    It keeps its old name too: who replaces it does so by a rename, so that there is a disk at every moment.
    """
    target = _room(home, name)
    files.make_directory(target, 0o700)
    entry = Entry(target.name, name, time.time(), _size(disk), asker(home), "disk", path=str(disk))
    _write(target, entry)
    try:
        os.link(disk, target / DISK)
    except OSError:  # on another file system: beside where it was
        files.remove_tree(target)
        beside = disk.with_name(f"{disk.name}.{target.name}")
        os.link(disk, beside)
        return beside
    return target / DISK


def restore(home: Home, name: str) -> Entry:
    """Put a guest's directory back: the youngest of that guest's, or the entry of that very name.

    :raise VmdError: there is none, or the guest has a directory.
    """
    entry = find(home, name)
    places = home.layout.guest(entry.guest)
    if entry.what == "disk" or entry.error:
        where = Path(home.layout.trash) / entry.name
        why = entry.error or f"it is a disk, and {entry.guest} has another one"
        raise Refused(f"{entry.name} can't be put back by itself: {why}", f"it is in {where}")
    with suppress(OSError):
        Path(places.dir).rmdir()  # an empty one is in nobody's way
    if Path(places.dir).exists():
        raise Refused(f"{entry.guest} has a directory again: {places.dir}", f"vmctl rm {entry.guest} first")
    files.make_directory(Path(home.layout.guests), 0o711)
    (Path(home.layout.trash) / entry.name).rename(places.dir)
    (Path(places.dir) / RECORD).unlink(missing_ok=True)
    return entry


def find(home: Home, name: str) -> Entry:
    """The youngest entry of a guest, or the entry of that very name.

    :raise VmdError: there is none.
    """
    every = entries(home)
    found = [each for each in every if each.name == name or (each.guest == name and each.what == "guest")]
    if not found:
        raise VmdError(
            f"there is no {name} in the trash", f"it holds {', '.join(e.name for e in every) or 'nothing'}"
        )
    return found[-1]


def empty(home: Home, older: float) -> list[Entry]:
    """Remove for good what is in the trash longer than so many seconds, and bases that nothing stands on any more.

    :raise OSError: something can't be removed.
    """
    gone, limit = [], time.time() - older
    for entry in entries(home):
        if entry.seconds <= limit:
            path = Path(home.layout.trash) / entry.name
            if others := dependents(home, path, ""):
                raise Refused(f"{path} can't be removed: the disks of {', '.join(others)} stand on files in it")
            files.remove_tree(path)
            gone.append(entry)
    _remove_unused_bases(home)
    return gone


def _remove_unused_bases(home: Home) -> None:
    """A base goes when no disk, in the trash or out of it, stands on it; where one can't be told, none goes."""
    bases = Path(home.layout.bases)
    try:
        used = {base for directory in _directories(home) for base in _bases(directory)}
    except (VmdError, OSError):
        return
    for base in bases.glob("*") if bases.is_dir() else ():
        if str(base) not in used:
            base.unlink()


def dependents(home: Home, directory: Path, but: str) -> list[str]:
    """The guests whose disks stand on a file in a directory, except one of that name."""
    found = []
    for other in Path(home.layout.guests).glob("*"):
        with suppress(VmdError, OSError):
            if other.name != but and any(Path(base).is_relative_to(directory) for base in _bases(other)):
                found.append(other.name)
    return sorted(found)


def _directories(home: Home) -> Iterator[Path]:
    for above in (Path(home.layout.guests), Path(home.layout.trash)):
        yield from above.glob("*")


def _bases(directory: Path) -> list[str]:
    record: dict[str, Any] = files.read_record(directory / "disk.json") or {}
    try:
        return [str(base["path"]) for base in record.get("bases", ())]
    except (KeyError, TypeError) as error:
        raise VmdError(f"{directory / 'disk.json'} is damaged") from error


def asker(home: Home) -> str | None:
    """The user whose request this is done for, as the events know it."""
    known = {event["id"]: event for event in home.events.past}
    event = known.get(cause() or 0)
    while event is not None and event["event"] != "request":
        event = known.get(event["because"] or 0)
    return str(event["user"]) if event else None


def _room(home: Home, name: str) -> Path:
    """A new name in the trash."""
    trash = Path(home.layout.trash)
    files.make_directory(trash, 0o700)
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (f"{name}-{stamp}", *(f"{name}-{stamp}.{number}" for number in range(2, 1000)))
    return next(trash / each for each in names if not (trash / each).exists())


def _write(directory: Path, entry: Entry) -> None:
    files.write_record(directory / RECORD, {key: value for key, value in asdict(entry).items() if key != "error"})


def _size(path: Path) -> int:
    """The bytes that it takes on the disk."""
    inside = path.rglob("*") if path.is_dir() else iter((path,))
    return sum(each.lstat().st_blocks * 512 for each in inside)

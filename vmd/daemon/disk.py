"""Whether a guest may be started on its disk: it is of the format it always was, and stands on what it stood on.

A guest can write any header into its raw disk, and a stranger's qcow2 can name any file of the host as what it stands
on. So what was true at the first start is remembered, and nothing is ever guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..errors import Refused, VmdError
from ..host import disk, files
from ..host.disk import ImageInfo
from ..host.holder import holder
from ..plan.image import ImageFacts
from ..plan.observed import DiskFacts
from .home import Home

_FLATTEN = "make it one file: qemu-img convert -O qcow2"


def format_of(guest: Guest) -> str:
    """The format its definition says its disk has."""
    return guest.disk.format if guest.disk else "qcow2"


async def look(guest: Guest, home: Home) -> DiskFacts | None:
    """What its disk is, and why it may not be started on, if so; None where there is no disk."""
    places = home.places(guest.name, guest)
    path, form = Path(places.disk), format_of(guest)
    if not (guest.disk or guest.image) or not path.exists():
        return None
    try:
        found = await sound_chain(guest, home)
    except VmdError as error:
        return DiskFacts(form, 0, str(error))
    return DiskFacts(found[0].format, found[0].virtual_size)


async def look_at_image(guest: Guest, found: Mapping[str, ImageFacts]) -> DiskFacts | None:
    """What the image is that its disk is to be a clone of; None where it names none, or that is not there."""
    if guest.image is None or guest.image.path not in found:
        return None
    path, facts = Path(guest.image.path), found[guest.image.path]
    if facts.is_packed:
        fault = f"{path} is a packed qcow2: unpack it first" if facts.bare.kind == "qcow2" else ""
        return DiskFacts("raw", facts.disk_size, fault)
    try:
        chain = await disk.chain(path, guest.image.format)
        for each in chain:
            _check_within(each, path.resolve().parent)
    except VmdError as error:
        return DiskFacts(guest.image.format, 0, str(error))
    return DiskFacts(chain[0].format, chain[0].virtual_size)


def _check_within(image: ImageInfo, directory: Path) -> None:
    """An image comes from elsewhere: it may not bring in files that it did not come with."""
    if image.data_file:
        raise Refused(f"{image.path} keeps its data in another file, {image.data_file}", _FLATTEN)
    if not image.path.resolve().is_relative_to(directory):
        raise Refused(f"it stands on {image.path}, which is not below {directory}", _FLATTEN)


async def before_start(guest: Guest, home: Home) -> None:
    """See that nobody else has the disk open, and remember what it is.

    :raise Refused: somebody has it; the message says who.
    """
    places = home.places(guest.name, guest)
    if not (guest.disk or guest.image) or not Path(places.disk).exists():
        return
    if other := await asyncio.to_thread(holder, Path(places.disk)):
        raise Refused(
            f"{guest.name}: its disk {places.disk} is held by process {other.pid} ({other.command})",
            "end that first: two writers destroy a disk",
        )
    if _record(places) is None:
        remember(places, await sound_chain(guest, home))


def remember(places: GuestLayout, chain: tuple[ImageInfo, ...]) -> None:
    """Note what a disk is and what it stands on."""
    record = {"format": chain[0].format, "bases": [_base(image) for image in chain[1:]]}
    files.write_record(Path(places.disk_record), record)


def forget(places: GuestLayout) -> None:
    """The disk is another one now: its next start looks at it afresh."""
    Path(places.disk_record).unlink(missing_ok=True)


def _base(image: ImageInfo) -> dict[str, Any]:
    state = image.path.stat()
    return {"path": str(image.path), "format": image.format, "size": state.st_size, "mtime_ns": state.st_mtime_ns}


def _record(places: GuestLayout) -> dict[str, Any] | None:
    record = files.read_record(Path(places.disk_record))
    if record is not None and not (isinstance(record.get("format"), str) and isinstance(record.get("bases"), list)):
        raise VmdError(f"{places.disk_record} is damaged", "move it away: the next start writes it anew")
    return record


async def sound_chain(guest: Guest, home: Home) -> tuple[ImageInfo, ...]:
    """The disk and all it stands on, where that is as it was.

    :raise VmdError: it isn't, or is not whole.
    """
    places = home.places(guest.name, guest)
    path, form, record = Path(places.disk), format_of(guest), _record(places)
    if record is None:
        _check_format(path, form)
    elif record["format"] != form:
        raise Refused(f"{path} is of format {record['format']}, and its definition says {form}", "write what it is")
    found = await disk.chain(path, form)
    for image in found:
        _check_image(image)
    if record is None:
        _check_first(guest, home, found)
    else:
        _check_bases(places, record["bases"], [_base(image) for image in found[1:]])
    return found


def _check_format(path: Path, form: str) -> None:
    """The first time, before any guest could write a header: what looks like qcow2 is one."""
    if form == "raw" and disk.detect_format(path) == "qcow2":
        raise Refused(f"{path} is a qcow2 image, and its definition says raw", "write format: qcow2")


def _check_image(image: ImageInfo) -> None:
    if image.data_file:
        raise Refused(f"{image.path} keeps its data in another file, {image.data_file}", _FLATTEN)
    if image.corrupt:
        raise Refused(f"{image.path} is damaged", f"back it up, then: qemu-img check -f {image.format} -r all")


def _check_first(guest: Guest, home: Home, found: tuple[ImageInfo, ...]) -> None:
    """A disk that has not been started yet stands on the image of its definition, or on what it came with."""
    roots = [found[0].path.resolve().parent, Path(home.layout.bases).resolve()]
    if guest.image:
        roots.append(Path(guest.image.path).resolve().parent)
    for image in found[1:]:
        if not any(image.path.resolve().is_relative_to(root) for root in roots):
            raise Refused(f"it stands on {image.path}, which is not what its definition names", _FLATTEN)


def _check_bases(places: GuestLayout, known: list[Any], found: list[dict[str, Any]]) -> None:
    """A base that is written to makes rubbish of all that stands on it."""
    names, before = [base["path"] for base in found], [base.get("path") for base in known if isinstance(base, dict)]
    if names != before:
        raise Refused(f"{places.disk} stands on {names}, and stood on {before} at its first start", _FLATTEN)
    for was, now in zip(known, found, strict=True):
        if was != now:
            raise Refused(
                f"its image {now['path']} has changed since its first start, so its disk can't be relied on",
                f"put the image back as it was; if its content is the same, remove {places.disk_record}",
            )

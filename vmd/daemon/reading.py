"""Read the fleet's directory. Whatever is wrong in it is a fault to tell, and costs nothing that was right before."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from ..definition.fleet import Fleet
from ..definition.layout import Layout
from ..definition.parse import Parsed, Source, parse
from ..errors import VmdError

log = logging.getLogger(__name__)

READ_AT_MOST = (1 << 20) + 1
"""Bytes of a definition file that are read: one more than a definition may have, so that the fault is seen."""

T = TypeVar("T")


class Read(NamedTuple):
    """What a directory defines now, with what was right before in place of what is wrong."""

    fleet: Fleet
    faults: tuple[str, ...]


class _Texts(NamedTuple):
    sources: list[Source]
    unread: dict[str, str]
    """The file that can't be read → the fault; "" is the directory itself."""


def read(directory: str, before: Fleet, layout: Layout) -> Read:
    """Read every ``*.yaml`` of a directory; a guest whose file is at fault keeps the definition it had."""
    texts = _texts(directory, had_guests=bool(before.guests))
    try:
        parsed = parse(texts.sources)
    except Exception as error:  # a fault of ours must not take the last good fleet away
        log.exception("the definitions can't be read")
        return Read(before, (f"{directory}: vmd can't read it: {error!r}; its log has more",))
    faulty = {fault.file for fault in parsed.faults} | texts.unread.keys()
    fleet = _merged(before, parsed, faulty)
    long = dict(_too_long(fleet, layout))
    kept = {name: guest for name, guest in fleet.guests.items() if name not in long}
    faults = (*map(str, parsed.faults), *texts.unread.values(), *long.values())
    return Read(replace(fleet, guests=kept), faults)


def _merged(before: Fleet, parsed: Parsed, faulty: set[str]) -> Fleet:
    """The new fleet, and of the old one what stood in a file that is at fault and is missing from the new one."""
    now = parsed.fleet
    guests = _kept("guests", before, before.guests, now.guests, faulty)
    installers = _kept("installers", before, before.installers, now.installers, faulty)
    networks = _kept("networks", before, before.networks, now.networks, faulty)
    kinds = (("guests", guests), ("installers", installers), ("networks", networks))
    names = {(kind, name) for kind, kept in kinds for name in kept}
    where = {key: place for key, place in before.where.items() if key[:2] in names}
    return replace(
        now,
        guests={**guests, **now.guests},
        installers={**installers, **now.installers},
        networks={**networks, **now.networks},
        where={**now.where, **where},
    )


def _kept(kind: str, before: Fleet, old: Mapping[str, T], new: Mapping[str, T], faulty: set[str]) -> dict[str, T]:
    return {
        name: thing
        for name, thing in old.items()
        if name not in new and ("" in faulty or before.position(kind, name).file in faulty)
    }


def _texts(directory: str, *, had_guests: bool) -> _Texts:
    texts = _Texts([], {})
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names suffice
    except FileNotFoundError:
        if had_guests:  # a fleet that was never defined has no directory yet, and that is no fault
            texts.unread[""] = f"{directory}: it is gone; the fleet stays as it was"
        return texts
    except OSError as error:
        texts.unread[""] = f"{directory}: can't be read: {error.strerror}"
        return texts
    for name in names:
        if name.endswith(".yaml") and not name.startswith("."):  # such are an editor's
            _add(texts, f"{directory}/{name}")
    return texts


def _add(texts: _Texts, path: str) -> None:
    try:
        texts.sources.append(Source(path, _content(path)))
    except FileNotFoundError:
        return  # gone since we looked, or a link to nowhere
    except OSError as error:
        texts.unread[path] = f"{path}: can't be read: {error.strerror}"


def _content(path: str) -> bytes:
    # O_NONBLOCK: a FIFO would hold us for ever
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is no regular file")
        with os.fdopen(os.dup(fd), "rb") as file:
            return file.read(READ_AT_MOST)
    finally:
        os.close(fd)


def _too_long(fleet: Fleet, layout: Layout) -> Iterator[tuple[str, str]]:
    for name in fleet.guests:
        try:
            layout.check_socket_length((name,))
        except VmdError as error:
            yield name, f"{fleet.position('guests', name)}: guests.{name}: {error}"

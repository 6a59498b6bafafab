"""All guests, installers and networks together, and the rules between them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from .explain import unknown
from .fault import Fault, Key, Position, dotted, nearest
from .guest import Guest
from .machine import INSTALLERS
from .network import USER, Forward, Network
from .written import Count, Duration, FilePath, Label, Written

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, never listened on


class Installer(Written):
    """An ISO that fills a blank disk without a question."""

    name: SkipJsonSchema[Label]
    """The key it is defined under."""
    iso: Annotated[FilePath, Field(examples=["installer.iso"])]
    """The ISO's file."""
    success: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\n]+$")] = "INSTALL_SUCCESSFUL"
    """The words on the console by which it says that it is done."""
    timeout: Duration = 1800.0
    """How long it may take in all."""
    silence: Duration = 300.0
    """How long it may say nothing."""


class Start(Written):
    """How guests are started when there are several: not all at once, which would help none of them."""

    parallel: Annotated[Count, Field(ge=1)] = 2
    """How many are started side by side."""
    delay: Duration | Literal[0] = 0
    """How long to wait after each before the next is started."""


@dataclass(frozen=True)
class Fleet:
    """Everything an operator defined, and where each key of it stands."""

    guests: Mapping[str, Guest] = field(default_factory=dict)
    installers: Mapping[str, Installer] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    start: Start = field(default_factory=Start)
    where: Mapping[Key, Position] = field(default_factory=dict)

    def position(self, *key: str | int) -> Position:
        """Where a key stands; where it is silent, what it would stand in."""
        return nearest(self.where, key)

    def written(self, *key: str | int) -> Key:
        """A key as far as it was written: ``network: lan`` has neither a number nor a key of its own."""
        found: Key = ()
        for part in key:
            if (*found, part) in self.where:
                found = (*found, part)
        return found


@dataclass(frozen=True)
class _Claim:
    """Something only one guest can have, such as a port; ``on`` is the host's address, if it has one."""

    what: str
    thing: Hashable
    key: Key
    hint: str
    on: str = ""

    def clashes(self, other: _Claim) -> bool:
        same = self.on == other.on or self.on in _EVERYWHERE or other.on in _EVERYWHERE
        return self.thing == other.thing and same


def between(fleet: Fleet) -> Iterator[tuple[str, Fault]]:
    """Tell what is wrong between the guests of a fleet: which guest must yield, and the fault."""
    for guest in fleet.guests.values():
        if guest.install and guest.install not in (*INSTALLERS, *fleet.installers):
            yield guest.name, _unknown_installer(fleet, guest)
    yield from _unknown_networks(fleet)
    yield from _written_images(fleet)
    yield from _order(fleet)
    first: dict[Hashable, list[tuple[Guest, _Claim]]] = {}
    for guest in fleet.guests.values():
        for claim in _claims(guest):
            taken = first.setdefault(claim.thing, [])
            yield from _clash(fleet, guest, claim, taken)
            taken.append((guest, claim))


def _clash(
    fleet: Fleet, guest: Guest, claim: _Claim, taken: list[tuple[Guest, _Claim]]
) -> Iterator[tuple[str, Fault]]:
    for other, earlier in taken:
        if claim.clashes(earlier):
            place = fleet.position(*earlier.key)
            owner = "this guest itself" if other is guest else other.name
            message = f"{claim.what} is taken by {owner} at {place}"
            message = message if other is guest else f"{guest.name} can't have it: {message}"
            yield guest.name, Fault(*fleet.position(*claim.key), dotted(claim.key), message, claim.hint)
            return


def _claims(guest: Guest) -> Iterator[_Claim]:
    root: Key = ("guests", guest.name)
    if guest.disk and guest.disk.path:
        yield _Claim(f"the disk {guest.disk.path}", guest.disk.path, (*root, "disk", "path"), "name another file")
    if guest.vnc:
        what, thing = f"VNC display {guest.vnc.display}", ("tcp", guest.vnc.port)
        yield _Claim(what, thing, (*root, "vnc"), "choose another display", guest.vnc.address)
    for index, nic in enumerate(guest.network):
        if nic.mac:
            key = (*root, "network", index, "mac")
            yield _Claim(f"the MAC address {nic.mac}", nic.mac, key, "choose another, or leave the key out")
    for key, forward in _forwards(guest):
        what, thing = f"{forward.protocol} port {forward.host}", (forward.protocol, forward.host)
        yield _Claim(what, thing, (*root, *key), "choose another port of the host", forward.address)


def _forwards(guest: Guest) -> Iterator[tuple[Key, Forward]]:
    for index, forward in enumerate(guest.forward):
        yield ("forward", index), forward
    for number, nic in enumerate(guest.network):
        for index, forward in enumerate(nic.forward):
            yield ("network", number, "forward", index), forward


def _written_images(fleet: Fleet) -> Iterator[tuple[str, Fault]]:
    """Find disks that are another guest's image, which is never written."""
    images = {guest.image.path: guest.name for guest in fleet.guests.values() if guest.image}
    for guest in fleet.guests.values():
        path = guest.disk.path if guest.disk else None
        if path in images:
            other, key = images[path], ("guests", guest.name, "disk", "path")
            place = fleet.position("guests", other, "image")
            message = f"{guest.name} would write to {path}, the image of {other} at {place}"
            yield guest.name, Fault(*fleet.position(*key), dotted(key), message, "name another file")


def _order(fleet: Fleet) -> Iterator[tuple[str, Fault]]:
    """Find what a guest can't be started after: one that isn't there, or one that waits for itself."""
    for guest in fleet.guests.values():
        for index, other in enumerate(guest.after):
            key: Key = ("guests", guest.name, "after", index)
            if other not in fleet.guests and ("guests", other) not in fleet.where:
                hint = unknown(other, fleet.guests)
                yield guest.name, Fault(*fleet.position(*key), dotted(key), f"there is no guest {other!r}", hint)
            elif guest.name in _before(fleet, other):
                message = f"{guest.name} would wait for itself: {other} is started after it"
                yield guest.name, Fault(*fleet.position(*key), dotted(key), message, "break the circle")


def _before(fleet: Fleet, name: str) -> set[str]:
    """A guest and all that are started before it."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        each = todo.pop()
        if each not in seen:
            seen.add(each)
            todo += fleet.guests[each].after if each in fleet.guests else ()
    return seen


def _unknown_networks(fleet: Fleet) -> Iterator[tuple[str, Fault]]:
    known = (USER, *fleet.networks)
    for guest in fleet.guests.values():
        for index, nic in enumerate(guest.network):
            if nic.network in known:
                continue
            key = fleet.written("guests", guest.name, "network", index, "network")
            broken = fleet.where.get(("networks", nic.network))
            message, hint = f"there is no network {nic.network!r}", unknown(nic.network, known)
            if broken:
                message, hint = f"the network {nic.network!r} is at fault itself", f"mend it at {broken}"
            yield guest.name, Fault(*fleet.position(*key), dotted(key), message, hint)


def _unknown_installer(fleet: Fleet, guest: Guest) -> Fault:
    known = (*INSTALLERS, *fleet.installers)
    hint = unknown(guest.install or "", known)
    key: Key = ("guests", guest.name, "install")
    broken = fleet.where.get(("installers", guest.install or ""))
    if broken:
        message = f"the installer {guest.install!r} is at fault itself"
        return Fault(*fleet.position(*key), dotted(key), message, f"mend it at {broken}")
    return Fault(*fleet.position(*key), dotted(key), f"there is no installer {guest.install!r}", hint)

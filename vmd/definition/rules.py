"""What may not stand together in one guest, and what its board lacks. All of it is found at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from . import boot, limits
from .machine import INSTALLERS
from .network import USER
from .units import format_size
from .written import Wrong

if TYPE_CHECKING:
    from .guest import Guest


def contradictions(guest: Guest) -> Iterator[Wrong]:
    """Everything about this guest that can't be."""
    return chain(
        _board(guest),
        _devices(guest),
        _ways_to_a_disk(guest),
        _disk(guest),
        boot.faults(guest.boot, guest.board, guest.memory, len(guest.network)),
        limits.faults(guest.limits, guest.memory),
        _seed(guest),
        _forwards(guest),
        _served(guest),
    )


def _board(guest: Guest) -> Iterator[Wrong]:
    board = guest.board
    if guest.arch not in board.arches:
        yield Wrong(("arch",), f"{board.name} has no {guest.arch}", f"write one of {_list(board.arches)}")
        return
    if not board.min_memory <= guest.memory <= board.max_memory:
        bounds = f"{format_size(board.min_memory)} to {format_size(board.max_memory)}"
        yield Wrong(("memory",), f"{board.name} can't have {format_size(guest.memory)}", f"write {bounds}")
    if guest.cpus > board.max_cpus:
        bounds = "1" if board.max_cpus == 1 else f"1 to {board.max_cpus}"
        yield Wrong(("cpus",), f"{board.name} can't have {guest.cpus} processors", f"write {bounds}")
    if guest.accel not in ("auto", *guest.run_by.cpu):
        yield Wrong(("accel",), f"{guest.arch} can't run by {guest.accel} on this board", "write auto or tcg")
    never_kvm = guest.accel == "tcg" or "kvm" not in guest.run_by.cpu
    if never_kvm and guest.cpu and guest.cpu.split(",")[0] == "host":
        yield Wrong(("cpu",), "there is no host's CPU without KVM", "leave the key out")


def _devices(guest: Guest) -> Iterator[Wrong]:
    board = guest.board
    for index, nic in enumerate(guest.network):
        if nic.model and nic.model not in board.nics:
            key = ("network", index, "model")
            yield Wrong(key, f"{board.name} has no NIC {nic.model!r}", f"write one of {_list(board.nics)}")
    if guest.disk and guest.disk_bus not in board.disk_buses:
        hint = f"write one of {_list(board.disk_buses)}"
        yield Wrong(("disk", "bus"), f"{board.name} has no disk bus {guest.disk_bus!r}", hint)
    if guest.firmware and guest.firmware not in board.firmwares:
        hint = f"write {' or '.join(board.firmwares)}" if board.firmwares else "leave the key out"
        yield Wrong(("firmware",), f"{board.name} has no {guest.firmware} firmware", hint)
    if guest.vnc and not board.video:
        yield Wrong(("vnc",), f"{board.name} has no screen", "leave the key out")


def _ways_to_a_disk(guest: Guest) -> Iterator[Wrong]:
    ways = [key for key in ("install", "image", "boot") if getattr(guest, key)]
    if len(ways) > 1:
        yield Wrong((ways[1],), f"{' and '.join(ways)} can't stand together", f"keep one of {_list(ways)}")
    elif not ways and guest.board.firmwares and (not guest.disk or guest.disk.size):
        hint = "write install, image or boot" if guest.disk else "give it a disk, an image, or boot: {kernel: …}"
        yield Wrong((), "there is nothing that it could boot", hint)
    if guest.install and not (guest.disk and guest.disk.size):
        yield Wrong(("install",), "there is no disk to install to", "give it disk: 40G, too")
    if guest.install in INSTALLERS and guest.install not in guest.run_by.installers:
        hint = "write an image or boot: {kernel: …}"
        yield Wrong(("install",), f"{guest.install} is not made for {guest.arch}", hint)
    if not guest.boot and not guest.board.firmwares:
        hint = "write boot: {kernel: …}"
        yield Wrong((), f"{guest.machine} has no firmware that boots a disk", hint)


def _disk(guest: Guest) -> Iterator[Wrong]:
    disk = guest.disk
    if not disk:
        return
    if disk.size is None and not disk.path and not guest.image:
        yield Wrong(("disk",), "it has no size", "say disk: 40G, or the path of a disk that exists")
    if disk.size is not None and disk.size % 512:
        yield Wrong(("disk", "size"), f"{disk.size} bytes are no whole sectors", "say 512M or 40G")
    if disk.format == "raw" and guest.image:
        yield Wrong(("disk", "format"), "a linked clone can't be raw", "write qcow2, or leave the key out")
    elif disk.format == "raw" and not disk.path:
        yield Wrong(("disk", "format"), "a raw disk needs a place of its own", "give it a path, or write qcow2")
    if guest.image and disk.path == guest.image.path:
        yield Wrong(("disk", "path"), "the disk is its own image", "name another file; the image is never written")


def _seed(guest: Guest) -> Iterator[Wrong]:
    """Look at what only the seed drive or cloud-init can bring about."""
    if guest.boot:
        yield from _without_effect(guest, ("ssh_keys", "user", "hostname"), "a guest with boot", "leave the key out")
    if not guest.image:
        hint = "leave the key out, or start from an image"
        yield from _without_effect(guest, ("packages", "user_data"), "a guest without image", hint)
        for index, nic in enumerate(guest.network):
            if nic.address:
                message = "a static address is told to cloud-init, and this guest has no image"
                yield Wrong(("network", index, "address"), message, hint)
    if guest.user_data and guest.image:
        keys = ("ssh_keys", "user", "packages")
        yield from _without_effect(guest, keys, "a guest with a user_data of its own", "write it there")
    if guest.user == "root":
        yield Wrong(("user",), "root is there already", "write another name; ssh_keys are root's, too")


def _without_effect(guest: Guest, keys: Iterable[str], where: str, hint: str) -> Iterator[Wrong]:
    fields = type(guest).model_fields
    for key in keys:
        silent = guest.name if key == "hostname" else fields[key].default
        if getattr(guest, key) != silent:
            yield Wrong((key,), f"it has no effect on {where}", hint)


def _forwards(guest: Guest) -> Iterator[Wrong]:
    if guest.forward and all(nic.network != USER for nic in guest.network):
        yield Wrong(("forward",), "it has no NIC on the network user", "add user to network, or leave the key out")


def _served(guest: Guest) -> Iterator[Wrong]:
    """A boot loader is served by QEMU's own network."""
    if guest.boot and guest.boot.tftp and guest.network and guest.network[0].network != USER:
        yield Wrong(("network",), "what comes by TFTP comes over QEMU's own NAT", "put user first")


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)

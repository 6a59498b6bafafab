"""What lies where in a guest's memory before Linux runs, and whether two of it lie in the same place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from ..definition.guest import Guest
from ..definition.machine import Ram
from ..definition.units import format_size
from ..errors import Refused
from .image import ImageFacts
from .kernel import Images, physical

BESIDE_INITRD = 128 * 1024
"""What QEMU 7.2 to 10.0 leaves free above malta's initrd, in bytes (load_kernel in hw/mips/malta.c)."""

INITRD_ALIGN = 64 * 1024
"""What its start is rounded up to there, in bytes."""

UNPACKS_TO = 5
"""How many times larger than its uImage a kernel is taken to be in memory: xz makes it 3 times smaller, and it has
data of its own besides."""


class Piece(NamedTuple):
    """Something in memory, from ``start`` to before ``end``: physical addresses."""

    what: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """Where it is, for a person."""
        return f"{self.what} has {self.start:#x} to {self.end:#x}"


def loaded(guest: Guest, images: Images) -> Iterator[Piece]:
    """What QEMU itself puts into memory: kernel, initrd, and the root file system's image."""
    boot, ram = guest.boot, guest.board.ram
    if boot is None or ram is None:
        return
    if facts := images.get(boot.kernel):
        yield from kernel(facts.bare, ram)
    if boot.initrd and (facts := images.get(boot.initrd)):
        start = _rounded(min(guest.memory, ram.low) - facts.size - BESIDE_INITRD, INITRD_ALIGN)
        yield Piece("the initrd", start, start + facts.size)
    yield from held_back(guest)


def kernel(facts: ImageFacts, ram: Ram) -> Iterator[Piece]:
    """A kernel in memory: from the very beginning, for one that unpacks itself does so below its own place."""
    ends = [ram.physical(start) + end - start for start, end in facts.ranges]
    if facts.kind == "uimage":
        ends = [ram.physical(facts.load) + facts.size * (1 if facts.packing == "none" else UNPACKS_TO)]
    if ends:
        yield Piece("the kernel", 0, max(ends))


def held_back(guest: Guest) -> Iterator[Piece]:
    """The memory that is held back from Linux for the root file system's image."""
    if guest.boot and guest.boot.phram:
        start = physical(guest, guest.boot.phram)
        yield Piece("the rootfs", start, start + guest.boot.phram.size)


def check(guest: Guest, images: Images) -> None:
    """See that an image in memory has the room it needs, and all of it for itself.

    :raise Refused: it hasn't; says the addresses.
    """
    boot = guest.boot
    if boot is None or boot.phram is None:
        return
    found = images.get(boot.rootfs or "")
    if found and found.bare_size > boot.phram.size:
        raise Refused(
            f"{guest.name}: boot.root.phram.size: {boot.rootfs} has {found.bare_size} bytes, "
            f"{found.bare_size - boot.phram.size} more than the {format_size(boot.phram.size)} it is given",
            f"write {format_size(_rounded(found.bare_size, 1 << 20))} or more, or make the image smaller",
        )
    if not boot.uboot:
        apart(guest, loaded(guest, images))


def apart(guest: Guest, pieces: Iterable[Piece]) -> None:
    """See that no two pieces overlap, and that each is in the guest's memory.

    :raise Refused: two do, or one isn't.
    """
    pieces = tuple(pieces)
    low = min(guest.memory, guest.board.ram.low) if guest.board.ram else guest.memory
    for piece in pieces:
        if piece.end > low or piece.start < 0:
            raise Refused(
                f"{guest.name}: boot: {piece.text}, and its memory ends at {low:#x} ({format_size(low)})",
                "give it more memory",
            )
    for one, other in combinations(pieces, 2):
        if one.start < other.end and other.start < one.end:
            raise Refused(
                f"{guest.name}: boot.root.phram.address: {one.text}, and {other.text}: they overlap",
                _elsewhere(guest, pieces, low),
            )


def _elsewhere(guest: Guest, pieces: tuple[Piece, ...], low: int) -> str:
    """Name an address where the image would have room, or say that there is none."""
    mine = next(held_back(guest))
    others = sorted(piece for piece in pieces if piece.what != mine.what)
    size = mine.end - mine.start
    for piece in sorted(others, key=lambda piece: piece.end):
        start = _rounded(piece.end, 1 << 20)
        if start + size <= low and all(start >= each.end or start + size <= each.start for each in others):
            return f"write address: {start:#x}, say"
    return "give it more memory, or a smaller image"


def _rounded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple

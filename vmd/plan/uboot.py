"""U-Boot, in a guest's flash or on the real board: where it puts what it fetches, and what it is told.

Commands are those of U-Boot 2023.01 with its ``hush`` shell, and of most older ones: ``$`` stands in single quotes.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename
from textwrap import wrap
from typing import NamedTuple

from ..definition.boot import Boot, below
from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from ..definition.machine import Ram
from ..errors import Refused
from . import memory
from .image import ImageFacts
from .kernel import Images, command_line
from .memory import Piece
from .option import Option
from .ready import MakeFlash, TypeCommands

ITS_OWN = 8 << 20
"""What is left to U-Boot itself at the end of memory, in bytes: it moves there."""

LONGEST = 200
"""Characters of the kernel's command line that go into one command."""

PATIENCE = 60.0
"""How long U-Boot may take for one command, in seconds: 8 MiB by TFTP take it three."""

STAGE_ALIGN = 1 << 20
"""What it fetches begins at a multiple of this, in bytes."""


class Stage(NamedTuple):
    """Where each file is fetched to: a physical address."""

    kernel: int
    rootfs: int | None
    initrd: int | None


def options(layout: GuestLayout) -> Iterator[Option]:
    """The flash that the board starts from."""
    yield Option("boot.root.tftp.uboot", ("-bios", layout.flash))


def flash(guest: Guest, layout: GuestLayout) -> Iterator[MakeFlash]:
    """The step that puts a U-Boot into a guest's flash."""
    if guest.boot and guest.boot.uboot:
        yield MakeFlash(guest.boot.uboot, layout.flash, guest.board.flash, guest.arch.endswith("el"))


def told(guest: Guest, images: Images, scale: float) -> Iterator[TypeCommands]:
    """The step that tells a guest's U-Boot what to do: as one would on the real board."""
    boot = guest.boot
    if boot and boot.uboot:
        # the address comes by DHCP, and with it the server's; autoload would fetch a file by a name of its own
        first = ("setenv autoload no; dhcp", *arguments(boot_arguments(guest, boot, images)))
        yield TypeCommands((*first, *commands(guest, boot, images, "tftpboot")), PATIENCE * scale)


def lines(guest: Guest, images: Images) -> tuple[str, ...]:
    """What to type at the U-Boot of a real board, so that it does what the guest did.

    :raise Refused: nothing of the guest's lies in memory, or its pieces don't fit.
    """
    boot = guest.boot
    if boot is None or boot.phram is None:
        raise Refused(
            f"{guest.name}: boot.root: only an image in memory is booted by U-Boot",
            "write root: {phram: {address: 0x1178000, size: 9M}}",
        )
    return (
        f"# {guest.name}: first setenv ipaddr and serverip; the files are on that server",
        *_conversion(guest, boot, images),
        *arguments(boot_arguments(guest, boot, images, emulated=False)),
        *commands(guest, boot, images, "tftp"),
    )


def _conversion(guest: Guest, boot: Boot, images: Images) -> Iterator[str]:
    """How to make of an ELF what bootm takes."""
    found, ram = images.get(boot.kernel), guest.board.ram
    if found is None or ram is None or found.bare.kind != "elf" or not found.bare.ranges:
        return
    load = _reached(ram, min(ram.physical(start) for start, _ in found.bare.ranges))
    entry, name = _reached(ram, ram.physical(found.bare.entry)), basename(boot.kernel)
    yield f"# on that server, bootm takes no ELF: objcopy -O binary {name} {name}.bin"
    yield (
        f"#   mkimage -A mips -O linux -T kernel -C none -a {load:#x} -e {entry:#x} "
        f"-n Linux -d {name}.bin {name}.uimage"
    )


def arguments(line: str) -> Iterator[str]:
    """The kernel's command line, in several commands: a line may have 255 characters (CONFIG_SYS_CBSIZE)."""
    so_far = ""
    for piece in wrap(line, LONGEST, break_long_words=False, break_on_hyphens=False):
        yield f"setenv bootargs {so_far}'{piece}'"
        so_far = "${bootargs} "


def boot_arguments(guest: Guest, boot: Boot, images: Images, *, emulated: bool = True) -> str:
    """The kernel's command line as U-Boot hands it on; malta's doesn't tell Linux how much memory there is."""
    words = [command_line(guest, images)]
    stage, ram = staged(guest, boot, images), guest.board.ram
    if emulated and ram:
        words.insert(0, f"mem={min(guest.memory, ram.low) >> 20}M")
    if ram and boot.initrd and stage.initrd is not None:
        size = images[boot.initrd].size
        words.insert(0, f"rd_start={_reached(ram, stage.initrd):#x} rd_size={size}")
    return " ".join(words)


def commands(guest: Guest, boot: Boot, images: Images, fetch: str) -> Iterator[str]:
    """Fetch each file to its place, and boot."""
    stage, ram = staged(guest, boot, images), guest.board.ram
    if ram is None:
        return
    files = ((stage.rootfs, boot.rootfs), (stage.initrd, boot.initrd), (stage.kernel, boot.kernel))
    for address, path in files:
        if address is not None and path:
            yield f"{fetch} {_reached(ram, address):#x} {_file_name(boot, path, images.get(path))}"
    yield f"bootm {_reached(ram, stage.kernel):#x}"


def _file_name(boot: Boot, path: str, found: ImageFacts | None) -> str:
    name = below(path, boot.tftp.directory) if boot.tftp else basename(path)
    return f"{name}.uimage" if found and found.bare.kind == "elf" and path == boot.kernel else name


def staged(guest: Guest, boot: Boot, images: Images) -> Stage:
    """Choose where kernel and initrd are fetched to: from the end of memory downwards, off everything else.

    :raise Refused: there is no room for one of them.
    """
    ram = guest.board.ram
    if ram is None:
        return Stage(0, None, None)
    facts = images.get(boot.kernel)
    taken = [*(memory.kernel(facts.bare, ram) if facts else ()), *memory.held_back(guest)]
    memory.apart(guest, taken)
    top = min(guest.memory, ram.low) - ITS_OWN
    initrd = None
    if boot.initrd:
        initrd = _room(guest, "the initrd", _size(images, boot.initrd), top, taken)
    kernel = _room(guest, "the kernel's file", _size(images, boot.kernel), top, taken)
    rootfs = next((piece.start for piece in memory.held_back(guest)), None)
    return Stage(kernel, rootfs, initrd)


def _room(guest: Guest, what: str, size: int, top: int, taken: list[Piece]) -> int:
    """Find the highest place below ``top`` that is free, and take it."""
    starts = [top, *(piece.start for piece in taken)]
    for end in sorted(starts, reverse=True):
        start = (end - size) // STAGE_ALIGN * STAGE_ALIGN
        if end <= top and start >= 0 and all(start >= each.end or start + size <= each.start for each in taken):
            taken.append(Piece(what, start, start + size))
            return start
    raise Refused(
        f"{guest.name}: boot: there is no room for {what} ({size} bytes): " + "; ".join(each.text for each in taken),
        "give it more memory, or put the rootfs elsewhere",
    )


def _size(images: Images, path: str) -> int:
    found = images.get(path)
    return found.size if found else STAGE_ALIGN


def _reached(ram: Ram, address: int) -> int:
    """The address by which U-Boot and the kernel reach it, through the processor's cache."""
    return ram.mirrors[0].start + address if ram.mirrors else address

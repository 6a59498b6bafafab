"""How a guest starts by a kernel, and where that finds its root file system."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core.core_schema import ValidationInfo

from .fault import quoted
from .machine import Machine
from .units import format_size
from .written import FilePath, Line, Size, Written, Wrong, wrong

PAGE = 4096
"""What Linux can hold back of memory begins and ends at a page, in bytes."""

BUS_PATTERN = r"^[a-z0-9][a-z0-9-]*$"

WORDS = ("cdrom", "disk", "initramfs")
"""The ways to a root file system that need no more than their name."""


def _place(value: object, info: ValidationInfo) -> object:
    """A physical address; ``0x1178000`` is a number in YAML, too, and what is in quotes is read likewise."""
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise wrong(f"{quoted(value)} is no address", "write it as 0x1178000")
    return number


Place = Annotated[
    int,
    BeforeValidator(_place),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^0x[0-9A-Fa-f]+$"}]}),
]
"""An address in memory."""


class Phram(Written):
    """Where in memory the root file system's image lies, held back from Linux: as on a board that boots from RAM."""

    address: Annotated[Place, Field(examples=["0x1178000"])]
    """Its physical address; one of the addresses by which MIPS reaches it (0x81178000) is the same."""
    size: Annotated[Size, Field(examples=["9M"])]
    """How much room it has, from there on."""


class Tftp(Written):
    """A directory that the guest fetches kernel and image from, over its first NIC."""

    directory: Annotated[FilePath, Field(examples=["tftp"])]
    """The directory. On the network user it is served by QEMU itself, on a segment by whoever serves it there."""
    uboot: FilePath | None = None
    """The U-Boot that fetches them, put into the board's flash. Without one, the kernel fetches its root itself."""


class Root(Written):
    """Where the root file system is: cdrom, disk, initramfs, or a mapping of phram, tftp or both."""

    seen_as: Literal["cdrom", "disk", "initramfs"] | None = None
    """cdrom (read-only), disk (a linked clone), or initramfs: in the kernel, or in its initrd."""
    phram: Phram | None = None
    """An image in memory: {address: 0x1178000, size: 9M}."""
    tftp: Tftp | None = None
    """An image fetched over the network: {directory: tftp, uboot: u-boot.bin}."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        return written if isinstance(written, dict) else {"seen_as": written}

    @model_validator(mode="after")
    def _check(self) -> Root:
        if self.seen_as and (self.phram or self.tftp):
            raise wrong("it can't be two things at once", f"keep {self.seen_as}, or phram and tftp")
        if not (self.seen_as or self.phram or self.tftp):
            raise wrong("it says nothing", f"write one of {', '.join(WORDS)}, {{phram: …}}, {{tftp: …}}")
        return self


class Boot(Written):
    """A kernel that QEMU loads by itself, without firmware or boot loader."""

    kernel: Annotated[FilePath, Field(examples=["vmlinux"])]
    """The kernel's file."""
    initrd: FilePath | None = None
    """The initial RAM disk's file."""
    rootfs: FilePath | None = None
    """An image of the root file system, as it is or in gzip; it is never written."""
    root: Root | None = None
    """Where the guest finds the rootfs; cdrom where it is not said."""
    bus: Annotated[str, Field(pattern=BUS_PATTERN)] | None = None
    """How the rootfs hangs on the board where root is disk: virtio, ide, scsi, sata. As the guest's own disk does."""
    cmdline: Line = ""
    """The kernel's command line."""

    @property
    def seen_as(self) -> str:
        """One of `WORDS`, ``phram`` or ``tftp``; nothing where there is no root file system of ours."""
        if self.root is None:
            return "cdrom" if self.rootfs else ""
        return self.root.seen_as or ("phram" if self.root.phram else "tftp")

    @property
    def phram(self) -> Phram | None:
        """Where in memory the image lies, if it does."""
        return self.root.phram if self.root else None

    @property
    def tftp(self) -> Tftp | None:
        """Where things are fetched from over the network, if they are."""
        return self.root.tftp if self.root else None

    @property
    def uboot(self) -> str | None:
        """The U-Boot that starts it, if one does."""
        return self.tftp.uboot if self.tftp else None


def faults(boot: Boot | None, board: Machine, memory: int, nics: int) -> Iterator[Wrong]:
    """What is wrong with how a guest of so many bytes of memory and so many NICs starts."""
    if not boot:
        return
    if not board.kernel:
        yield Wrong(("boot",), f"{board.name} can't start a kernel directly", "leave the key out")
    if boot.seen_as == "initramfs" and boot.rootfs:
        yield Wrong(("boot", "rootfs"), "with root: initramfs nobody would look at it", "keep one of them")
    elif boot.root and boot.seen_as != "initramfs" and not boot.rootfs:
        yield Wrong(("boot", "root"), "there is no rootfs to be seen so", "write rootfs: FILE, too")
    if boot.bus and boot.seen_as != "disk":
        yield Wrong(("boot", "bus"), "it has no effect: the rootfs is no disk", "write root: disk, too")
    if boot.bus and boot.bus not in board.disk_buses:
        hint = f"write one of {', '.join(board.disk_buses)}"
        yield Wrong(("boot", "bus"), f"{board.name} has no disk bus {boot.bus!r}", hint)
    if boot.phram:
        yield from _in_memory(boot.phram, board, memory)
    if boot.tftp:
        yield from _over_the_network(boot, boot.tftp, board, nics)


def _in_memory(phram: Phram, board: Machine, memory: int) -> Iterator[Wrong]:
    key = ("boot", "root", "phram")
    if board.ram is None:
        yield Wrong(key, f"{board.name} can't hold memory back for an image", "write root: cdrom or root: disk")
        return
    start, end = board.ram.physical(phram.address), min(memory, board.ram.low)
    if start % PAGE:
        yield Wrong((*key, "address"), f"{start:#x} is not the start of a page", "write a multiple of 0x1000")
    if phram.size % PAGE:
        yield Wrong((*key, "size"), f"{phram.size} bytes are no whole pages of 4K", "say 9M")
    if start + phram.size > end:
        message = (
            f"{format_size(phram.size)} at {start:#x} end at {start + phram.size:#x}, "
            f"and its memory ends at {end:#x} ({format_size(end)})"
        )
        yield Wrong(key, message, "choose a lower address, or give it more memory")


def _over_the_network(boot: Boot, tftp: Tftp, board: Machine, nics: int) -> Iterator[Wrong]:
    key = ("boot", "root", "tftp")
    if not nics:
        yield Wrong(key, "it has no NIC to fetch anything over", "give it a network")
    if tftp.uboot and not board.flash:
        yield Wrong((*key, "uboot"), f"vmd knows no flash of {board.name} for a U-Boot", "leave the key out")
    if boot.phram and not tftp.uboot:
        yield Wrong(key, "only a U-Boot could fetch an image to an address", "name a uboot, or keep phram alone")
    fetched = {"rootfs": boot.rootfs, **({"kernel": boot.kernel, "initrd": boot.initrd} if tftp.uboot else {})}
    for word, path in fetched.items():
        if path and not below(path, tftp.directory):
            yield Wrong(("boot", word), f"{path} is not in {tftp.directory}", "put it there")


def below(path: str, directory: str) -> str:
    """A file's name as TFTP has it, from the directory on; nothing where it isn't in there."""
    inside = posixpath.relpath(path, directory)
    return "" if inside.startswith("../") or inside == ".." else inside

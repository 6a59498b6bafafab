"""What a kernel or an image of a file system is: facts that plans need, found by reading its header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

ALIGN = 4096
"""What an image that vmd makes is padded to, in bytes: a page, and whole sectors of a disk and a CD."""

SECTOR = {"cdrom": 2048, "disk": 512}
"""What a drive reads at a time, in bytes: of what an image has beyond whole sectors, QEMU shows nothing."""

FILE_SYSTEMS = {"squashfs": "squashfs", "ext": "ext4", "jffs2": "jffs2", "iso9660": "iso9660"}
"""Kind of image → what Linux calls its file system."""

WORDS: Mapping[str, str] = {
    "empty": "an empty file",
    "elf": "an ELF program",
    "uimage": "a uImage, made for U-Boot",
    "trx": "a TRX, a whole firmware for a Broadcom board",
    "fit": "a FIT image or a device tree",
    "gzip": "packed by gzip",
    "xz": "packed by xz",
    "bzip2": "packed by bzip2",
    "zstd": "packed by zstd",
    "lzma": "packed by lzma",
    "cpio": "a cpio archive, an initramfs",
    "squashfs": "a squashfs",
    "squashfs-3": "a squashfs of before 4.0",
    "jffs2": "a JFFS2",
    "ext": "an ext file system",
    "iso9660": "a CD",
    "ubi": "a UBI image",
    "disk": "a whole disk with partitions",
    "qcow2": "a qcow2 disk",
    "bzimage": "a PC's bzImage",
    "arm64": "an arm64 Image",
    "zimage": "an ARM zImage",
    "unknown": "nothing that vmd knows by its header",
}
"""Kind of image → what it is, for a person."""


class Content(NamedTuple):
    """An image once it is unpacked: its ``size`` in bytes, and a name that no other content has."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a file is, by its header.

    ``kind`` is a key of `WORDS`; ``size`` counts its bytes, ``needs`` how many its header says it has. ``arch`` is
    what it is made for, where it says so: a uImage of ``mips`` has either byte order. ``ranges`` are an ELF's
    physical addresses as they stand there, from and to; ``load`` and ``entry`` a uImage's, or an ELF's entry.
    ``inner`` is what is packed in it. ``content`` is known where a plan needs it.
    """

    kind: str
    size: int
    arch: str | None = None
    needs: int = 0
    ranges: tuple[tuple[int, int], ...] = ()
    load: int = 0
    entry: int = 0
    packing: str = ""
    name: str = ""
    inner: ImageFacts | None = None
    content: Content | None = None

    @property
    def is_packed(self) -> bool:
        """Vmd unpacks it before a board gets it."""
        return self.kind == "gzip" and self.inner is not None

    @property
    def bare(self) -> ImageFacts:
        """What it is once it is unpacked."""
        return self.inner if self.is_packed and self.inner else self

    @property
    def bare_size(self) -> int:
        """How many bytes it has unpacked; those of the file where nobody has looked."""
        return self.content.size if self.content else self.size

    @property
    def disk_size(self) -> int:
        """How many bytes it has as a disk: whole sectors, and what vmd makes of it has whole pages."""
        multiple = ALIGN if self.is_packed or self.size % SECTOR["disk"] else SECTOR["disk"]
        return -(-self.bare_size // multiple) * multiple

    @property
    def text(self) -> str:
        """What it is, for a person."""
        what = WORDS.get(self.kind, self.kind)
        if self.kind == "uimage" and self.name:
            what += f" ({self.name!r})"
        made_for = f" for {self.arch}" if self.arch and self.kind in ("elf", "uimage") else ""
        inside = f", with {self.inner.text} in it" if self.is_packed and self.inner else ""
        return f"{what}{made_for}{inside}"

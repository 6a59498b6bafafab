"""What a kernel or an image of a file system is, by its own header. Reads the head of a file, and no more.

Formats: ELF (elf(5)), U-Boot's legacy uImage (U-Boot's include/image.h), Broadcom's TRX, Linux' boot protocols of x86
(Documentation/x86/boot.rst), arm64 (Documentation/arm64/booting.rst) and arm, squashfs 4.0's and ext4's superblock.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from vmd.errors import VmdError

HEAD: Final = 64 * 1024
"""Bytes of a file that are looked at: an ISO's own mark is at 32769."""

MOST_SEGMENTS: Final = 64
"""How many program headers of an ELF are looked at; a kernel has two to five."""

PACKED: Final = ("gzip", "xz", "bzip2", "zstd", "lzma")
"""The kinds that hold another image, packed."""


@dataclass(frozen=True, slots=True)
class Elf:
    """An ELF's ``bits`` (32, 64), byte order, and the ranges it fills: (physical address, bytes in memory)."""

    bits: int
    big: bool
    entry: int
    segments: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class UImage:
    """U-Boot's header: where the payload is loaded and entered, how it is packed, and its ``name``.

    ``length`` is the payload's, in bytes.
    """

    load: int
    entry: int
    length: int
    packing: str
    name: str


@dataclass(frozen=True, slots=True)
class Image:
    """What a file is. ``kind`` is ``unknown`` where nobody knows it, ``size`` counts the file's bytes.

    ``arch`` is the architecture it is made for, where its header tells: ``mips`` of a uImage has either byte order.
    ``needs`` is how many bytes its own header says that it has: more than ``size`` where it was cut short.
    ``inner`` is what is packed in it; its ``size`` is not known, and 0.
    """

    kind: str
    size: int
    arch: str | None = None
    needs: int = 0
    elf: Elf | None = None
    uimage: UImage | None = None
    inner: Image | None = None


def look(path: Path) -> Image:
    """Say what a file is.

    :raise VmdError: it can't be read, or is none.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(HEAD)
            return recognise(head, size, _reader(file))
    except OSError as error:
        raise VmdError(f"{path} can't be read: {error.strerror}") from error


def _reader(file: BinaryIO) -> Callable[[int, int], bytes]:
    def read(start: int, length: int) -> bytes:
        try:
            file.seek(start)
        except (OSError, ValueError, OverflowError):  # a header of nonsense points anywhere
            return b""
        return file.read(length)

    return read


def recognise(head: bytes, size: int, read: Callable[[int, int], bytes] | None = None) -> Image:
    """Say what begins with ``head``; ``read`` gives bytes from farther on, where the head doesn't have them."""
    read = read or (lambda start, length: head[start : start + length])
    for known in (_elf, _uimage, _gzip, _squashfs, _kernel, _disk):
        if found := known(head, size, read):
            return found
    kind = next((kind for kind, at, magic in MAGIC if head[at : at + len(magic)] == magic), None)
    return Image(kind or ("unknown" if size else "empty"), size)


MAGIC: Final = (
    ("trx", 0, b"HDR0"),
    ("fit", 0, b"\xd0\x0d\xfe\xed"),
    ("xz", 0, b"\xfd7zXZ\0"),
    ("bzip2", 0, b"BZh"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("lzma", 0, b"\x5d\0\0"),
    ("cpio", 0, b"070701"),
    ("cpio", 0, b"070702"),
    ("qcow2", 0, b"QFI\xfb"),
    ("ubi", 0, b"UBI#"),
    ("jffs2", 0, b"\x85\x19"),
    ("jffs2", 0, b"\x19\x85"),
    ("ext", 1080, b"\x53\xef"),
    ("iso9660", 32769, b"CD001"),
)
"""Kind, where its mark stands, and the mark. Those of two bytes come last: they are soon met by chance."""

_MACHINES: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 20: "ppc", 21: "ppc64"}
_MIPS: Final = {(32, True): "mips", (32, False): "mipsel", (64, True): "mips64", (64, False): "mips64el"}

Read = Callable[[int, int], bytes]


def _elf(head: bytes, size: int, read: Read) -> Image | None:
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    bits, big = head[4] * 32, head[5] == 2
    order, word = ">" if big else "<", "Q" if bits == 64 else "I"
    machine = struct.unpack_from(f"{order}H", head, 18)[0]
    entry, table = struct.unpack_from(f"{order}2{word}", head, 24)
    entry_size, count = struct.unpack_from(f"{order}2H", head, 54 if bits == 64 else 42)
    segments: list[tuple[int, int]] = []
    needs = 0
    for index in range(min(count, MOST_SEGMENTS)):
        segment = _segment(read(table + index * entry_size, 56 if bits == 64 else 32), order, bits)
        if segment:
            at, length, address, memory = segment
            needs = max(needs, at + length)
            segments.append((address, memory))
    arch = _MIPS[bits, big] if machine == 8 else _MACHINES.get(machine)
    return Image("elf", size, arch, needs, Elf(bits, big, entry, tuple(segments)))


def _segment(header: bytes, order: str, bits: int) -> tuple[int, int, int, int] | None:
    """One PT_LOAD: where it is in the file, its length there, its physical address, its length in memory."""
    form = f"{order}2I6Q" if bits == 64 else f"{order}8I"
    if len(header) < struct.calcsize(form):
        return None
    words = struct.unpack_from(form, header)
    if words[0] != 1:
        return None
    if bits == 64:
        _, _, at, _, address, length, memory, _ = words
    else:
        _, at, _, address, length, memory, _, _ = words
    return (at, length, address, memory) if memory else None


_UIMAGE_ARCH: Final = {2: "arm", 3: "i386", 5: "mips", 6: "mips64", 22: "aarch64", 24: "x86_64", 26: "riscv64"}
_UIMAGE_PACKING: Final = {0: "none", 1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}


def _uimage(head: bytes, size: int, _read: Read) -> Image | None:
    if head[:4] != b"\x27\x05\x19\x56" or len(head) < 64:
        return None
    length, load, entry = struct.unpack_from(">3I", head, 12)
    _, arch, _, packing = struct.unpack_from("4B", head, 28)
    name = head[32:64].split(b"\0")[0].decode("ascii", "replace")
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    header = UImage(load, entry, length, _UIMAGE_PACKING.get(packing, "unknown"), name)
    return Image("uimage", size, _UIMAGE_ARCH.get(arch), 64 + length, uimage=header)


def _gzip(head: bytes, size: int, _read: Read) -> Image | None:
    if head[:3] != b"\x1f\x8b\x08":
        return None
    stream = zlib.decompressobj(31)
    try:
        inside = stream.decompress(head, HEAD)
    except zlib.error:
        return Image("gzip", size)
    return Image("gzip", size, inner=recognise(inside, 0) if inside else None)


def _squashfs(head: bytes, size: int, _read: Read) -> Image | None:
    """A squashfs; ``sqsh`` marks one of the other byte order, which Linux has not read since 4.0."""
    if head[:4] == b"hsqs" and len(head) >= 48:
        return Image("squashfs", size, needs=struct.unpack_from("<Q", head, 40)[0])
    return Image("squashfs-3", size) if head[:4] == b"sqsh" else None


def _kernel(head: bytes, size: int, _read: Read) -> Image | None:
    if head[0x202:0x206] == b"HdrS":
        return Image("bzimage", size, "x86_64")
    if head[56:60] == b"ARM\x64":
        return Image("arm64", size, "aarch64")
    if head[36:40] == b"\x18\x28\x6f\x01":
        return Image("zimage", size, "arm")
    return None


def _disk(head: bytes, size: int, _read: Read) -> Image | None:
    """A whole disk: a boot sector with at least one partition, whose states are those that there are."""
    if head[510:512] != b"\x55\xaa":
        return None
    entries = [head[start : start + 16] for start in range(446, 510, 16)]
    used = [entry for entry in entries if entry[4]]
    return Image("disk", size) if used and all(entry[0] in (0, 0x80) for entry in used) else None


def unpacked(path: Path, limit: int) -> Iterator[bytes]:
    """The content of a gzip file, in pieces; anything else as it is.

    What follows the packed stream is left out: OpenWrt puts the image's metadata there.

    :raise VmdError: it is damaged, ends too early, or has more than ``limit`` bytes.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        pieces = _inflated(file, path) if packed else iter(lambda: file.read(1 << 20), b"")
        total = 0
        for piece in pieces:
            total += len(piece)
            if total > limit:
                raise VmdError(f"{path} unpacks to more than {limit} bytes", "is it the right file?")
            yield piece


def _inflated(file: BinaryIO, path: Path) -> Iterator[bytes]:
    stream, rest = zlib.decompressobj(31), b""
    try:
        while data := rest or file.read(1 << 18):
            yield stream.decompress(data, 1 << 20)
            rest = stream.unconsumed_tail
            if stream.eof:
                rest = stream.unused_data or file.read(1 << 18)
                if rest[:2] != b"\x1f\x8b":
                    return
                stream = zlib.decompressobj(31)
    except zlib.error as error:
        raise VmdError(f"{path} is damaged: {error}", "fetch it again") from error
    raise VmdError(f"{path} ends before its packed content does", "fetch it again")

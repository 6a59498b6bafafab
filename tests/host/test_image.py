"""What a file is by its header: kernels of several boards, file systems, what is cut short, and nonsense."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmd.errors import VmdError
from vmd.host.image import Elf, Image, UImage, look, recognise, unpacked
from vmd.host.unpack import measure, unpack

METADATA = b"FWx0" + bytes(200)
"""What OpenWrt leaves behind the packed stream of an image."""


def elf(
    *,
    bits: int = 32,
    big: bool = False,
    machine: int = 8,
    start: int = 0x80100000,
    memory: int = 4,
    code: bytes = b"code",
) -> bytes:
    """An ELF of one segment, that fills so much memory."""
    order, word = ">" if big else "<", "Q" if bits == 64 else "I"
    ident = b"\x7fELF" + bytes([bits // 32, 2 if big else 1, 1]) + bytes(9)
    size, entry = (64, 56) if bits == 64 else (52, 32)
    header = struct.pack(f"{order}HHI3{word}I6H", 2, machine, 1, start, size, 0, 0, size, entry, 1, 0, 0, 0)
    at = size + entry
    if bits == 64:
        segment = struct.pack(f"{order}2I6Q", 1, 5, at, start, start, len(code), max(memory, len(code)), 4)
    else:
        segment = struct.pack(f"{order}8I", 1, at, start, start, len(code), max(memory, len(code)), 5, 4)
    return ident + header + segment + code


def uimage(payload: bytes = b"kernel", *, arch: int = 5, packing: int = 1, name: bytes = b"MIPS OpenWrt") -> bytes:
    words = (0x27051956, 0, 0, len(payload), 0x80060000, 0x80060400, 0)
    return struct.pack(">7I4B32s", *words, 5, arch, 2, packing, name) + payload


def squashfs(size: int = 4096, *, says: int | None = None) -> bytes:
    return (b"hsqs" + bytes(36) + struct.pack("<Q", size if says is None else says)).ljust(size, b"\0")


def at(place: int, magic: bytes, size: int = 40000) -> bytes:
    return bytes(place) + magic + bytes(size - place - len(magic))


DISK = at(450, b"\x83" + bytes(59) + b"\x55\xaa", 512)

KINDS = {
    "elf": elf(),
    "uimage": uimage(),
    "trx": b"HDR0" + bytes(60),
    "fit": b"\xd0\x0d\xfe\xed" + bytes(60),
    "gzip": gzip.compress(b"something"),
    "xz": b"\xfd7zXZ\0" + bytes(60),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(60),
    "bzip2": b"BZh91AY&SY" + bytes(60),
    "lzma": b"\x5d\0\0\x80\0" + bytes(60),
    "cpio": b"070701" + bytes(60),
    "qcow2": b"QFI\xfb" + bytes(60),
    "ubi": b"UBI#" + bytes(60),
    "jffs2": b"\x85\x19" + bytes(60),
    "ext": at(1080, b"\x53\xef"),
    "iso9660": at(32769, b"CD001"),
    "squashfs": squashfs(),
    "squashfs-3": b"sqsh" + bytes(92),
    "bzimage": at(0x202, b"HdrS", 4096),
    "arm64": at(56, b"ARM\x64", 4096),
    "zimage": at(36, b"\x18\x28\x6f\x01", 4096),
    "disk": DISK,
    "empty": b"",
    "unknown": b"#!/bin/sh\n",
}


@pytest.mark.parametrize(("kind", "data"), KINDS.items(), ids=KINDS)
def test_a_file_is_known_by_its_header(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "with a name, that says: nothing.img"
    path.write_bytes(data)
    found = look(path)
    assert (found.kind, found.size) == (kind, len(data))


@pytest.mark.parametrize(
    ("bits", "big", "arch"),
    [(32, True, "mips"), (32, False, "mipsel"), (64, True, "mips64"), (64, False, "mips64el")],
)
def test_the_byte_order_is_read_from_the_elf(bits: int, big: bool, arch: str) -> None:
    start = 0xFFFFFFFF80100000 if bits == 64 else 0x80100000
    found = recognise(data := elf(bits=bits, big=big, start=start, memory=0x500000), len(data))
    assert found == Image("elf", len(data), arch, len(data), Elf(bits, big, start, ((start, 0x500000),)))


def test_a_uimage_says_where_it_goes_and_what_it_is() -> None:
    found = recognise(data := uimage(b"x" * 100), len(data))
    assert found.uimage == UImage(0x80060000, 0x80060400, 100, "gzip", "MIPS OpenWrt")
    assert (found.arch, found.needs) == ("mips", 164)


def test_a_name_that_would_disturb_a_terminal_is_made_harmless() -> None:
    found = recognise(data := uimage(name=b"\x1b[2Jbad\xff"), len(data))
    assert found.uimage
    assert found.uimage.name.isprintable()


@pytest.mark.parametrize("whole", [elf(), uimage(b"x" * 500), squashfs(8192)], ids=["elf", "uimage", "squashfs"])
def test_what_is_cut_short_needs_more_than_it_has(whole: bytes) -> None:
    assert recognise(whole, len(whole)).needs <= len(whole)
    assert recognise(whole[:-1], len(whole) - 1).needs > len(whole) - 1


def test_what_is_packed_is_looked_into() -> None:
    data = gzip.compress(squashfs()) + METADATA
    found = recognise(data, len(data))
    assert found.kind == "gzip"
    assert found.inner == Image("squashfs", 0, needs=4096)


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 200), st.binary(max_size=200))
def test_no_header_is_too_hostile(kind: str, place: int, junk: bytes) -> None:
    data = bytearray(KINDS[kind])
    data[place : place + len(junk)] = junk
    assert recognise(bytes(data), len(data)).size == len(data)


@given(junk=st.binary(max_size=120))
def test_an_elf_of_nonsense_points_nowhere(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "nonsense"
    path.write_bytes(elf()[:6] + junk)
    assert look(path).kind in ("elf", "unknown")


def test_what_can_t_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmdError, match=r"gone\.img can't be read: No such file"):
        look(tmp_path / "gone.img")
    with pytest.raises(VmdError, match="Is a directory"):
        look(tmp_path)


# -- unpacking


@pytest.mark.parametrize("tail", [b"", METADATA, bytes(3)], ids=["plain", "with metadata", "padded"])
def test_an_image_is_unpacked_and_padded(tail: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "root.img.gz", tmp_path / "root.img"
    content = squashfs(3 << 20) + b"end"
    source.write_bytes(gzip.compress(content) + tail)
    before = source.read_bytes()
    assert unpack(source, target, 4096) == (3 << 20) + 4096
    assert target.read_bytes() == content.ljust((3 << 20) + 4096, b"\0")
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_what_is_not_packed_is_only_padded(tmp_path: Path) -> None:
    (tmp_path / "root.img").write_bytes(b"x" * 5000)
    assert unpack(tmp_path / "root.img", tmp_path / "padded", 2048) == 6144
    assert (tmp_path / "padded").read_bytes() == (b"x" * 5000).ljust(6144, b"\0")


def test_members_of_a_gzip_follow_one_another(tmp_path: Path) -> None:
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(b"one, ") + gzip.compress(b"two"))
    assert b"".join(unpacked(path, 100)) == b"one, two"


def test_blocks_of_zeroes_take_no_room(tmp_path: Path) -> None:
    source, target = tmp_path / "a.gz", tmp_path / "a"
    source.write_bytes(gzip.compress(b"\1" + bytes(64 << 20)))
    unpack(source, target, 4096)
    assert target.stat().st_size == (64 << 20) + 4096
    assert target.stat().st_blocks * 512 < 8 << 20


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:50] + b"!!!!" + data[54:]])
def test_a_damaged_image_leaves_nothing(damage: object, tmp_path: Path) -> None:
    source, target = tmp_path / "a.gz", tmp_path / "a"
    assert callable(damage)
    source.write_bytes(damage(gzip.compress(bytes(range(256)) * 100)))
    with pytest.raises(VmdError, match=r"is damaged|ends before"):
        unpack(source, target, 4096)
    with pytest.raises(VmdError, match=r"is damaged|ends before"):
        measure(source)
    assert list(tmp_path.iterdir()) == [source]


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(4 << 20)))
    with pytest.raises(VmdError, match="unpacks to more than 1000000 bytes"):
        list(unpacked(path, 1_000_000))


def test_the_same_content_has_the_same_name_however_it_is_packed(tmp_path: Path) -> None:
    content = squashfs(10000)
    for name, data in {
        "a": content,
        "b": gzip.compress(content, 1),
        "c": gzip.compress(content, 9) + METADATA,
    }.items():
        (tmp_path / name).write_bytes(data)
    found = {measure(tmp_path / name) for name in "abc"}
    assert len(found) == 1
    assert found.pop().size == 10000

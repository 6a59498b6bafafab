"""Boot loaders, patched as grub-install would, and made by the host's GRUB."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from vmd.errors import VmdError
from vmd.installer import loader

BOOT_IMAGE = loader.MODULE_DIRECTORY / "i386-pc/boot.img"

needs_grub = pytest.mark.skipif(
    not (BOOT_IMAGE.exists() and shutil.which("grub-mkimage") and shutil.which("mformat")),
    reason="not installed: grub-pc-bin grub-common mtools",
)


def boot_image() -> bytearray:
    image = bytearray(range(256)) * 2
    image[0x66:0x68] = b"\xeb\x05"
    return image


def test_boot_sector_says_where_core_is() -> None:
    patched = loader.boot_sector(bytes(boot_image()), 2048)
    assert len(patched) == 440
    assert struct.unpack_from("<Q", patched, 0x5C) == (2048,)
    assert patched[0x66:0x68] == b"\x90\x90"
    untouched = [*range(0x5C), *range(0x64, 0x66), *range(0x68, 440)]
    assert [patched[i] for i in untouched] == [boot_image()[i] for i in untouched]


@pytest.mark.parametrize("image", [b"", bytes(512), bytes(boot_image()) + b"x"])
def test_an_unknown_boot_image_is_refused(image: bytes) -> None:
    with pytest.raises(VmdError, match=r"boot\.img is not laid out as expected"):
        loader.boot_sector(image, 2048)


def test_core_says_where_its_rest_is() -> None:
    core = bytearray(1024)
    struct.pack_into("<QHH", core, 500, 2, 1, 0x820)
    patched = loader.at_sector(bytes(core), 2048)
    assert struct.unpack_from("<QHH", patched, 500) == (2049, 1, 0x820)
    assert patched[:500] == core[:500]
    assert patched[508:] == core[508:]


def test_an_unknown_core_is_refused() -> None:
    with pytest.raises(VmdError, match=r"core\.img is not laid out as expected"):
        loader.at_sector(bytes(1024), 2048)


@needs_grub
def test_this_hosts_boot_image_is_known() -> None:
    assert len(loader.boot_code()) == 440


@needs_grub
def test_loaders_for_the_disk_fit_their_partitions(tmp_path: Path) -> None:
    core, esp = tmp_path / "core.img", tmp_path / "esp.img"
    loader.for_disk(tmp_path, core, esp)
    assert core.stat().st_size <= 2048 * 512
    assert esp.stat().st_size == 8192 * 512
    assert (tmp_path / "disk.efi").read_bytes() == extracted(esp)


@needs_grub
def test_loaders_for_the_cd(tmp_path: Path) -> None:
    bios, efi = tmp_path / "bios.img", tmp_path / "efi.img"
    loader.for_cd(tmp_path, bios, efi)
    assert bios.stat().st_size > 0
    assert extracted(efi)[:2] == b"MZ"


@needs_grub
def test_the_same_loader_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        loader.fat(tmp_path / name, Path(__file__))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def extracted(image: Path) -> bytes:
    return subprocess.run(
        ("/usr/bin/mtype", "-i", str(image), "::/EFI/BOOT/BOOTX64.EFI"), check=True, capture_output=True
    ).stdout

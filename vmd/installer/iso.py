"""The installer as an ISO 9660 image that BIOS and UEFI boot, and which says by which recipe it was made."""

from __future__ import annotations

from pathlib import Path

from vmd.installer import loader
from vmd.installer.command import run
from vmd.installer.root import EPOCH

_DESCRIPTOR = 16 * 2048  # the primary volume descriptor, ECMA-119 8.4
_SECTORS, _APPLICATION = 80, 574


def build(tree: Path, key: str, output: Path) -> None:
    """Make the image from ``tree``, which holds ``vmd/vmlinuz``, ``vmd/initrd.img`` and ``vmd/disk.img.zst``."""
    (tree / "boot").mkdir()
    loader.for_cd(tree.parent, tree / "boot/bios.img", tree / "boot/efi.img")
    run(
        *("xorriso", "-as", "mkisofs", "-quiet", "-o", output, "-V", "VMD_INSTALL", "-A", key, "-r"),
        *("-b", "boot/bios.img", "-c", "boot/catalog", "-no-emul-boot", "-boot-load-size", "4"),
        *("-boot-info-table", "--grub2-boot-info"),
        *("-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot"),
        tree,
        env={"SOURCE_DATE_EPOCH": str(EPOCH)},
    )


def key_of(path: Path) -> str:
    """The key an image of ours was made by; empty for any other file, for a cut one and for none."""
    try:
        with path.open("rb") as file:
            file.seek(_DESCRIPTOR)
            descriptor = file.read(2048)
            size = file.seek(0, 2)
    except OSError:
        return ""
    if len(descriptor) != 2048 or descriptor[:6] != b"\x01CD001":
        return ""
    whole = size >= int.from_bytes(descriptor[_SECTORS : _SECTORS + 4], "little") * 2048
    return descriptor[_APPLICATION : _APPLICATION + 128].decode("ascii", "replace").strip().lower() if whole else ""

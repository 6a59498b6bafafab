"""GRUB, for the installer's CD and for the guest's disk, by BIOS and by UEFI: four images by grub-mkimage.

Nothing of GRUB is installed into the guest. On its disk the BIOS finds boot.img in the first sector, which loads
core.img from a partition of its own; UEFI finds the same GRUB on the EFI system partition. Both then read
/boot/grub/grub.cfg from the third partition of the disk that they came from, whichever disk that is.
"""

from __future__ import annotations

import struct
from pathlib import Path

from vmd.errors import VmdError
from vmd.installer.command import run

BIOS_START = 2048
"""The sector where core.img is written on the disk; the partition table keeps the place."""

MODULE_DIRECTORY = Path("/usr/lib/grub")

_CD_CONFIG = """\
search --no-floppy --file --set=root /vmd/vmlinuz
linux /vmd/vmlinuz {cmdline}
initrd /vmd/initrd.img
boot
"""
_CD_CMDLINE = "console=tty0 console=ttyS0,115200n8 quiet loglevel=1 panic=1"
# panic=1: a guest that can't boot ends at once, instead of waiting for somebody to look

_CD_MODULES = ("iso9660", "search", "search_fs_file", "linux", "boot")
_DISK_MODULES = ("part_gpt", "ext2", "normal", "configfile", "linux", "boot", "test", "echo", "serial", "terminal")
_BIOS, _EFI = "i386-pc", "x86_64-efi"
_EFI_VIDEO = ("efi_gop", "efi_uga")


def for_cd(work: Path, bios: Path, efi: Path) -> None:
    """Write the El Torito images: ``bios``, and ``efi`` as a FAT file system."""
    config = work / "cd.cfg"
    config.write_text(_CD_CONFIG.format(cmdline=_CD_CMDLINE))
    prefix = ("--prefix=/vmd", f"--config={config}")
    _image(f"{_BIOS}-eltorito", bios, *prefix, "biosdisk", *_CD_MODULES)
    _image(_EFI, work / "cd.efi", *prefix, *_EFI_VIDEO, *_CD_MODULES)
    fat(efi, work / "cd.efi")


def for_disk(work: Path, core: Path, esp: Path) -> None:
    """Write core.img, ready for :data:`BIOS_START`, and the EFI system partition."""
    prefix = ("--prefix=(,gpt3)/boot/grub",)  # the drive is the one GRUB was loaded from
    _image(_BIOS, core, *prefix, "biosdisk", *_DISK_MODULES)
    core.write_bytes(at_sector(core.read_bytes(), BIOS_START))
    _image(_EFI, work / "disk.efi", *prefix, *_EFI_VIDEO, *_DISK_MODULES)
    fat(esp, work / "disk.efi")


def boot_code() -> bytes:
    """The first 440 bytes of a disk: GRUB's boot.img, told where core.img is."""
    return boot_sector((MODULE_DIRECTORY / _BIOS / "boot.img").read_bytes(), BIOS_START)


def boot_sector(image: bytes, start: int) -> bytes:
    """Patch boot.img (GRUB 2.06 and 2.12) to load the sector ``start``; what grub-install would do.

    The sector of core.img is 8 bytes at 0x5c. At 0x66 stands a jump over the check of the drive number that the BIOS
    passed, which is for hard disks only: two NOPs in its place switch the check on.
    """
    if len(image) != 512 or image[0x66] != 0xEB:
        raise VmdError("GRUB's boot.img is not laid out as expected", "vmd knows GRUB 2.06 and 2.12")
    patched = bytearray(image)
    struct.pack_into("<Q", patched, 0x5C, start)
    patched[0x66:0x68] = b"\x90\x90"
    return bytes(patched[:440])


def at_sector(core: bytes, start: int) -> bytes:
    """Patch core.img to be loaded from the sector ``start``.

    Its first sector ends in a list of blocks, each (sector: 8 bytes, length: 2, segment: 2), the first one at 500; it
    holds one block there, the rest of the image, as if it followed a core.img at sector 1.
    """
    sector, _, segment = struct.unpack_from("<QHH", core, 500)
    if (sector, segment) != (2, 0x820):
        raise VmdError("GRUB's core.img is not laid out as expected", "vmd knows GRUB 2.06 and 2.12")
    return core[:500] + struct.pack("<Q", start + 1) + core[508:]


def fat(image: Path, application: Path) -> None:
    """Make a FAT file system of 4 MiB, from which UEFI starts ``application`` by itself."""
    run("mformat", "-C", "-i", image, "-T", "8192", "-h", "16", "-s", "32", "-N", "564d4430", "-v", "ESP", "::")
    run("mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-i", image, application, "::/EFI/BOOT/BOOTX64.EFI")


def _image(platform: str, output: Path, *options: str) -> None:
    run("grub-mkimage", f"--format={platform}", f"--output={output}", *options)

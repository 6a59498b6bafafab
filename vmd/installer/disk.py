"""The guest's disk as the installer copies it: partitions, boot loader and the root file system, in one image.

Runs inside the build's namespace. No loop device and no mount: each tool writes its part into the file.
"""

from __future__ import annotations

import os
from pathlib import Path

from vmd.installer import loader
from vmd.installer.command import run
from vmd.installer.root import EPOCH, GUEST_FILES

MIB = 1 << 20
SECTOR = 512
BIOS_SECTOR, ESP_SECTOR, ROOT_SECTOR = loader.BIOS_START, 4096, 12288
"""Where the partitions begin; guest/partitions says the same."""

SLACK_MIB = 16
"""Free space in the image, which has to do until the first boot has grown the file system."""

GROWTH_MIB = 256
"""What a disk must have beyond the image, to be worth installing on."""

_JOURNAL_MIB = 16
_INODE_RATIO = 16384  # bytes per inode, mke2fs' default
_FEATURES = ",".join((
    # said in full, so that the image doesn't depend on the host's mke2fs.conf; GRUB 2.06 reads all of them
    *("none", "has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit", "flex_bg"),
    *("sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum"),
    "metadata_csum_seed",  # so that a guest can take a UUID of its own without touching every inode
))  # fmt: skip


def build(root: Path, image: Path) -> None:
    """Write the whole disk to ``image``: small, to be grown by the guest."""
    size = root_mib(root)
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(ROOT_SECTOR * SECTOR + (size + 1) * MIB)  # the last MiB holds the second partition table
    run("sfdisk", "--quiet", image, stdin=(GUEST_FILES / "partitions").read_text())
    core, esp = image.with_name("core.img"), image.with_name("esp.img")
    loader.for_disk(image.parent, core, esp)
    with image.open("r+b") as file:
        for sector, content in (
            (0, loader.boot_code()),
            (BIOS_SECTOR, core.read_bytes()),
            (ESP_SECTOR, esp.read_bytes()),
        ):
            file.seek(sector * SECTOR)
            file.write(content)
    make_root(root, image, size)


def make_root(root: Path, image: Path, size: int) -> None:
    """Write the root file system, of ``size`` MiB, at its place in ``image``."""
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-O", _FEATURES, "-J", f"size={_JOURNAL_MIB}"),
        *("-b", "4096", "-I", "256", "-i", str(_INODE_RATIO), "-m", "1", "-L", "root", "-U", ROOT_UUID),
        *("-E", f"offset={ROOT_SECTOR * SECTOR},hash_seed={ROOT_UUID},nodiscard,lazy_itable_init=0"),
        *("-d", root, image, f"{size}m"),
        env={"E2FSPROGS_FAKE_TIME": str(EPOCH)},
    )


def root_mib(root: Path) -> int:
    """How large a file system ``root`` needs, in MiB."""
    blocks = inodes = 0
    seen = set()
    for directory, _, names in os.walk(root):
        for name in (".", *names):
            status = os.lstat(Path(directory, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                inodes += 1
                blocks += -(-status.st_size // 4096)
    content = blocks * 4096 + inodes * 256
    tables = (content + SLACK_MIB * MIB) // _INODE_RATIO * 256
    return (content * 102 // 100 + tables) // MIB + _JOURNAL_MIB + SLACK_MIB


ROOT_UUID = "5c1a7a4e-0f0b-4f35-9d4b-2f1d6a3c8e01"
"""Of the image; each guest gets its own at install."""

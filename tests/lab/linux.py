"""A real Linux that boots in seconds: Debian's cloud kernel, and busybox in an initramfs, made from their packages.

Nothing is installed: the packages are fetched and unpacked. Whoever has no apt, or no network, is told why.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

META = "linux-image-cloud-amd64"
"""The package that depends on the present kernel."""

MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk")
"""The kernel's modules that lead to its disk, in the order in which they are loaded."""

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /$module.ko; done
{more}
exec setsid cttyhack sh
"""


class Linux(NamedTuple):
    """The files of a guest to boot directly."""

    kernel: Path
    initrd: Path


def missing() -> str:
    """Why there can be no Linux here, or nothing."""
    lacking = [tool for tool in ("apt-get", "apt-cache", "dpkg") if not shutil.which(tool)]
    return f"a Linux is made by {', '.join(lacking)}" if lacking else ""


def make(directory: Path, more: str = ":") -> Linux:
    """Fetch kernel and busybox, and pack an initramfs whose shell is on the console; ``more`` is run before it.

    :raise subprocess.CalledProcessError: a package can't be had.
    """
    directory.mkdir(parents=True, exist_ok=True)
    depends = _run(directory, "apt-cache", "depends", META)
    kernel = re.search(r"Depends: (linux-image-\S+)", depends)
    assert kernel, depends
    tree = directory / "tree"
    _run(directory, "apt-get", "-o", "APT::Sandbox::User=root", "download", kernel[1], "busybox-static")
    for package in sorted(directory.glob("*.deb")):
        _run(directory, "dpkg", "-x", str(package), str(tree))
    initrd = directory / "initrd"
    initrd.write_bytes(gzip.compress(b"".join(_files(tree, more)), 1))
    return Linux(next(tree.glob("boot/vmlinuz-*")), initrd)


def _files(tree: Path, more: str) -> Iterator[bytes]:
    yield _entry("bin", 0o040755)
    yield _entry("dev", 0o040755)
    yield _entry("dev/console", 0o020600, device=(5, 1))
    yield _entry("bin/busybox", 0o100755, (tree / "bin/busybox").read_bytes())
    found = {path.stem: path for path in tree.glob("lib/modules/*/kernel/**/*.ko")}
    names = [name for name in MODULES if name in found]
    for name in names:
        yield _entry(f"{name}.ko", 0o100644, found[name].read_bytes())
    yield _entry("init", 0o100755, INIT.format(modules=" ".join(names), more=more).encode())
    yield _entry("TRAILER!!!", 0)


def _entry(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One file of a cpio archive (newc: gen_init_cpio's format)."""
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _run(directory: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout

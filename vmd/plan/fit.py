"""Whether kernel and images are what the board can start, by what their headers say of them."""

from __future__ import annotations

from ..definition.boot import Boot
from ..definition.guest import Guest
from ..errors import Refused
from . import memory
from .image import ImageFacts
from .observed import Observed

RELATED = {"mips64el": "mipsel", "mips64": "mips", "aarch64": "arm"}
"""Architecture → the narrower one whose kernels its QEMU runs as well (7.2 to 10.0)."""

LOADS_NOTHING = "{} loads an ELF alone: name the vmlinux that it was made of"

HINTS = {
    "uimage": "name the vmlinux that it was made of, or let a U-Boot start it: root: {tftp: {uboot: …}}",
    "trx": "kernel and root are both in it: name the vmlinux and the rootfs that it was made of",
    "fit": "name the vmlinux that it was made of",
    "squashfs": "name it as rootfs, and a kernel besides",
    "ext": "name it as rootfs, and a kernel besides",
    "jffs2": "name it as rootfs, and a kernel besides",
    "disk": "write it as image, where the board has firmware, or as rootfs beside a kernel",
    "xz": "unpack it: vmd unpacks gzip alone",
    "bzip2": "unpack it: vmd unpacks gzip alone",
    "zstd": "unpack it: vmd unpacks gzip alone",
    "lzma": "unpack it: vmd unpacks gzip alone",
    "unknown": "a raw kernel has no header that says where it belongs: name the vmlinux that it was made of",
    "empty": "was it built, or copied, to the end?",
}
"""Kind of a file that is no kernel for the board → what to do."""

NO_ROOT = ("elf", "uimage", "bzimage", "zimage", "arm64", "trx", "cpio", "empty", "squashfs-3", "qcow2")
"""Kinds of which no kernel mounts its root."""


def check(guest: Guest, observed: Observed) -> None:
    """See that kernel, initrd and root file system are what their keys want.

    A file that nobody has looked into is taken as it is.

    :raise Refused: one is something else, of another architecture, or cut short; says what it is.
    """
    boot = guest.boot
    if boot is None:
        return
    if found := observed.images.get(boot.kernel):
        _kernel(guest, boot, found)
    if boot.rootfs and (found := observed.images.get(boot.rootfs)):
        _rootfs(guest, boot, found)
    if boot.initrd and (found := observed.images.get(boot.initrd)):
        _whole(guest, "initrd", boot.initrd, found)
        if found.kind in ("elf", "uimage", "squashfs", "ext", "disk"):
            _refuse(guest, "initrd", boot.initrd, f"is {found.text}, no initramfs", "did you mean kernel or rootfs?")
    memory.check(guest, observed.images)


def _kernel(guest: Guest, boot: Boot, found: ImageFacts) -> None:
    wanted = ("uimage",) if boot.uboot else guest.board.kernels
    # what a board's own QEMU unpacks needs no unpacking
    bare = found if found.kind in wanted else found.bare
    if wanted and bare.kind not in wanted:
        hint = "make a uImage of it: mkimage -A mips -O linux -T kernel" if boot.uboot else _hint(bare.kind)
        _refuse(guest, "kernel", boot.kernel, f"is {found.text}: no kernel that {_starter(guest, boot)} takes", hint)
    _whole(guest, "kernel", boot.kernel, found)
    _of_arch(guest, boot, bare)


def _hint(kind: str) -> str:
    return HINTS.get(kind, "name the vmlinux that it was made of")


def _starter(guest: Guest, boot: Boot) -> str:
    return "U-Boot's bootm" if boot.uboot else f"{guest.board.name}'s QEMU"


def _of_arch(guest: Guest, boot: Boot, found: ImageFacts) -> None:
    """A wrong byte order is the usual mistake: the two are built side by side, and named alike."""
    made_for = found.arch
    fits = (guest.arch, RELATED.get(guest.arch))
    if made_for is None or made_for in fits or (found.kind == "uimage" and guest.arch.startswith(made_for)):
        return
    right = made_for in guest.board.arches
    hint = f"write arch: {made_for}" if right else f"name a kernel for {guest.arch}"
    raise Refused(f"{guest.name}: arch: {boot.kernel} is for {made_for}, and the guest is {guest.arch}", hint)


def _rootfs(guest: Guest, boot: Boot, found: ImageFacts) -> None:
    path, bare = boot.rootfs or "", found.bare
    if bare.kind in NO_ROOT:
        hint = "did you mean kernel?" if bare.kind in guest.board.kernels else "name an image of a file system"
        _refuse(guest, "rootfs", path, f"is {found.text}: no file system for a root", hint)
    if found.kind in ("xz", "bzip2", "zstd", "lzma") or (found.kind == "gzip" and found.inner is None):
        _refuse(guest, "rootfs", path, f"is {found.text}", "unpack it: vmd unpacks gzip alone")
    _whole(guest, "rootfs", path, found)


def _whole(guest: Guest, key: str, path: str, found: ImageFacts) -> None:
    """A copy that was interrupted has a good header, and makes for a guest that fails later and elsewhere."""
    bare = found.bare
    if bare.needs > found.bare_size and (found.content or not found.is_packed):
        told = f"is cut short: its header says {bare.needs} bytes, and it has {found.bare_size}"
        _refuse(guest, key, path, told, "copy it again")


def _refuse(guest: Guest, key: str, path: str, told: str, hint: str) -> None:
    raise Refused(f"{guest.name}: boot.{key}: {path} {told}", hint)

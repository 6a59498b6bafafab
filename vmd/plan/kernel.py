"""Direct kernel boot: what QEMU is given, the kernel's command line, and the images made ready before that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..definition.boot import Boot, Phram, below
from ..definition.guest import Guest
from ..definition.layout import GuestLayout
from .image import FILE_SYSTEMS, SECTOR, ImageFacts
from .observed import Observed
from .option import Option
from .ready import UnpackImage
from .step import MakeDisk, Up

Images = Mapping[str, ImageFacts]

PHRAM = "phram"
"""What the memory device is called in ``mtdparts=``; its one part is ``rootfs``, and /dev/mtdblock0."""


class Given(NamedTuple):
    """The files that QEMU gets in the place of those that are written; ``clone`` is written by the guest."""

    kernel: str
    initrd: str | None = None
    rootfs: str | None = None
    clone: str | None = None


def given(boot: Boot, layout: GuestLayout, images: Images) -> Given:
    """Say which files QEMU gets: an image that is packed, or is no whole number of sectors, is made ready first."""
    rootfs = boot.rootfs and ready(boot.rootfs, layout, images, SECTOR.get(boot.seen_as, 1))
    clone = None
    if rootfs and boot.rootfs and boot.seen_as == "disk":
        found = images.get(boot.rootfs)
        clone = f"{layout.images}/{_name(found, 'rootfs')}.qcow2"
    return Given(ready(boot.kernel, layout, images, 1), boot.initrd, rootfs, clone)


def ready(path: str, layout: GuestLayout, images: Images, sector: int) -> str:
    """The file that is used for an image: itself, unless it is packed, or no whole number of sectors."""
    found = images.get(path)
    if found is None or not (found.is_packed or found.size % sector):
        return path
    return f"{layout.images}/{_name(found, 'image')}.img"


def _name(found: ImageFacts | None, otherwise: str) -> str:
    """A name that follows from the content: another image gets another file, and the same one is kept."""
    return found.content.digest[:32] if found and found.content else otherwise


def made_ready(guest: Guest, layout: GuestLayout, observed: Observed) -> Iterator[Up]:
    """The steps that make images ready, those left out that were made before."""
    boot = guest.boot
    if boot is None:
        return
    use = given(boot, layout, observed.images)
    for written, ready in ((boot.kernel, use.kernel), (boot.rootfs, use.rootfs)):
        if written and ready and ready != written and ready not in observed.made:
            yield UnpackImage(written, ready)
    if use.clone and use.rootfs and boot.rootfs and use.clone not in observed.made:
        found = observed.images.get(boot.rootfs)
        yield MakeDisk(use.clone, found.disk_size if found else 0, "qcow2", use.rootfs, "raw")


def options(guest: Guest, use: Given, images: Images) -> Iterator[Option]:
    """A kernel that QEMU loads by itself, and its root file system's image where that lies in memory."""
    boot = guest.boot
    if boot is None:
        return
    yield Option("boot.kernel", ("-kernel", use.kernel))
    if use.initrd:
        yield Option("boot.initrd", ("-initrd", use.initrd))
    yield Option("boot.cmdline", ("-append", command_line(guest, images)))
    if boot.phram and use.rootfs:
        start = physical(guest, boot.phram)
        file = use.rootfs.replace(",", ",,")
        yield Option("boot.root", ("-device", f"loader,file={file},addr={start:#x},force-raw=on"))


def netdev(guest: Guest, index: int) -> str:
    """What QEMU's own network is told besides: the directory that it serves by TFTP, on the first NIC."""
    boot = guest.boot
    if index or boot is None or boot.tftp is None:
        return ""
    words = {"tftp": boot.tftp.directory, "bootfile": below(boot.kernel, boot.tftp.directory)}
    return "".join(f",{key}={value.replace(',', ',,')}" for key, value in words.items() if value)


def physical(guest: Guest, phram: Phram) -> int:
    """Where in memory an image lies, by its physical address."""
    return guest.board.ram.physical(phram.address) if guest.board.ram else phram.address


def command_line(guest: Guest, images: Images) -> str:
    """The kernel's command line: what the operator wrote, after what follows from the rest.

    ``console=``, ``root=`` and whatever else he names himself is his.
    """
    boot = guest.boot
    written = boot.cmdline if boot else ""
    words = [f"console={guest.board.console}"]
    if boot and boot.rootfs:
        words += _root_words(guest, boot, images.get(boot.rootfs))
    named = {_key(word) for word in written.split()}
    if "root" in named:
        named.add("ro")
    return " ".join([*(word for word in words if _key(word) not in named), written]).strip()


def _key(word: str) -> str:
    return word.partition("=")[0]


def _root_words(guest: Guest, boot: Boot, found: ImageFacts | None) -> list[str]:
    """What Linux calls the root file system's device (Documentation/admin-guide/devices.txt)."""
    if boot.phram:
        return phram_words(guest, boot.phram, found)
    if boot.tftp:
        # the network is the kernel's own business (CONFIG_IP_PNP); the initramfs fetches and mounts
        return ["ip=dhcp", f"root=tftp:{below(boot.rootfs or '', boot.tftp.directory)}", "ro"]
    if boot.seen_as == "cdrom":
        return ["root=/dev/sr0", "ro"]
    kind = _kind(boot.bus or guest.disk_bus)
    # the guest's own disk comes first
    return [f"root=/dev/{kind}{'b' if guest.disk and _kind(guest.disk_bus) == kind else 'a'}", "ro"]


def _kind(bus: str) -> str:
    return "vd" if bus == "virtio" else "sd"


def phram_words(guest: Guest, phram: Phram, found: ImageFacts | None) -> list[str]:
    """Hold an image's memory back from Linux, and make it a flash of one part.

    Without ``memmap`` it boots all the same, and is corrupted when memory gets scarce. A kernel that moves itself to
    a random place (CONFIG_RANDOMIZE_BASE) doesn't know what is held back.
    """
    start, size = physical(guest, phram), phram.size
    kind = FILE_SYSTEMS.get(found.bare.kind) if found else None
    return [
        f"memmap={size:#x}${start:#x}",
        f"phram.phram={PHRAM},{start:#x},{size:#x}",
        f"mtdparts={PHRAM}:{size:#x}(rootfs)",
        "nokaslr",
        "root=/dev/mtdblock0",
        *([f"rootfstype={kind}"] if kind else []),
        "ro",
    ]

"""The whole build, one step after the other, inside the namespace that :mod:`vmd.installer.namespace` opens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from vmd.errors import VmdError
from vmd.installer import disk, initramfs, iso, loader, namespace, root
from vmd.installer.command import run

Announce = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what is being done now."""

_ROOM = 3 << 30  # bytes; the most that was seen in use is 1.2 GB
_PLACE = Path("/boot")  # exists on every Debian, and no build needs the host's own

_BOOTSTRAP = {  # how mmdebstrap 1.3 and 1.5 begin the lines that matter
    "running apt-get update": "reading package lists",
    "downloading packages": "downloading packages",
    "extracting archives": "extracting packages",
    "installing essential": "installing essential packages",
    "installing remaining": "installing packages",
}
STEPS = (
    *_BOOTSTRAP.values(),
    *(
        "configuring the guest",
        "making the disk image",
        "compressing the disk image",
        "making the initramfs",
        "writing the ISO",
    ),
)
"""What a build does, in order."""


def bake(release: str, key: str, work: Path, announce: Announce) -> None:
    """Leave the finished image as ``installer.iso`` in ``work``, and nothing else.

    To be called as root of a namespace of its own.

    :raise CommandFailed: when one of the programs fails.
    :raise VmdError: when there is no room.
    """

    def step(text: str) -> None:
        announce(STEPS.index(text), len(STEPS), text)

    _check_room(work)
    namespace.bind(work, _PLACE)
    os.chdir(_PLACE)
    os.umask(0o022)  # vmd's own is stricter, and would close the guest's /etc and /usr to its services
    _bake(release, key, _PLACE, step)


def _bake(release: str, key: str, work: Path, step: Callable[[str], None]) -> None:
    guest, tree = work / "root", work / "iso"
    root.bootstrap(release, guest, lambda line: _follow(line, step))
    step("configuring the guest")
    root.configure(release, guest)
    (tree / "vmd").mkdir(parents=True)
    image, payload = work / "disk.img", tree / "vmd/disk.img.zst"
    step("making the disk image")
    disk.build(guest, image)
    step("compressing the disk image")
    run("zstd", "-15", "--quiet", "--threads=0", "--force", image, "-o", payload)
    step("making the initramfs")
    settings = {"RELEASE": release, **_settings(image, payload)}
    initramfs.build(guest, work / "initramfs", settings, tree / "vmd/initrd.img")
    (tree / "vmd/boot.img").write_bytes(loader.boot_code())
    shutil.copyfile(guest / f"boot/vmlinuz-{initramfs.kernel_version(guest)}", tree / "vmd/vmlinuz")
    step("writing the ISO")
    iso.build(tree, key, work / "installer.iso")


def _settings(image: Path, payload: Path) -> dict[str, str]:
    smallest = image.stat().st_size // disk.MIB + disk.GROWTH_MIB
    return {"IMAGE_BYTES": str(payload.stat().st_size), "MIN_MIB": str(smallest)}


def _follow(line: str, step: Callable[[str], None]) -> None:
    for beginning, text in _BOOTSTRAP.items():
        if line.startswith(beginning):
            step(text)


def _check_room(work: Path) -> None:
    free = shutil.disk_usage(work).free
    if free < _ROOM:
        raise VmdError(
            f"{work} has {free >> 20} MiB free, a build takes up to {_ROOM >> 20}",
            "make room, or choose another directory",
        )

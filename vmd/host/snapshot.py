"""Snapshots inside a qcow2 image: by qemu-img where nobody uses it, by its QEMU, memory and all, where a guest runs.

What a live snapshot holds besides the disk is the guest's memory and devices, written into the same image. UEFI's
variables and the seed are not in it: QEMU keeps snapshots in qcow2 alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from vmd.host import job
from vmd.host.disk import SLOW, header, plain, qemu_img
from vmd.host.monitor import Monitor

NODE: Final = "disk"
"""The name of the node that is the guest's disk."""


class Snapshot(NamedTuple):
    """One snapshot: ``seconds`` since the epoch, ``memory`` in bytes, 0 where only the disk is in it."""

    tag: str
    seconds: float
    memory: int


async def snapshots(path: Path) -> tuple[Snapshot, ...]:
    """Read which snapshots a qcow2 image has, the oldest first, also while a guest runs on it.

    :raise CommandFailed: it is not there, or no qcow2.
    """
    return tuple(_snapshot(told) for told in (await header(path, "qcow2")).get("snapshots", ()))


def _snapshot(told: dict[str, Any]) -> Snapshot:
    return Snapshot(told["name"], told["date-sec"] + told["date-nsec"] / 1e9, told["vm-state-size"])


async def take(path: Path, tag: str) -> None:
    """Take a snapshot of an image that nobody uses.

    :raise CommandFailed: qemu-img failed; somebody uses it.
    """
    await _offline(path, "-c", tag)


async def restore(path: Path, tag: str) -> None:
    """Put an image that nobody uses back to a snapshot; the guest's memory, if it is in there, is not looked at.

    :raise CommandFailed: qemu-img failed; somebody uses it, or it has dirty bitmaps, which would be wrong after it.
    """
    await _offline(path, "-a", tag)


async def delete(path: Path, tag: str) -> None:
    """Remove a snapshot of an image that nobody uses.

    :raise CommandFailed: qemu-img failed; somebody uses it.
    """
    await _offline(path, "-d", tag)


async def bitmaps(path: Path) -> tuple[str, ...]:
    """The names of the dirty bitmaps in a qcow2 image.

    :raise CommandFailed: it is not there, or no qcow2.
    """
    told = (await header(path, "qcow2")).get("format-specific", {}).get("data", {})
    return tuple(each["name"] for each in told.get("bitmaps", ()))


async def remove_bitmap(path: Path, name: str) -> None:
    """Remove a dirty bitmap from an image that nobody uses.

    :raise CommandFailed: somebody uses it.
    """
    await qemu_img(path, "bitmap", "--remove", "-f", "qcow2", "--", plain(path), name)


async def _offline(path: Path, what: str, tag: str) -> None:
    # "qemu-img snapshot" has no -f (7.2 to 10.0): only as image options can a format be named
    await qemu_img(path, "snapshot", "-q", what, tag, "--image-opts", image_options(path), limit=SLOW)


def image_options(path: Path) -> str:
    """A qcow2 image as the option string that names its format; a comma in its path is doubled (qemu-img(1))."""
    return f"driver=qcow2,file.driver=file,file.filename={str(path.absolute()).replace(',', ',,')}"


async def on_running(
    monitor: Monitor, what: Literal["save", "load", "delete"], tag: str, progress: job.Progress | None = None
) -> None:
    """Save, load or delete a snapshot of a running guest's disk and memory (QEMU 6.0: ``snapshot-save`` and so on).

    The guest stands still meanwhile, and goes on after it if it ran before.

    :raise QemuFailed: QEMU could not.
    """
    name = f"snapshot-{what}"
    arguments: dict[str, Any] = {"job-id": name, "tag": tag, "devices": [NODE]}
    if what != "delete":
        arguments["vmstate"] = NODE
    await job.run(monitor, name, lambda: monitor.execute(name, timeout=job.STANDSTILL, **arguments), progress)

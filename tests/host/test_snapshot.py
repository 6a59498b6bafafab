"""Snapshots in a real qcow2, by qemu-img and by a real QEMU."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vmd.errors import CommandFailed, QemuFailed
from vmd.host import snapshot
from vmd.host.disk import create
from vmd.host.monitor import Monitor
from vmd.host.run import run
from vmd.host.snapshot import NODE, delete, on_running, restore, snapshots, take

from .conftest import Spawn

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-utils is not installed")

MIB = 1 << 20


async def write(path: Path, pattern: int, form: str = "qcow2") -> None:
    await run(("qemu-io", "-f", form, "-c", f"write -P {pattern} 0 64k", str(path.absolute())), timeout=60)


async def first_byte(path: Path, form: str = "qcow2") -> int:
    out = await run(("qemu-io", "-f", form, "-r", "-c", "read -v 0 1", str(path.absolute())), timeout=60)
    return int(out.split("00000000:")[1].split()[0], 16)


@pytest.mark.parametrize("name", ["disk", "a,b", "c:d", "with space"])
async def test_of_an_image_nobody_uses(tmp_path: Path, name: str) -> None:
    disk = tmp_path / name
    await create(disk, MIB)
    await write(disk, 1)
    await take(disk, "one")
    await write(disk, 2)
    (found,) = await snapshots(disk)
    assert (found.tag, found.memory) == ("one", 0)
    await restore(disk, "one")
    assert await first_byte(disk) == 1
    await delete(disk, "one")
    assert await snapshots(disk) == ()


async def test_a_raw_image_is_never_taken_for_a_qcow2(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * MIB)
    with pytest.raises(CommandFailed, match="not in qcow2 format"):
        await take(disk, "one")
    assert disk.read_bytes() == b"\0" * MIB


@pytest.fixture
async def qemu(start_qemu: Spawn, tmp_path: Path) -> AsyncIterator[Monitor]:
    """A QEMU, paused, with a disk, a FAT drive of a directory, and blank flash as UEFI's variables are."""
    disk, flash, seed, socket = (tmp_path / name for name in ("disk.qcow2", "flash", "seed", "qmp"))
    await create(disk, MIB)
    flash.write_bytes(b"\xff" * MIB)
    seed.mkdir()
    nodes = (
        {"driver": "qcow2", "node-name": NODE, "file": {"driver": "file", "filename": str(disk)}},
        {"driver": "vvfat", "node-name": "seed", "dir": str(seed), "floppy": True, "read-only": True},
        {"driver": "raw", "node-name": "pflash0", "file": {"driver": "file", "filename": str(flash)}},
    )
    options = [word for node in nodes for word in ("-blockdev", json.dumps(node))]
    drives = ("-device", f"virtio-blk-pci,drive={NODE}", "-device", "virtio-blk-pci,drive=seed")
    chardev = f"socket,id=qmp,path={socket},server=on,wait=off"
    process = await start_qemu(
        "-S",
        "-chardev",
        chardev,
        "-mon",
        "chardev=qmp,mode=control",
        *options,
        *drives,
        "-machine",
        "pflash0=pflash0",
    )
    monitor = await Monitor.connect(socket, process_exited=process.exited, timeout=60)
    yield monitor
    await monitor.close()


async def test_of_a_running_guest_memory_and_all(qemu: Monitor, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    await on_running(qemu, "save", "one", lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    (found,) = await snapshots(tmp_path / "disk.qcow2")
    assert found.tag == "one"
    assert found.memory > 0
    await on_running(qemu, "load", "one")
    assert await qemu.status() == "prelaunch"
    await on_running(qemu, "delete", "one")
    assert await snapshots(tmp_path / "disk.qcow2") == ()
    assert await qemu.execute("query-jobs") == []


async def test_what_qemu_cannot_do_has_its_words_and_leaves_no_job(qemu: Monitor) -> None:
    with pytest.raises(QemuFailed, match=r"snapshot-load failed: .*nowhere"):
        await on_running(qemu, "load", "nowhere")
    assert await qemu.execute("query-jobs") == []


async def test_an_image_in_use_is_left_alone(qemu: Monitor, tmp_path: Path) -> None:
    assert qemu.connected
    with pytest.raises(CommandFailed, match="lock") as refused:
        await take(tmp_path / "disk.qcow2", "one")
    assert "is held by process" in refused.value.hint


def test_a_comma_in_a_path_is_doubled(tmp_path: Path) -> None:
    assert snapshot.image_options(tmp_path / "a,b").endswith("/a,,b")

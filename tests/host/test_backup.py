"""Backups by a real QEMU and by qemu-storage-daemon, their archive, and the way back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from vmd.errors import CommandFailed, QemuFailed, Refused, VmdError
from vmd.host import archive, backup
from vmd.host.archive import Archive, Part
from vmd.host.backup import back_up, bitmaps, forget, offline
from vmd.host.copy import copy
from vmd.host.disk import create, info
from vmd.host.monitor import Monitor

from .conftest import Spawn
from .test_snapshot import first_byte, write

pytestmark = pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="qemu-system-common is not installed")

MIB = 1 << 20

Write = Callable[[int], Awaitable[None]]
Qemu = Callable[[], Awaitable[tuple[Monitor, Write]]]


@pytest.fixture
async def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk, of: alice"
    await create(path, 4 * MIB)
    await write(path, 1)
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    (tmp_path / "kept").mkdir()
    return Archive(tmp_path / "kept", "alice", "c0ffee")


async def once(monitor: Monitor, kept: Archive, *, lend: bool = False, full: bool = False) -> Archive:
    """Make the next backup of an archive, as a daemon would."""
    number, above = kept.next_number, kept.parts[-1] if kept.parts and not full else None
    made, size = kept.directory / "made", await backup.virtual_size(monitor)
    await create(made, size)
    since = kept.mark(above.number) if above else None
    rest = await back_up(monitor, made, since=since, mark=kept.mark(number), lend=lend)
    assert not rest
    part = Part(number, kept.path(number).name, 1.5, 0, size, "", above.file if above else "", rest)
    grown = await archive.add(kept, made, part)
    await forget(monitor, [name for name in await bitmaps(monitor) if name != kept.mark(number)])
    return grown


async def test_offline_first_all_and_then_what_changed(disk: Path, kept: Archive, tmp_path: Path) -> None:
    for pattern in (1, 2, 3):
        await write(disk, pattern)
        async with offline(disk, "qcow2", tmp_path) as monitor:
            kept = await once(monitor, kept)
    assert archive.read(kept.directory, "alice") == kept
    assert [part.backing for part in kept.parts] == ["", "alice.0001.qcow2", "alice.0002.qcow2"]
    await archive.verify(kept, kept.upto(None))
    for number in (1, 2, 3):
        await copy(kept.path(number), "qcow2", tmp_path / f"back{number}")
        assert await first_byte(tmp_path / f"back{number}") == number
    moved = tmp_path / "moved"
    kept.directory.rename(moved)
    assert await first_byte(moved / "alice.0003.qcow2") == 3


async def test_what_did_not_change_is_not_copied(disk: Path, kept: Archive, tmp_path: Path) -> None:
    async with offline(disk, "qcow2", tmp_path) as monitor:
        kept = await once(monitor, await once(monitor, kept))
    assert await first_byte(kept.path(2)) == 1
    out = await backup_map(kept.path(2))
    assert {each["depth"] for each in out if each["data"]} == {1}


async def backup_map(path: Path) -> list[dict[str, object]]:
    from vmd.host.disk import qemu_img

    found: list[dict[str, object]] = json.loads(
        await qemu_img(path, "map", "-f", "qcow2", "--output=json", "--", str(path))
    )
    return found


@pytest.fixture
async def qemu(start_qemu: Spawn, disk: Path, tmp_path: Path) -> AsyncIterator[Qemu]:
    """A QEMU on the disk, and what writes to the disk through it."""
    monitors: list[Monitor] = []

    async def qemu() -> tuple[Monitor, Callable[[int], Awaitable[None]]]:
        socket = tmp_path / "qmp"
        socket.unlink(missing_ok=True)
        file = {"driver": "file", "filename": str(disk)}
        node = json.dumps({"driver": "qcow2", "node-name": "disk", "file": file})
        chardev = f"socket,id=qmp,path={socket},server=on,wait=off"
        device = ("-blockdev", node, "-device", "virtio-blk-pci,drive=disk,id=disk-drive")
        process = await start_qemu("-S", "-chardev", chardev, "-mon", "chardev=qmp,mode=control", *device)
        monitor = await Monitor.connect(socket, process_exited=process.exited, timeout=60)
        monitors.append(monitor)
        await monitor.cont()  # a QEMU that stands still keeps what it was lent (7.2)

        async def write(pattern: int) -> None:
            device = "/machine/peripheral/disk-drive/virtio-backend"
            said = await monitor.hmp(f'qemu-io -d {device} "write -P {pattern} 0 64k"')
            assert said == ""  # it would say so if it could not

        return monitor, write

    yield qemu
    for monitor in monitors:
        await monitor.close()


async def test_of_a_running_guest_and_over_its_end(qemu: Qemu, kept: Archive, tmp_path: Path) -> None:
    monitor, write = await qemu()
    kept = await once(monitor, kept, lend=True)
    await write(2)
    kept = await once(monitor, kept, lend=True)
    assert await monitor.execute("query-fdsets") == []
    await write(3)
    await monitor.quit()
    await monitor.disconnected
    monitor, write = await qemu()
    kept = await once(monitor, kept, lend=True)
    await write(4)
    await archive.verify(kept, kept.upto(None))
    assert [await first_byte(kept.path(number)) for number in (1, 2, 3)] == [1, 2, 3]
    assert kept.parts[2].backing == "alice.0002.qcow2"


async def test_a_file_that_qemu_may_not_open(qemu: Qemu, kept: Archive, tmp_path: Path) -> None:
    monitor, _ = await qemu()
    await create(kept.directory / "made", 4 * MIB)
    with pytest.raises(QemuFailed):
        await back_up(monitor, kept.directory / "nowhere" / "made")
    target = kept.directory / "made"
    target.chmod(0o600)
    assert await back_up(monitor, target, lend=True) is False
    assert await first_byte(target) == 1


async def test_a_bitmap_of_a_qemu_that_was_killed_is_not_relied_on(qemu: Qemu, kept: Archive) -> None:
    monitor, write = await qemu()
    kept = await once(monitor, kept)
    await monitor.quit()
    await monitor.disconnected
    monitor, write = await qemu()
    await write(2)
    pid = await _pid_of(kept.directory.parent / "disk, of: alice")
    os.kill(pid, 9)
    await monitor.disconnected
    monitor, _ = await qemu()
    assert await bitmaps(monitor) == {kept.mark(1): False}
    await forget(monitor, [kept.mark(1)])
    kept = await once(monitor, kept, full=True)
    assert kept.parts[1].backing == ""
    assert await first_byte(kept.path(2)) == 2


async def _pid_of(disk: Path) -> int:
    from vmd.host.holder import holder

    found = holder(disk)
    assert found
    return found.pid


async def test_what_fails_leaves_no_bitmap_and_no_node(qemu: Qemu, kept: Archive) -> None:
    monitor, _ = await qemu()
    made = kept.directory / "made"
    await create(made, MIB)  # too small
    with pytest.raises(QemuFailed):
        await back_up(monitor, made, mark="mark")
    assert await bitmaps(monitor) == {}
    assert [node["node-name"] for node in await monitor.execute("query-named-block-nodes")].count(
        "backup-target"
    ) == 0


async def test_a_backup_that_nobody_waits_for_any_more_is_cleared_away(qemu: Qemu, kept: Archive) -> None:
    monitor, write = await qemu()
    left, made = kept.directory / "left", kept.directory / "made"
    for path in (left, made):
        await create(path, 4 * MIB)
    node = {"driver": "qcow2", "node-name": "backup-target", "file": {"driver": "file", "filename": str(left)}}
    await monitor.execute("blockdev-add", **node)  # type: ignore[arg-type]  # its names have hyphens
    slow = {"job-id": "backup", "device": "disk", "target": "backup-target", "sync": "full", "speed": 1}
    await monitor.execute("blockdev-backup", **slow, **{"auto-dismiss": False})  # type: ignore[arg-type]  # likewise
    await write(2)
    assert await back_up(monitor, made) is False
    assert await first_byte(made) == 2
    assert await monitor.execute("query-jobs") == []


async def test_a_disk_in_use_cannot_be_opened_offline(qemu: Qemu, disk: Path, tmp_path: Path) -> None:
    await qemu()
    with pytest.raises(QemuFailed, match="lock"):
        async with offline(disk, "qcow2", tmp_path):
            pytest.fail("it was opened")


async def test_damage_is_found(disk: Path, kept: Archive, tmp_path: Path) -> None:
    async with offline(disk, "qcow2", tmp_path) as monitor:
        kept = await once(monitor, await once(monitor, kept))
    first, whole = kept.path(1), kept.path(1).read_bytes()
    first.write_bytes(whole[:-1])
    with pytest.raises(VmdError, match=r"alice\.0001\.qcow2 is not what it was"):
        await archive.verify(kept, kept.upto(2))
    first.unlink()
    with pytest.raises(VmdError, match=r"alice\.0001\.qcow2 is gone"):
        await archive.verify(kept, kept.upto(2))
    first.symlink_to("/etc/passwd")
    with pytest.raises(VmdError, match="is a link"):
        await archive.verify(kept, kept.upto(2))


async def test_nothing_is_overwritten(kept: Archive) -> None:
    made = kept.directory / "made"
    await create(made, MIB)
    kept.path(1).write_bytes(b"precious")
    with pytest.raises(Refused, match="exists already"):
        await archive.add(kept, made, Part(1, kept.path(1).name, 0.0, 0, MIB, "", "", True))
    assert kept.path(1).read_bytes() == b"precious"


PART = (
    '{"number": 1, "file": "alice.0001.qcow2", "seconds": 1, "bytes": 1, "size": 1, "sha256": "", "at_rest": true, '
)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{",
        '{"form": 2, "guest": "alice", "chain": "x", "parts": []}',
        '{"form": 1, "guest": "bob", "chain": "x", "parts": []}',
        '{"form": 1, "guest": "alice", "parts": []}',
        '{"form": 1, "guest": "alice", "chain": "x", "parts": [{"file": "../disk"}]}',
        '{"form": 1, "guest": "alice", "chain": "x", "parts": [' + PART + '"backing": "/etc/shadow"}]}',
        '{"form": 1, "guest": "alice", "chain": "x", "parts": ['
        + PART.replace("alice.0001", "x")
        + '"backing": ""}]}',
    ],
)
def test_a_manifest_that_is_none(kept: Archive, manifest: str) -> None:
    kept.manifest.write_text(manifest)
    with pytest.raises(VmdError, match=r"alice\.backup\.json"):
        archive.read(kept.directory, "alice")


def test_what_a_manifest_does_not_tell_of(kept: Archive, tmp_path: Path) -> None:
    assert archive.read(kept.directory, "bob") is None
    with pytest.raises(VmdError, match="is no directory"):
        archive.read(tmp_path / "nowhere", "alice")
    with pytest.raises(VmdError, match="tells of no backup"):
        kept.upto(None)


async def test_a_copy_needs_no_backing_file(disk: Path, tmp_path: Path) -> None:
    clone, whole = tmp_path / "clone", tmp_path / "whole"
    await create(clone, backing=disk, backing_format="qcow2")
    await copy(clone, "qcow2", whole)
    assert (await info(whole, "qcow2")).backing_file == ""
    assert await first_byte(whole) == 1
    with pytest.raises(Refused, match="exists already"):
        await copy(clone, "qcow2", whole)
    with pytest.raises(CommandFailed):
        await copy(clone, "raw-is-no-such", tmp_path / "other")
    assert not (tmp_path / "other").exists()

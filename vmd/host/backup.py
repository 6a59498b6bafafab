"""A copy of a disk as it is at one moment, whether a guest runs on it or not; after the first, only what changed.

QEMU does it (``blockdev-backup``, 7.2 to 10.0): what the guest overwrites is copied first. A persistent dirty bitmap
in the qcow2 remembers what changed since. Of a guest that doesn't run, qemu-storage-daemon does the very same.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vmd.errors import CommandFailed, QemuFailed, VmdError
from vmd.host import agent, job
from vmd.host.monitor import Monitor
from vmd.host.process import spawn
from vmd.host.snapshot import NODE

PROGRAM: Final = "qemu-storage-daemon"
TARGET: Final = "backup-target"
"""The name of the node that is written to."""

AGENT_ANSWERS, FREEZE_TAKES, THAW_TAKES = 2.0, 20.0, 10.0
"""Seconds: for an agent to say that it is there, to write out every file system, and to let go of them."""


async def bitmaps(monitor: Monitor) -> dict[str, bool]:
    """The dirty bitmaps of the disk, and of each whether it can be relied on: not after QEMU was killed."""
    disk = await _node(monitor)
    found = disk.get("dirty-bitmaps", ())
    return {each["name"]: not each.get("inconsistent", False) for each in found}


async def virtual_size(monitor: Monitor) -> int:
    """How large the disk is now, in bytes."""
    return int((await _node(monitor))["image"]["virtual-size"])


async def forget(monitor: Monitor, names: Iterable[str]) -> None:
    """Remove these dirty bitmaps.

    :raise QemuFailed: one is not there, or in use.
    """
    for name in names:
        await monitor.execute("block-dirty-bitmap-remove", node=NODE, name=name)


async def _node(monitor: Monitor) -> dict[str, Any]:
    for node in await monitor.execute("query-named-block-nodes", flat=True):
        if node["node-name"] == NODE:
            return dict(node)
    raise QemuFailed(f"QEMU has no node {NODE!r}: the guest was started without a disk")


async def back_up(  # noqa: PLR0913 - what a backup is made of
    monitor: Monitor,
    target: Path,
    *,
    since: str | None = None,
    mark: str | None = None,
    lend: bool = False,
    agent_path: Path | None = None,
    progress: job.Progress | None = None,
) -> bool:
    """Copy the disk as it is at the moment this begins into ``target``, an empty qcow2 as large as the disk.

    ``since`` names the bitmap of what changed since an earlier copy: then only that is copied. ``mark`` names a new
    bitmap that remembers what changes from now on; it is gone again if this fails. ``lend`` hands QEMU the open file,
    for one that could not open it. Says whether the guest's file systems were at rest: an agent at ``agent_path``
    answered.

    :raise QemuFailed: QEMU could not.
    """
    await job.clear(monitor, "backup")
    await _close(monitor, None)  # what a vmd left open that was killed in the middle of a backup
    lent = await _open(monitor, target, lend)
    frozen = False

    async def begin() -> None:
        nonlocal frozen
        async with at_rest(agent_path) as frozen:
            await monitor.execute("transaction", actions=_actions(since, mark))

    try:
        await job.run(monitor, "backup", begin, progress)
    except BaseException:
        if mark:
            with suppress(VmdError):
                await forget(monitor, [mark])
        raise
    finally:
        await _close(monitor, lent)
    return frozen


def _actions(since: str | None, mark: str | None) -> list[dict[str, Any]]:
    """What must happen at one and the same moment: the copy begins, and with it what is remembered."""
    backup = {"job-id": "backup", "device": NODE, "target": TARGET, "sync": "full", "auto-dismiss": False}
    if since:
        # "never": the bitmap stays as it is until the caller has made sure of the copy
        backup |= {"sync": "bitmap", "bitmap": since, "bitmap-mode": "never"}
    actions = [{"type": "blockdev-backup", "data": backup}]
    if mark:
        bitmap = {"node": NODE, "name": mark, "persistent": True}
        actions.insert(0, {"type": "block-dirty-bitmap-add", "data": bitmap})
    return actions


async def _open(monitor: Monitor, target: Path, lend: bool) -> int | None:
    """Have QEMU open what it shall write; the number of the descriptor set, where the file was lent."""
    lent, path = None, str(target)
    if lend:
        descriptor = os.open(target, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            lent = await monitor.lend(descriptor)
        finally:
            os.close(descriptor)
        path = f"/dev/fdset/{lent}"
    file = {"driver": "file", "filename": path}
    node: dict[str, Any] = {"driver": "qcow2", "node-name": TARGET, "backing": None, "file": file}
    await monitor.execute("blockdev-add", **node)
    return lent


async def _close(monitor: Monitor, lent: int | None) -> None:
    node: dict[str, Any] = {"node-name": TARGET}
    with suppress(VmdError):
        await monitor.execute("blockdev-del", **node)
        if lent is not None:
            await monitor.take_back(lent)


@asynccontextmanager
async def at_rest(agent_path: Path | None) -> AsyncIterator[bool]:
    """Keep the guest's file systems written out and still; yields whether they are. They are always let go."""
    if agent_path is None or not await _answers(agent_path):
        yield False
        return
    frozen = False
    try:
        with suppress(VmdError):
            frozen = bool(await agent.ask(agent_path, "guest-fsfreeze-freeze", timeout=FREEZE_TAKES))
        yield frozen
    finally:
        await asyncio.shield(_thaw(agent_path))  # also when the freeze did not answer: it may come late


async def _answers(agent_path: Path) -> bool:
    try:
        await agent.ask(agent_path, "guest-ping", timeout=AGENT_ANSWERS)
    except VmdError:
        return False
    return True


async def _thaw(agent_path: Path) -> None:
    for _ in range(3):
        with suppress(VmdError):
            await agent.ask(agent_path, "guest-fsfreeze-thaw", timeout=THAW_TAKES)
            return


@asynccontextmanager
async def offline(disk: Path, format: str, room: Path) -> AsyncIterator[Monitor]:  # noqa: A002 - the field's word
    """Open a disk that no guest runs on, as its QEMU would; ``room`` is a directory for the socket and the log.

    :raise QemuFailed: it can't be opened: somebody uses it, or it is not of that format.
    :raise VmdError: qemu-storage-daemon (Debian's qemu-system-common) is not installed.
    """
    socket, log = room / "disk", room / "disk.log"
    for path in (socket, log):
        path.unlink(missing_ok=True)
    node = {"driver": format, "node-name": NODE, "file": {"driver": "file", "filename": str(disk.absolute())}}
    chardev = f"socket,id=qmp,path={str(socket).replace(',', ',,')},server=on,wait=off"
    argv = (PROGRAM, "--blockdev", json.dumps(node), "--chardev", chardev, "--monitor", "chardev=qmp")
    try:
        process = await spawn(argv, log=log, die_with_parent=True)
    except CommandFailed as error:
        raise VmdError(f"{PROGRAM} can't be started: {error}", "apt install qemu-system-common") from error
    try:
        monitor = await _met(socket, process.exited, log)
        yield monitor
        await monitor.quit()
        await process.exited  # it writes its bitmaps last of all
    finally:
        await process.terminate(grace=5.0)


async def _met(socket: Path, exited: asyncio.Future[Any], log: Path) -> Monitor:
    try:
        return await Monitor.connect(socket, process_exited=exited)
    except VmdError as error:
        said = log.read_text(errors="replace").strip()[-500:]
        raise QemuFailed(f"the disk can't be opened: {said or error.message}") from error

"""A real QEMU gets its tap by descriptor, as nobody and in its sandbox, and takes the tap with it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.network.conftest import Namespace
from vmd.host.credentials import Credentials
from vmd.host.link.facts import find
from vmd.host.link.segment import make_segment
from vmd.host.link.tap import close, open_tap, plug
from vmd.host.process import Process, spawn

GUEST_MAC = "52:54:00:12:34:56"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
QEMU = "qemu-system-x86_64"


@pytest.fixture
async def qemu(netns: Namespace, tmp_path: Path) -> AsyncIterator[Process]:
    """A QEMU with a NIC of two queues in the segment ``seg``; its guest stands still."""
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is not installed")
    nobody = pwd.getpwnam("nobody")
    make_segment("seg", "02:00:00:00:09:01")
    queues = open_tap("vmt0", queues=2)
    plug("vmt0", "seg", GUEST_MAC)
    line = (
        QEMU,
        "-nodefaults",
        "-display",
        "none",
        "-accel",
        "tcg",
        "-m",
        "16",
        "-S",
        "-qmp",
        "stdio",
        "-sandbox",
        SANDBOX,
    )
    nic = ("-netdev", f"tap,id=n0,fds={':'.join(map(str, queues))},vhost=off")
    device = ("-device", f"virtio-net-pci,netdev=n0,mac={GUEST_MAC},mq=on,vectors=6")
    user = Credentials(nobody.pw_uid, nobody.pw_gid, ())
    found = await spawn((*line, *nic, *device), log=tmp_path / "log", user=user, pass_fds=queues, cwd=Path("/"))
    close(queues)
    yield found
    await found.terminate(0)


async def greeting(log: Path, qemu: Process) -> str:
    """What QEMU says once all its devices are made."""
    while qemu.alive and not (text := log.read_text()).endswith("\n"):  # noqa: ASYNC110 - it says so in a file
        await asyncio.sleep(0)
    return text


async def test_tap_is_there_as_long_as_its_qemu(netns: Namespace, qemu: Process, tmp_path: Path) -> None:
    assert (await greeting(tmp_path / "log", qemu)).startswith('{"QMP":')
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{qemu.pid}/status").read_text().splitlines())
    assert status["Uid"].split()[0] == str(pwd.getpwnam("nobody").pw_uid)
    found = find("vmt0")
    assert found
    assert (found["master"], found["kind"]) == ("seg", "tun")
    assert qemu.alive
    os.kill(qemu.pid, signal.SIGKILL)
    await qemu.exited
    assert netns.links() == {"lo", "seg"}

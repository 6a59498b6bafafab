"""A segment without root: frames between sockets in one directory, and between two real QEMUs."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest

from vmd.host import switch
from vmd.host.process import Process, find, spawn

QEMU = "qemu-system-x86_64"
PATIENCE = 60.0
ALL = b"\xff" * 6


def mac(number: int) -> bytes:
    return bytes((0x52, 0x54, 0, 0, 0, number))


class Guest:
    """A guest's socket in a segment's directory."""

    all: ClassVar[list[Guest]] = []

    def __init__(self, directory: Path, number: int) -> None:
        self.number = number
        self.switch = str(directory / switch.NAME)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.settimeout(PATIENCE)
        self.sock.bind(str(directory / f"g{number}.0"))
        Guest.all.append(self)

    def send(self, to: bytes, text: bytes) -> bytes:
        frame = to + mac(self.number) + b"\x88\xb5" + text
        self.sock.sendto(frame, self.switch)
        return frame

    def hear(self) -> bytes:
        return self.sock.recv(2048)

    @property
    def hears_nothing(self) -> bool:
        return not select.select([self.sock], [], [], 0)[0]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vmd-") as name:  # a socket's path is short
        yield Path(name)
        for pid in switches(Path(name)):
            os.kill(pid, signal.SIGKILL)
            reap(pid)
    while Guest.all:
        Guest.all.pop().sock.close()


@pytest.fixture
def lifelines() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


async def join(directory: Path, lifelines: ExitStack) -> int:
    lifeline = await switch.join(directory)
    lifelines.callback(os.close, lifeline)
    return lifeline


def reap(pid: int) -> None:
    """Wait for one that we started and that has ended."""
    os.waitpid(pid, 0)


def switches(directory: Path) -> list[int]:
    return [
        found.identity.pid for found in find(lambda argv: "vmd.host.switch" in argv and argv[-1] == str(directory))
    ]


async def test_frames_go_to_whom_they_are_for(directory: Path, lifelines: ExitStack) -> None:
    await join(directory, lifelines)
    one, two, three = (Guest(directory, number) for number in (1, 2, 3))
    for_all = one.send(ALL, b"who is two?")
    assert two.hear() == for_all
    assert three.hear() == for_all
    for_one = two.send(mac(1), b"I am")
    assert one.hear() == for_one
    for_two = one.send(mac(2), b"welcome")
    assert two.hear() == for_two
    after = one.send(ALL, b"that is all")
    assert three.hear() == after, "three heard what was not for it"
    assert one.hears_nothing, "one heard itself"


async def test_a_guest_that_comes_again_is_found_where_it_is(directory: Path, lifelines: ExitStack) -> None:
    await join(directory, lifelines)
    one, two = Guest(directory, 1), Guest(directory, 2)
    one.send(ALL, b"")
    two.hear()
    two.send(mac(1), b"")
    one.hear()
    two.sock.close()
    one.send(mac(2), b"lost")
    (directory / "g2.0").unlink()
    again = Guest(directory, 2)
    said = one.send(mac(2), b"are you there?")
    heard = again.hear()
    assert said in (heard, heard.endswith(b"lost") and again.hear())  # what was on its way may have come after all


async def test_many_are_on_one_switch(directory: Path, lifelines: ExitStack) -> None:
    for _ in range(3):
        await join(directory, lifelines)
    assert len(switches(directory)) == 1


async def test_it_goes_with_the_last_who_holds_it(directory: Path) -> None:
    first, second = await switch.join(directory), await switch.join(directory)
    (pid,) = switches(directory)
    held = os.pidfd_open(pid)
    os.close(first)
    guest, other = Guest(directory, 1), Guest(directory, 2)
    said = guest.send(ALL, b"still there")
    assert other.hear() == said
    os.close(second)
    assert select.select([held], [], [], PATIENCE)[0], "it lives on, alone"
    os.close(held)
    reap(pid)
    third = await switch.join(directory)
    said = guest.send(ALL, b"and again")
    assert other.hear() == said
    os.close(third)


async def test_one_that_was_killed_is_replaced_under_its_guests(directory: Path, lifelines: ExitStack) -> None:
    await join(directory, lifelines)
    one, two = Guest(directory, 1), Guest(directory, 2)
    (pid,) = switches(directory)
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    await join(directory, lifelines)
    said = one.send(ALL, b"here we are")
    assert two.hear() == said


async def qemu(directory: Path, number: int, lifeline: int) -> tuple[Process, socket.socket]:
    """A QEMU in the segment, and what is plugged into it in place of a guest."""
    outside, inside = (
        directory.parent / f"{directory.name}-{number}-out",
        directory.parent / f"{directory.name}-{number}-in",
    )
    own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    own.settimeout(PATIENCE)
    own.bind(str(outside))
    unix = "local.type=unix,local.path={},remote.type=unix,remote.path={}"
    netdevs = (
        f"dgram,id=nic0,{unix.format(directory / f'g{number}.0', directory / switch.NAME)}",
        f"dgram,id=guest,{unix.format(inside, outside)}",
        "hubport,id=a,hubid=0,netdev=nic0",
        "hubport,id=b,hubid=0,netdev=guest",
    )
    words = ("-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16", "-sandbox", "on,spawn=deny")
    line = (QEMU, *words, *(word for netdev in netdevs for word in ("-netdev", netdev)))
    process = await spawn(line, log=directory.parent / f"{directory.name}-{number}-log", pass_fds=(lifeline,))
    os.close(lifeline)
    while not inside.exists():  # it has no other way to say that it is there
        assert process.alive, (directory.parent / f"{directory.name}-{number}-log").read_text()
        select.select([], [], [], 0.01)
    own.connect(str(inside))
    return process, own


async def test_two_real_qemus_hear_each_other() -> None:
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is not installed")
    with tempfile.TemporaryDirectory(prefix="vmd-") as name:
        directory = Path(name, "lan")
        directory.mkdir()
        one, ones = await qemu(directory, 1, await switch.join(directory))
        two, twos = await qemu(directory, 2, await switch.join(directory))
        (pid,) = switches(directory)
        frame = ALL + mac(1) + b"\x88\xb5" + b"x" * 1500
        ones.send(frame)
        assert twos.recv(2048) == frame
        answer = mac(1) + mac(2) + b"\x88\xb5" + b"y" * 60
        twos.send(answer)
        assert ones.recv(2048) == answer
        held = os.pidfd_open(pid)
        for process, own in ((one, ones), (two, twos)):
            own.close()
            await process.terminate(0)
        assert select.select([held], [], [], PATIENCE)[0], "the switch outlives its guests"
        os.close(held)
        reap(pid)


def test_it_is_light_to_load() -> None:
    script = "import sys, vmd.host.switch; print(sorted({'pydantic', 'yaml', 'pyroute2'} & set(sys.modules)))"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

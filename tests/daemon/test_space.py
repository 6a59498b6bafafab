"""A host without room: a small file system of its own, in a mount namespace that only this vmd is in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.house import KEY, Vmd, at_console

ROOM = 4 << 20


class Small:
    """A full or not so full file system at ``directory``, as seen from its namespace."""

    def __init__(self, pid: int, directory: Path) -> None:
        self.enter = ("nsenter", "--target", str(pid), "--mount")
        self.directory = directory

    def run(self, *argv: str | Path, check: bool = True) -> None:
        subprocess.run((*self.enter, *argv), check=check, capture_output=True)

    def fill(self) -> None:
        self.run("dd", "if=/dev/zero", f"of={self.directory}/fill", "bs=4k", check=False)

    def make_room(self) -> None:
        self.run("rm", self.directory / "fill")


@pytest.fixture
def small(place: Path) -> Iterator[Small]:
    if os.geteuid() != 0 or not shutil.which("nsenter"):
        pytest.skip("needs root and nsenter, for a mount namespace of its own")
    directory = place / "small"
    directory.mkdir()
    argv = ("unshare", "--mount", "--propagation", "private", "cat")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"x")
        holder.stdin.flush()
        holder.stdout.read(1)  # cat runs, so it is in there
        small = Small(holder.pid, directory)
        small.run("mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=755", "tmpfs", directory)
        yield small
        holder.stdin.close()


@pytest.fixture
def squeezed(home: Vmd, small: Small) -> Vmd:
    """A running alice whose disk has no room to grow."""
    disk = f"disk: {{path: {small.directory}/alice.qcow2}}"
    image = f"image: {{path: {home.tiny_disk}, format: raw}}"
    home.define(f"guests:\n  alice: {{memory: 16M, {disk}, {image}, ssh_keys: [{KEY}], network: []}}\n")
    home.prefix = small.enter
    home.start()
    done = home.ctl("up", "alice", "--wait", "kernel")
    assert done.code == 0, done.err
    small.fill()
    return home


def test_a_full_host_pauses_a_guest_and_room_lets_it_go_on(squeezed: Vmd, small: Small) -> None:
    with at_console(squeezed) as console:
        console.type("w")
        assert squeezed.heard("paused")["why"] == "no space"
        told = squeezed.status()
        assert (told["state"], told["paused"]) == ("running", "no space")
        assert "paused: no space" in squeezed.ctl("list").out
        small.make_room()
        squeezed.heard("resumed")
        console.expect(b"tiny: written")  # and not "not written": it never saw an error
        assert console.leave() == 0
    assert squeezed.status()["paused"] is None


def test_room_that_came_while_vmd_was_dead(squeezed: Vmd, small: Small) -> None:
    with at_console(squeezed) as console:
        console.type("w")
        squeezed.heard("paused")
        console.leave()
    squeezed.kill()
    small.make_room()
    squeezed.start()
    squeezed.heard("resumed")
    with at_console(squeezed, "alice", "--tail", "4096") as console:
        console.expect(b"tiny: written")
        console.leave()


def test_a_paused_guest_can_be_stopped(squeezed: Vmd) -> None:
    with at_console(squeezed) as console:
        console.type("w")
        squeezed.heard("paused")
        console.leave()
    assert squeezed.ctl("down", "alice").code == 0
    assert squeezed.status()["state"] == "stopped"


def test_a_full_target_fails_a_backup_and_not_the_guest(home: Vmd, small: Small) -> None:
    image = f"image: {{path: {home.tiny_disk}, format: raw}}"
    home.define(f"guests:\n  alice: {{memory: 16M, {image}, ssh_keys: [{KEY}], network: []}}\n")
    home.prefix = small.enter
    home.start()
    assert home.ctl("up", "alice", "--wait", "kernel").code == 0
    small.fill()
    done = home.ctl("backup", "alice", str(small.directory))
    assert done.code == 1
    assert "No space left" in done.err
    assert home.status()["paused"] is None
    small.make_room()
    done = home.ctl("backup", "alice", str(small.directory))
    assert done.code == 0, done.err

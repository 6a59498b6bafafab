"""kill -9 of vmd before and after every step there is: the next vmd makes it good, and no disk is lost.

The steps are taken from the closed set itself: one without a way to provoke it here fails the test.
"""

from __future__ import annotations

import gzip
import os
import shutil
import signal
from collections.abc import Callable
from typing import get_args

import pytest

from tests.daemon.conftest import Tiny
from tests.daemon.house import PATIENCE, Vmd
from tests.daemon.namespace import in_a_namespace
from tests.plan.furnish import elf
from vmd.plan import step as steps

Words = tuple[str, ...]
Scene = Callable[[Vmd, Tiny], Words]
"""Brings a guest to where the step is next, and gives the vmctl words that have it done."""

UP: Words = ("up", "alice", "--wait", "process")
SIGNATURE = b"\x55\xaa"
"""How the boot sector of a disk that is still whole ends."""


def installed(vmd: Vmd, tiny: Tiny) -> Words:
    vmd.define_installed(tiny.installer())
    return UP


def left_half_made(vmd: Vmd, tiny: Tiny) -> Words:
    vmd.define_installed(tiny.installer("fails"))
    vmd.start()
    vmd.define_installed(tiny.installer("hangs"))
    begun = vmd.begin("up", "alice")
    vmd.heard("progress")
    vmd.kill()
    for pid in vmd.qemus():
        os.kill(pid, signal.SIGKILL)
    begun.communicate()
    (vmd.guest() / "install.json").unlink()
    vmd.define_installed(tiny.installer())
    return UP


def grown(vmd: Vmd, _: Tiny) -> Words:
    vmd.define_tiny("alice")
    text = vmd.fleet.joinpath("fleet.yaml").read_text()
    vmd.define(text.replace("format: raw", "format: raw, size: 2M"))
    return UP


def with_variables(vmd: Vmd, _: Tiny) -> Words:
    vmd.define_tiny("alice", more=", firmware: uefi")
    return UP


def unplugged(vmd: Vmd, _: Tiny) -> Words:
    vmd.define_tiny("alice", more=", network: [{network: user, link: down}]")
    return UP


def running(vmd: Vmd, more: str = "") -> None:
    """Have alice run, and no vmd."""
    vmd.define_tiny("alice", more=more)
    vmd.start()
    assert vmd.ctl("up", "alice").code == 0
    vmd.kill()


def shown_elsewhere(vmd: Vmd, _: Tiny) -> Words:
    running(vmd)
    vmd.define_tiny("alice", more=", vnc: 127.0.0.1:77")
    return ("apply",)


def less_memory(vmd: Vmd, _: Tiny) -> Words:
    vmd.define_tiny("alice")
    text = vmd.fleet.joinpath("fleet.yaml").read_text().replace("16M", "32M")
    vmd.define(text)
    vmd.start()
    assert vmd.ctl("up", "alice").code == 0
    vmd.kill()
    vmd.define(text.replace("32M", "24M"))
    return ("apply",)


def stopped(vmd: Vmd, _: Tiny) -> Words:
    running(vmd)
    return ("down", "alice", "--timeout", "2s")


def stopped_deaf(vmd: Vmd, _: Tiny) -> Words:
    running(vmd)
    for pid in vmd.qemus():
        os.kill(pid, signal.SIGSTOP)  # it answers nobody: only the last rung works
    return ("down", "alice", "--timeout", "1s")


def given_up(vmd: Vmd, tiny: Tiny) -> Words:
    left_half_made(vmd, tiny)
    return ("down", "alice")


def board(vmd: Vmd, boot: str = "") -> None:
    """Define alice as a router board with a kernel that does nothing; its QEMU runs all the same."""
    if not shutil.which("qemu-system-mipsel"):
        pytest.skip("qemu-system-mipsel is not installed")
    kernel = vmd.root / "vmlinux"
    kernel.write_bytes(elf(big=False))
    kernel.chmod(0o644)
    keys = f"machine: malta, memory: 32M, network: [], boot: {{kernel: {kernel}{boot}}}"
    vmd.define(f"guests:\n  alice: {{{keys}}}\n")


def packed(vmd: Vmd, _: Tiny) -> Words:
    rootfs = vmd.root / "root.img.gz"
    superblock = b"hsqs" + bytes(24) + (4).to_bytes(2, "little") + bytes(10) + (1 << 16).to_bytes(8, "little")
    rootfs.write_bytes(gzip.compress(superblock.ljust(1 << 16, b"\0")))
    rootfs.chmod(0o644)
    board(vmd, f", rootfs: {rootfs}, root: cdrom")
    return UP


def stopped_board(vmd: Vmd, _: Tiny) -> Words:
    board(vmd)
    vmd.start()
    assert vmd.ctl(*UP).code == 0
    vmd.kill()
    return ("down", "alice", "--timeout", "1s")


def on_a_segment(vmd: Vmd, _: Tiny) -> Words:
    in_a_namespace(vmd)
    vmd.define_tiny("alice", more=", network: lan")
    vmd.define("networks: {lan: {}}\n", "networks.yaml")
    return UP


def at_a_switch(vmd: Vmd, _: Tiny) -> Words:
    in_a_namespace(vmd, "mount --bind /dev/null /dev/net/tun")
    vmd.define_tiny("alice", more=", network: lan")
    vmd.define("networks: {lan: {}}\n", "networks.yaml")
    return UP


SCENES: dict[str, Scene] = {
    "add-segment": on_a_segment,
    "add-tap": on_a_segment,
    "add-switch": at_a_switch,
    "write-seed": installed,
    "make-disk": installed,
    "run-installer": installed,
    "accept-disk": installed,
    "start": installed,
    "discard-half-made": left_half_made,
    "grow-disk": grown,
    "make-variables": with_variables,
    "set-link": unplugged,
    "set-vnc": shown_elsewhere,
    "set-memory": less_memory,
    "remember": shown_elsewhere,
    "ask-agent": stopped,
    "press-power": stopped,
    "unpack-image": packed,
    "ask-ssh": stopped_board,
    "type-poweroff": stopped_board,
    "quit": stopped_deaf,
    "kill": stopped_deaf,
}

ELSEWHERE = {
    "build-iso": "the ISO's own builder keeps a build whole: tests/installer ends it in the middle",
    "make-flash": "it takes a real U-Boot to come past the step after it",
    "type-commands": "it takes a real U-Boot to type at",
}
"""Steps that are not reached here, and why."""


STEPS = {steps.name(object.__new__(kind)) for group in (steps.Up, steps.Down, steps.Live) for kind in get_args(group)}


def test_every_step_has_its_scene() -> None:
    assert {*SCENES, *ELSEWHERE} == STEPS


SLOW = {"quit", "kill"}
"""Steps that are reached only by a QEMU that hangs, and each question to it takes its time."""

CASES = [
    pytest.param(step, point, marks=pytest.mark.boot if step in SLOW else ())
    for step in sorted(SCENES)
    for point in ("before", "after")
]


@pytest.mark.parametrize(("step", "point"), CASES)
def test_killed_at_a_step(home: Vmd, tiny: Tiny, step: str, point: str) -> None:
    words = SCENES[step](home, tiny)
    dies(home, words, f"{step}:{point}")
    makes_good(home, words)


@pytest.mark.parametrize("scene", [installed, grown])
def test_killed_before_a_started_qemu_is_written_down(home: Vmd, tiny: Tiny, scene: Scene) -> None:
    words = scene(home, tiny)
    dies(home, words, "start:spawned")
    makes_good(home, words)


def dies(vmd: Vmd, words: Words, crash: str) -> None:
    """Have it done by a vmd that dies on the way."""
    vmd.entry, vmd.crash = "tests.daemon.crashing", crash
    vmd.start()
    asked = vmd.begin(*words)
    _, said = asked.communicate(timeout=PATIENCE)
    assert vmd.died(10.0) == -signal.SIGKILL, f"{crash} was never reached: {said.decode()}"
    vmd.entry, vmd.crash = "vmd.daemon", ""


def makes_good(vmd: Vmd, words: Words) -> None:
    """The next vmd comes to what was asked for, with one QEMU at most, nothing half-made, and the disk whole."""
    vmd.start()
    assert len(vmd.qemus()) <= 1, "two QEMUs"
    done = vmd.ctl(*words)
    assert done.code == 0, done.err
    assert len(vmd.qemus()) == (0 if words[0] == "down" else 1)
    assert vmd.status()["state"] == ("stopped" if words[0] == "down" else "running")
    assert not [path for path in vmd.guest().iterdir() if path.name.endswith(".tmp") or path.name.startswith(".")]
    if (disk := vmd.root / "alice.raw").exists():
        assert disk.read_bytes()[510:512] == SIGNATURE

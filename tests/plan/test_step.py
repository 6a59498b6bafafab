"""What every step says of itself, and whose fault it is that QEMU would not start."""

from __future__ import annotations

import json
import shutil
from typing import get_args

import pytest

from vmd.errors import CommandFailed
from vmd.host.run import run
from vmd.plan import step as steps
from vmd.plan.cable import AddSegment, AddSwitch, AddTap
from vmd.plan.cmdline import boot_line, words
from vmd.plan.goodbye import AskSsh, TypePoweroff
from vmd.plan.option import Option, blame
from vmd.plan.ready import MakeFlash, TypeCommands, UnpackImage
from vmd.plan.step import RunInstaller, Start

from .conftest import G, guest, place

OPTIONS = (Option("memory", ("-m", "1G")), Option("", ("-nodefaults",)))

MISSING = json.dumps({"driver": "file", "node-name": "d", "filename": "/no, such"})

SAYINGS = {
    steps.BuildIso("debian-12", "/i"): ("build-iso", "build the debian-12 installer ISO"),
    steps.WriteSeed("/s", (("ssh.pub", b""), ("user", b""))): ("write-seed", "write its seed: ssh.pub, user"),
    AddSegment("lan", "vmb0a", "02:00:00:00:00:01"): ("add-segment", "make the segment lan"),
    AddSwitch("lan", "/r/segments/lan"): ("add-switch", "have a switch for the segment lan"),
    AddTap("lan", "vmt0a", "vmb0a", "52:54:00:00:00:01", isolated=False, altnames=()): (
        "add-tap", "make a tap on lan"
    ),
    steps.MakeVariables("/t/VARS.fd", "/d/vars.fd"): ("make-variables", "make vars.fd from /t/VARS.fd"),
    UnpackImage("/srv/root.img.gz", "/d/images/0a.img"): ("unpack-image", "make root.img.gz ready"),
    MakeFlash("/u/u-boot.bin", "/d/flash.img", 4, swapped=True): ("make-flash", "put u-boot.bin into its flash"),
    TypeCommands(("dhcp", "bootm"), 60): ("type-commands", "tell U-Boot to fetch and boot"),
    steps.MakeDisk("/d/disk.qcow2.tmp", 40 * G): ("make-disk", "make disk.qcow2.tmp, 40G"),
    steps.MakeDisk("/d/disk.qcow2", 3 * G // 2, "qcow2", "/b.img", "raw"): (
        "make-disk", "make disk.qcow2, 1536M, a clone of /b.img"
    ),
    RunInstaller("nixos", "qemu", OPTIONS, "DONE", 60, 6): ("run-installer", "install nixos"),
    steps.AcceptDisk("/d/disk.qcow2.tmp", "/d/disk.qcow2"): ("accept-disk", "accept disk.qcow2"),
    steps.DiscardHalfMade("/d/disk.qcow2.tmp"): ("discard-half-made", "remove disk.qcow2.tmp"),
    Start("qemu", OPTIONS): ("start", "start QEMU"),
    steps.GrowDisk("/d/disk.qcow2", 40 * G): ("grow-disk", "grow disk.qcow2 to 40G"),
    steps.SetMemory(G): ("set-memory", "leave it 1G of memory"),
    steps.SetVnc("/r/vnc"): ("set-vnc", "show its screen at /r/vnc"),
    steps.SetVnc("/r/vnc", "127.0.0.1", 1): ("set-vnc", "show its screen at 127.0.0.1:1"),
    steps.SetLink("net0", False): ("set-link", "pull the cable of net0"),
    steps.SetLink("net0", True): ("set-link", "plug in the cable of net0"),
    steps.Remember(("vnc", "memory")): ("remember", "take over vnc, memory"),
    steps.AskAgent(2, 30): ("ask-agent", "ask its agent to shut down"),
    AskSsh("root", 60): ("ask-ssh", "tell it to power off by ssh"),
    TypePoweroff(60): ("type-poweroff", "type poweroff at its console"),
    steps.PressPower(60, 5): ("press-power", "press its power button"),
    steps.Quit(10): ("quit", "tell QEMU to quit"),
    steps.Kill(): ("kill", "kill QEMU"),
}  # fmt: skip


def test_every_step_is_here() -> None:
    assert {type(step) for step in SAYINGS} == set(get_args(steps.Step))


@pytest.mark.parametrize(("step", "says"), SAYINGS.items(), ids=lambda value: type(value).__name__)
def test_a_step_says_what_it_does(step: steps.Step, says: tuple[str, str]) -> None:
    assert (steps.name(step), step.text) == says


def test_a_line_is_its_binary_and_all_words() -> None:
    assert steps.argv(Start("qemu", OPTIONS)) == ("qemu", "-m", "1G", "-nodefaults")
    assert list(words(OPTIONS)) == ["-m 1G", "-nodefaults"]


def test_a_step_shows_no_secrets_and_no_long_lines() -> None:
    assert repr(Start("qemu", OPTIONS)) == "Start(binary='qemu')"
    assert "key" not in repr(steps.WriteSeed("/s", (("ssh.pub", b"key"),)))


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is not installed")
@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("disk", ("-blockdev", MISSING)),
        ("network", ("-device", "no-such-nic,netdev=nic0")),
        ("forward", ("-netdev", "user,id=nic9,hostfwd=tcp:[::1]:1-:2")),
        ("cpu", ("-device", "virtio-rng-pci,bus=no,,such")),
        ("vnc", ("-vnc", "256.256.256.256:1")),
    ],
)  # fmt: skip
async def test_qemu_quotes_the_option_it_refuses(key: str, bad: tuple[str, str]) -> None:
    alice = guest(boot={"kernel": "vmlinux"})
    fine = tuple(
        option for option in boot_line(alice, place(alice, "/nowhere")) if option.key in ("machine", "accel")
    )
    options = (*fine, Option("memory", ("-m", "64M")), Option(key, bad))
    with pytest.raises(CommandFailed) as caught:
        await run((*steps.argv(Start("qemu-system-x86_64", options)), "-nodefaults", "-S"), timeout=60)
    assert blame(options, caught.value.output) == options[-1], caught.value.output


def test_what_qemu_does_not_quote_is_nobodys_fault() -> None:
    assert blame(OPTIONS, "qemu-system-x86_64: Could not access KVM kernel module: Permission denied") is None


def test_a_cpu_that_qemu_names_alone_is_found() -> None:
    nosuch = Option("cpu", ("-cpu", "nosuch"))
    assert blame((*OPTIONS, nosuch), "qemu-system-x86_64: unable to find CPU model 'nosuch'") == nosuch

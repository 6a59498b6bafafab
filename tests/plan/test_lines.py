"""Whole QEMU lines: as they were, to the letter, and taken by the real QEMU."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vmd.definition.guest import Guest
from vmd.definition.machine import MACHINES
from vmd.host.accel import probe_accel
from vmd.host.monitor import Monitor
from vmd.host.process import Exit, Process, spawn
from vmd.plan import step as steps
from vmd.plan.cmdline import Place
from vmd.plan.observed import DiskFacts
from vmd.plan.reconcile import up
from vmd.plan.step import RunInstaller, Start

from .conftest import GOLDEN, guest, host, mine, place, show
from .furnish import furnish

Golden = Callable[..., None]

ODD = '/odd, d:r b=c %s "q" \\ ü🦊'
"""A directory with all that means something to somebody on the way."""


@dataclass(frozen=True)
class Line:
    """A guest, and the facts on which its line is made; ``install`` asks for its installer's line."""

    written: dict[str, Any]
    install: bool = False
    home: str = ""
    """A directory that everything is in."""
    qemu: dict[str, Any] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)

    def made(self, root: str = "") -> tuple[Guest, Place, Start | RunInstaller]:
        """The guest, its place and the step that starts its QEMU, with everything below ``root``."""
        home = root + self.home
        alice = guest(home, **self.written)
        there = None if self.install else DiskFacts("qcow2", 1024)
        image = DiskFacts("qcow2", 1024) if alice.image else None
        observed = {"disk": there, "image": image, "files": {alice.user_data: b""}, **self.observed}
        where = place(alice, home, on=host(home, **self.qemu), **observed)
        kind = RunInstaller if self.install else Start
        plan = up(alice, mine(home) if alice.install == "mine" else None, where)
        return alice, where, next(step for step in plan if isinstance(step, kind))


def rows() -> Iterator[tuple[str, Line]]:
    """Each architecture of each board, by each firmware and each way to a guest."""
    for board in MACHINES.values():
        for arch, row in board.arches.items():
            common = {"machine": board.name, "arch": arch}
            yield f"{board.name}-{arch}-kernel", Line({**common, "boot": {"kernel": "vmlinux"}})
            for firmware in board.firmwares:
                name, firm = f"{board.name}-{arch}-{firmware}", {**common, "firmware": firmware}
                disk = {**firm, "disk": "1G"}
                yield f"{name}-image", Line({**firm, "image": "base.qcow2"})
                yield f"{name}-disk", Line({**disk, "install": "mine"})
                yield f"{name}-install-mine", Line({**disk, "install": "mine"}, install=True)
                for installer in row.installers[:1]:
                    yield f"{name}-install", Line({**disk, "install": installer}, install=True)
                if "kvm" in row.cpu:
                    yield f"{name}-kvm", Line({**disk, "install": "mine"}, qemu={"accel": "kvm"})


VIRTIO = {"size": "1G", "bus": "virtio"}
ALL_OF_A_KERNEL = {"kernel": "vmlinux", "initrd": "initrd", "rootfs": "root.squashfs", "cmdline": "quiet"}
CAMPUS = {
    "machine": "malta",
    "arch": "mipsel",
    "memory": "64M",
    "boot": {"kernel": "vmlinux", "rootfs": "root.squashfs", "root": "cdrom", "cmdline": "init=/bin/sh"},
    "network": ["user", "user"],
}
EVERYTHING = {
    "memory": "1.5G",
    "cpus": 2,
    "cpu": "qemu64,+aes",
    "disk": {"size": "1G", "bus": "scsi", "path": "own.qcow2"},
    "image": "base.qcow2",
    "network": [{"network": "user", "model": model} for model in MACHINES["q35"].nics],
    "forward": ["8080:80", "0.0.0.0:5353:53/udp"],
    "vnc": "127.0.0.1:1",
}
RAW = {"disk": {"size": "1G", "path": "disk.raw", "format": "raw"}}

CASES: dict[str, Line] = {
    **dict(rows()),
    "campus": Line(CAMPUS),
    "everything": Line(EVERYTHING),
    "all-of-a-kernel": Line({"boot": ALL_OF_A_KERNEL, "disk": "1G"}),
    "rootfs-on-disk": Line({"boot": {**ALL_OF_A_KERNEL, "root": "disk"}, "disk": {"size": "1G", "bus": "scsi"}}),
    "malta-rootfs-on-disk": Line({**CAMPUS, "boot": {**ALL_OF_A_KERNEL, "root": "disk"}, "disk": VIRTIO}),
    "malta-all-of-a-kernel": Line({**CAMPUS, "boot": ALL_OF_A_KERNEL, "disk": "1G"}),
    "virt-all-of-a-kernel": Line({"machine": "virt", "boot": ALL_OF_A_KERNEL, "disk": "1G"}),
    "sata": Line({"disk": {"size": "1G", "bus": "sata"}}),
    "sata-install-mine": Line({"disk": {"size": "1G", "bus": "sata"}, "install": "mine"}, install=True),
    "raw": Line(RAW),
    "raw-install": Line(RAW, install=True),
    "no-vvfat-install": Line({"disk": "1G"}, install=True, qemu={"vvfat": False}),
    "no-vvfat-image": Line({"image": "base.qcow2"}, qemu={"vvfat": False}),
    "no-sandbox": Line({"disk": "1G"}, qemu={"sandbox": False}),
    "no-ssh": Line({"disk": "1G"}, observed={"ssh_port": 0}),
    "vnc-ipv6": Line({"disk": "1G", "vnc": "[::1]:1"}),
    "odd-paths-install": Line({"disk": "1G", "install": "mine", "firmware": "uefi"}, install=True, home=ODD),
    "odd-paths-image": Line({"image": "base.qcow2"}, home=ODD),
    "odd-paths-kernel": Line({"boot": ALL_OF_A_KERNEL, "disk": {**RAW["disk"], "path": "a,b:c"}}, home=ODD),
    "odd-paths-no-vvfat": Line({"image": "base.qcow2"}, home=ODD, qemu={"vvfat": False}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_line_is_as_it_was(name: str, golden: Golden) -> None:
    _, _, step = CASES[name].made()
    golden(GOLDEN / "line" / f"{name}.txt", f"{'-':<13} {step.binary}\n{show(step.options)}")


def test_golden_files_of_lines_that_are_gone_are_gone() -> None:
    assert {path.stem for path in (GOLDEN / "line").iterdir()} == set(CASES)


@pytest.fixture
def root() -> Iterator[str]:
    """A directory of a short name: pytest's own leave too little of the 107 bytes of a socket's path."""
    with tempfile.TemporaryDirectory(prefix="vmd-") as directory:
        yield directory


@pytest.mark.parametrize("name", CASES)
async def test_the_real_qemu_takes_the_line(name: str, root: str) -> None:
    line = CASES[name]
    alice, where, step = line.made(root)
    await skip_what_can_t_be_here(line, step)
    assert show(step.options).replace(root, "") == show(line.made()[2].options)
    await furnish(alice, where, mine(root + line.home).iso)
    argv = [free_ports(word) for word in steps.argv(step)]
    log = Path(root, "qemu.log")
    process = await spawn((*argv, "-S"), log=log, die_with_parent=True)
    try:
        await look(process, alice, where, log)
    finally:
        await process.terminate(0)
    assert process.exited.result() == Exit(0), log.read_text()
    assert log.read_text() == ""


async def look(process: Process, alice: Guest, where: Place, log: Path) -> None:
    """See that QEMU understood every path and option as it was meant, and end it."""
    try:
        monitor = await Monitor.connect(Path(where.layout.qmp), process_exited=process.exited, timeout=60)
    except Exception as error:
        error.add_note(log.read_text())
        raise
    assert await monitor.status() == "prelaunch"
    await operators_monitor(Path(where.layout.monitor))
    found = await monitor.execute("query-named-block-nodes")
    assert {node["file"] for node in found if node["drv"] == "file"} >= files(process)
    characters = {each["label"]: each["filename"] for each in await monitor.execute("query-chardev")}
    for socket_name in ("console", "agent"):
        assert f"unix:{getattr(where.layout, socket_name)}" in characters[socket_name]
    assert Path(where.layout.vnc).exists() == (alice.vnc is None)
    assert (await monitor.execute("query-name"))["name"] == "alice"
    await monitor.quit()
    await process.exited
    await monitor.close()


async def operators_monitor(path: Path) -> None:
    other = await Monitor.connect(path, timeout=60)
    assert await other.status() == "prelaunch"
    await other.close()


def files(process: Process) -> set[str]:
    """Every file that a -blockdev of its line names."""
    argv = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    nodes = (json.loads(value) for option, value in pairwise(argv) if option == "-blockdev")
    return {node["file"]["filename"] for node in nodes if "file" in node}


async def skip_what_can_t_be_here(line: Line, step: Start | RunInstaller) -> None:
    if not shutil.which(step.binary):
        pytest.skip(f"{step.binary} is not installed")
    if "::1" in str(line.written.get("vnc")) and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    if line.qemu.get("accel") == "kvm":
        found = await probe_accel("qemu-system-x86_64") if "x86_64" in step.binary else None
        if not found or found.kind != "kvm":
            pytest.skip(found.reason if found else f"KVM can't run {step.binary} here")


def free_ports(word: str) -> str:
    """Put free ports for those that the line would listen on."""
    word = re.sub(r"(?<=hostfwd=tcp:127\.0\.0\.1:)[0-9]+", lambda _: str(free_port(socket.SOCK_STREAM)), word)
    word = re.sub(r"(?<=hostfwd=udp:0\.0\.0\.0:)[0-9]+", lambda _: str(free_port(socket.SOCK_DGRAM)), word)
    return re.sub(r"^(127\.0\.0\.1|\[::1\]):1$", lambda at: f"{at[1]}:{free_port(socket.SOCK_STREAM) - 5900}", word)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port

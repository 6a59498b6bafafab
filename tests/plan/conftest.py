"""Guests, hosts and places for the tests of plan: all of it plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmd.definition.fleet import Installer
from vmd.definition.guest import Guest
from vmd.definition.layout import Layout
from vmd.definition.machine import MACHINES
from vmd.definition.network import Network
from vmd.definition.written import Text
from vmd.plan.cmdline import Place
from vmd.plan.observed import DiskFacts, Firmware, HostFacts, Observed, QemuFacts
from vmd.plan.option import Option
from vmd.plan.reconcile import up
from vmd.plan.step import Step, Up, name
from vmd.protocol import Directories

GOLDEN = Path(__file__).with_name("golden")
G = 1 << 30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKf4vC7kXqg9zQ1oTnUu3sXkqO8uJx3m2rFz5yH0bGdE dan@laptop"
VERSIONED = {"q35": "pc-q35-7.2", "virt": "virt-7.2", "malta": "malta"}
DIR = "/var/lib/vmd/guests/alice"
BOOT = {"kernel": "vmlinux", "initrd": "initrd", "rootfs": "root.squashfs"}
IMAGE = DiskFacts("qcow2", 2 * G)
DISK = DiskFacts("qcow2", 40 * G)
NETWORKS = {
    "home": Network(name="home", bridge="br0"),
    "lan": Network(name="lan"),
    "cells": Network(name="cells", isolated=True),
}
BINARIES = [arch.binary for board in MACHINES.values() for arch in board.arches.values()]


def guest(root: str = "", /, **written: Any) -> Guest:
    """A guest as it was written; relative paths are those of /srv."""
    return Guest.model_validate({"name": "alice", "memory": "512M", **written}, context=Text(f"{root}/srv"))


def mine(root: str = "", /, **written: Any) -> Installer:
    """An installer of the operator's own."""
    return Installer.model_validate({"name": "mine", "iso": "mine.iso", **written}, context=Text(f"{root}/srv"))


def host(root: str = "", /, **qemu: Any) -> HostFacts:
    """A host with every QEMU, each with these facts."""
    isos = {name: f"{root}/var/lib/vmd/iso/{name}.iso" for name in ("debian-12", "debian-13")}
    return HostFacts(
        fleet_id="f1ee7",
        qemu={binary: QemuFacts(binary, **{"machines": VERSIONED, **qemu}) for binary in BINARIES},
        isos=isos,
        built=frozenset(isos.values()),
        firmware=Firmware(f"{root}/usr/share/OVMF/OVMF_CODE_4M.fd", f"{root}/usr/share/OVMF/OVMF_VARS_4M.fd"),
        taps=True,
        segments=f"{root}/run/vmd/segments",
    )


def place(alice: Guest, root: str = "", /, *, on: HostFacts | None = None, **observed: Any) -> Place:
    """Where the guest lives, on a host with everything, and what was observed of it."""
    directories = Directories(f"{root}/etc/vmd", f"{root}/var/lib/vmd", f"{root}/run/vmd")
    layout = Layout(directories).guest(alice.name, alice.disk.path if alice.disk else None)
    return Place(layout, on or host(root), Observed(**{"keys": (KEY,), "ssh_port": 2222, **observed}), NETWORKS)


def observe(where: Place, **observed: Any) -> Place:
    """The same place, where this is observed besides."""
    return where._replace(observed=dataclasses.replace(where.observed, **observed))


def show(options: Iterable[Option]) -> str:
    """One option a line, each led by its key."""
    return "".join(f"{option.key or '-':<13} {' '.join(option.words)}\n" for option in options)


def sections(parts: dict[str, Iterable[Option]]) -> str:
    """Several such texts in one."""
    return "\n".join(f"# {title}\n{show(options)}" for title, options in parts.items())


@dataclass(frozen=True)
class Case:
    """A guest as written, what was observed, what the host has, and the names of the steps."""

    written: dict[str, Any]
    steps: str
    observed: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)

    def place(self, alice: Guest) -> Place:
        """Where it is so."""
        on = dataclasses.replace(host(), **self.host)
        return place(alice, on=on, **{"image": IMAGE if alice.image else None, **self.observed})


def names(plan: tuple[Step, ...]) -> str:
    """The steps by name, in one line."""
    return " ".join(name(step) for step in plan)


def plan(alice: Guest, where: Place) -> tuple[Up, ...]:
    """The steps up, by an installer of its own where it names one."""
    return up(alice, mine() if alice.install == "mine" else None, where)

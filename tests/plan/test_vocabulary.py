"""Each word an operator may write changes something that is done: a line, a file of the seed, a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from vmd.definition.guest import Guest
from vmd.errors import VmdError
from vmd.plan.observed import DiskFacts
from vmd.plan.reconcile import down, up

from .conftest import G, guest, host, mine, observe, place

DISK = {"disk": "40G"}
IMAGE = {"image": "base.qcow2"}
KERNEL: dict[str, Any] = {"boot": {"kernel": "vmlinux", "rootfs": "root.img"}, **DISK}
STATIC = {"network": "user", "address": "192.168.9.2/24"}
FORWARD = {"host": 8080, "guest": 80}
VNC = {"display": 1}

Written = dict[str, Any]


def kernel(**keys: Any) -> Written:
    return {**KERNEL, "boot": {**KERNEL["boot"], **keys}}


def phram(**keys: Any) -> Written:
    return {"machine": "malta", **kernel(root={"phram": {"address": 0x1178000, "size": "9M", **keys}})}


def tftp(**keys: Any) -> Written:
    return {"machine": "malta", **kernel(root={"tftp": {"directory": ".", **keys}})}


def nic(**keys: Any) -> Written:
    return {**DISK, "network": {"network": "user", **keys}}


def static(**keys: Any) -> Written:
    return {**IMAGE, "network": {**STATIC, **keys}}


def forward(**keys: Any) -> Written:
    return {**DISK, "forward": [{**FORWARD, **keys}]}


def nic_forward(**keys: Any) -> Written:
    return nic(forward=[{**FORWARD, **keys}])


VARIANTS: dict[str, tuple[Written, Written]] = {
    "name": (DISK, {**DISK, "name": "bob"}),
    "machine": (KERNEL, {**KERNEL, "machine": "virt"}),
    "arch": ({**KERNEL, "arch": "mips"}, {**KERNEL, "arch": "mipsel"}),
    "memory": (DISK, {**DISK, "memory": "1G"}),
    "cpus": (DISK, {**DISK, "cpus": 2}),
    "cpu": (DISK, {**DISK, "cpu": "max"}),
    "disk.size": (DISK, {"disk": "41G"}),
    "disk.bus": (DISK, {"disk": {"size": "40G", "bus": "scsi"}}),
    "disk.format": ({"disk": {"size": "40G", "path": "d"}}, {"disk": {"size": "40G", "path": "d", "format": "raw"}}),
    "disk.path": (DISK, {"disk": {"size": "40G", "path": "d"}}),
    "install": (DISK, {**DISK, "install": "debian-13"}),
    "image.path": (IMAGE, {"image": "other.qcow2"}),
    "boot.kernel": (KERNEL, kernel(kernel="other")),
    "boot.initrd": (KERNEL, kernel(initrd="initrd")),
    "boot.rootfs": (KERNEL, kernel(rootfs="other")),
    "boot.root.seen_as": (KERNEL, kernel(root="disk")),
    "boot.root.phram.address": (phram(), phram(address=0x2000000)),
    "boot.root.phram.size": (phram(), phram(size="8M")),
    "boot.root.tftp.directory": (tftp(), tftp(directory="/")),
    "boot.root.tftp.uboot": (tftp(), tftp(uboot="u-boot.bin")),
    "boot.bus": (kernel(root="disk"), kernel(root="disk", bus="scsi")),
    "boot.cmdline": (KERNEL, kernel(cmdline="quiet")),
    "network.network": (DISK, {**DISK, "network": "lan"}),
    "network.mac": (DISK, nic(mac="52:54:00:00:00:01")),
    "network.model": (DISK, nic(model="e1000")),
    "network.address": (IMAGE, static()),
    "network.gateway": (static(), static(gateway="192.168.9.1")),
    "network.dns": (static(), static(dns=["192.168.9.1"])),
    "network.link": (nic(), nic(link="down")),
    "network.forward.address": (nic_forward(), nic_forward(address="127.0.0.2")),
    "network.forward.host": (nic_forward(), nic_forward(host=8081)),
    "network.forward.guest": (nic_forward(), nic_forward(guest=81)),
    "network.forward.protocol": (nic_forward(), nic_forward(protocol="udp")),
    "forward.address": (forward(), forward(address="127.0.0.2")),
    "forward.host": (forward(), forward(host=8081)),
    "forward.guest": (forward(), forward(guest=81)),
    "forward.protocol": (forward(), forward(protocol="udp")),
    "hostname": (DISK, {**DISK, "hostname": "web"}),
    "user": (DISK, {**DISK, "user": "dan"}),
    "packages": (IMAGE, {**IMAGE, "packages": ["nginx"]}),
    "user_data": (IMAGE, {**IMAGE, "user_data": "mine.yaml"}),
    "vnc.address": ({**DISK, "vnc": VNC}, {**DISK, "vnc": {**VNC, "address": "127.0.0.2"}}),
    "vnc.display": ({**DISK, "vnc": VNC}, {**DISK, "vnc": {"display": 2}}),
    "accel": (DISK, {**DISK, "accel": "tcg"}),
    "firmware": (DISK, {**DISK, "firmware": "uefi"}),
    "stop_timeout": (DISK, {**DISK, "stop_timeout": "2m"}),
}
"""The key → a guest without it, and one that differs in it alone."""

ELSEWHERE = {
    "image.format": "the image is looked at in its format: what is found is observed",
    "ssh_keys.text": "a key is observed, as are those of files",
    "ssh_keys.path": "its lines are observed",
    "autostart": "the daemon's, when it begins",
    "after": "the daemon's, when it starts several",
    "restart": "plan.restart has it as an argument",
    "limits.cpu": "systemd holds its QEMU to it",
    "limits.memory": "likewise",
    "limits.io": "likewise",
    "protect": "it forbids, and does nothing",
}
"""The key → why plan takes no notice of it."""


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a model that holds a value, dotted."""
    for name, field in model.model_fields.items():
        inner = list(models(field.annotation))
        for found in inner:
            yield from keys(found, f"{prefix}{name}.")
        if not inner:
            yield f"{prefix}{name}"


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models(part)


def test_every_word_is_here() -> None:
    assert set(keys(Guest)) - {*VARIANTS, *ELSEWHERE} == set(), "give each a variant"
    assert set(VARIANTS) <= set(keys(Guest))


def done(written: Written) -> list[object]:
    """Everything that is done for a guest, from nothing to running and down again."""
    alice = guest(**written)
    image = DiskFacts("qcow2", G) if alice.image else None
    where = place(alice, on=host(accel="kvm"), image=image, files={"/srv/mine.yaml": b"#cloud-config\n"})
    running = observe(where, run_state="running")
    plan = up(alice, mine() if alice.install == "mine" else None, where)
    return [asdict(step) for step in (*plan, *down(alice, running, alice.stop_timeout))]


@pytest.mark.parametrize("key", VARIANTS)
def test_a_word_changes_what_is_done(key: str) -> None:
    before, after = VARIANTS[key]
    assert done(before) != done(after)
    assert done(before) == done(before)


@pytest.mark.parametrize("key", VARIANTS)
def test_the_two_guests_differ_in_that_word_alone(key: str) -> None:
    """Else a word without effect would pass by what stands beside it."""
    before, after = (guest(**written).model_dump() for written in VARIANTS[key])
    first = key.partition(".")[0]
    follows = {"machine": {"arch"}, "arch": set(), "name": {"hostname"}}.get(first, set())
    assert {word for word in before if before[word] != after[word]} == {first} | follows


def test_a_kernel_that_can_t_be_had_is_no_line() -> None:
    alice = guest(**KERNEL)
    with pytest.raises(VmdError):
        up(alice, None, place(alice, unreadable={"/srv/vmlinux": "/srv/vmlinux is not there"}))

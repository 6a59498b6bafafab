from typing import Any

import pytest
from pydantic import ValidationError

from vmd.definition.guest import Disk, Guest
from vmd.definition.network import Forward, Nic, Vnc
from vmd.definition.written import Text

G = 1 << 30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKf4vC7kXqg9zQ1oTnUu3sXkqO8uJx3m2rFz5yH0bGdE dan@laptop"
HERE = Text("/etc/vmd/fleet.d")
BOOT = {"kernel": "vmlinux"}


def guest(**written: Any) -> Guest:
    return Guest.model_validate({"name": "alice", "memory": "1G", **written}, context=HERE)


def test_what_is_silent_follows_from_the_rest() -> None:
    alice = guest(disk="40G")
    assert (alice.machine, alice.arch, alice.cpus, alice.cpu) == ("q35", "x86_64", 1, None)
    assert (alice.memory, alice.disk, alice.install) == (G, Disk(size=40 * G), "debian-12")
    assert (alice.hostname, alice.user, alice.ssh_keys) == ("alice", "admin", None)
    assert (alice.accel, alice.firmware, alice.stop_timeout, alice.vnc) == ("auto", "bios", 60.0, None)
    assert alice.nics == (Nic(model="virtio-net-pci"),)
    assert alice.disk_bus == "virtio"


@pytest.mark.parametrize(
    ("written", "install"),
    [
        ({"disk": "40G"}, "debian-12"),
        ({"disk": {"size": "40G", "path": "a.qcow2"}}, "debian-12"),
        ({"disk": {"path": "a.qcow2"}}, None),
        ({"disk": "40G", "install": "debian-13"}, "debian-13"),
        ({"disk": "40G", "install": "nixos"}, "nixos"),
        ({"disk": "40G", "image": "b.qcow2"}, None),
        ({"disk": "40G", "boot": BOOT}, None),
        ({"image": "b.qcow2"}, None),
    ],
)
def test_debian_fills_a_disk_that_nothing_else_fills(written: dict[str, Any], install: str | None) -> None:
    assert guest(**written).install == install


@pytest.mark.parametrize(
    ("written", "machine", "arch"),
    [
        ({}, "q35", "x86_64"),
        ({"machine": "malta"}, "malta", "mipsel"),
        ({"machine": "virt"}, "virt", "aarch64"),
        ({"arch": "mips64"}, "malta", "mips64"),
        ({"arch": "arm"}, "virt", "arm"),
        ({"machine": "malta", "arch": "mips"}, "malta", "mips"),
    ],
)
def test_board_and_architecture_follow_from_one_another(written: dict[str, Any], machine: str, arch: str) -> None:
    made = guest(**written, boot=BOOT)
    assert (made.machine, made.arch) == (machine, arch)
    assert made.run_by is made.board.arches[arch]


@pytest.mark.parametrize(
    ("written", "firmware"),
    [
        ({"disk": "1G"}, "bios"),
        ({"disk": "1G", "firmware": "uefi"}, "uefi"),
        ({"image": "b.qcow2", "machine": "virt"}, "uefi"),
        ({"boot": BOOT}, None),
        ({"boot": BOOT, "firmware": "uefi"}, "uefi"),
    ],
)
def test_firmware_is_the_boards_unless_a_kernel_is_given(written: dict[str, Any], firmware: str | None) -> None:
    assert guest(**written).firmware == firmware


def test_relative_paths_are_relative_to_the_text() -> None:
    disk = {"size": "1G", "path": "../a, b: c.qcow2"}
    made = guest(image="/srv/./b.qcow2", disk=disk, user_data="x/y.yaml")
    assert made.image
    assert made.disk
    assert (made.image.path, made.disk.path) == ("/srv/b.qcow2", "/etc/vmd/a, b: c.qcow2")
    assert made.user_data == "/etc/vmd/fleet.d/x/y.yaml"


def test_a_key_is_its_line_or_a_file() -> None:
    keys = guest(disk="1G", ssh_keys=[f" {KEY}\n", "keys/dan.pub", {"path": "/k.pub"}]).ssh_keys
    assert keys
    assert [(key.text, key.path) for key in keys] == [
        (KEY, None),
        (None, "/etc/vmd/fleet.d/keys/dan.pub"),
        (None, "/k.pub"),
    ]
    assert guest(disk="1G", ssh_keys=[]).ssh_keys == ()


@pytest.mark.parametrize(
    ("written", "forward"),
    [
        ("8080:80", Forward(host=8080, guest=80)),
        ("192.0.2.1:8080:80", Forward(address="192.0.2.1", host=8080, guest=80)),
        ("[::1]:8080:80/tcp", Forward(address="::1", host=8080, guest=80)),
        ("5353:53/udp", Forward(host=5353, guest=53, protocol="udp")),
        ({"host": 8080, "guest": 80}, Forward(host=8080, guest=80)),
    ],
)
def test_a_forward_leads_from_the_host_to_the_guest(written: object, forward: Forward) -> None:
    assert guest(disk="1G", forward=[written]).forward == (forward,)


@pytest.mark.parametrize(
    ("written", "vnc"),
    [
        ("127.0.0.1:1", Vnc(display=1)),
        (":1", Vnc(display=1)),
        ("localhost:0", Vnc(display=0)),
        ("[::1]:2", Vnc(address="::1", display=2)),
        ("192.0.2.1:1", Vnc(address="192.0.2.1", display=1)),
    ],
)
def test_a_screen_has_an_address_and_a_display(written: str, vnc: Vnc) -> None:
    assert guest(disk="1G", vnc=written).vnc == vnc
    assert vnc.port == 5900 + vnc.display


@pytest.mark.parametrize("written", ["user", ["user"], {"network": "user"}, [{}], {}])
def test_one_network_is_written_in_many_ways(written: object) -> None:
    assert guest(disk="1G", network=written).network == (Nic(),)


def test_the_guests_own_forwards_go_to_the_first_nic() -> None:
    made = guest(disk="1G", network=[{"forward": ["1:1"]}, {"model": "e1000"}], forward=["2:2"])
    one, two = Forward(host=1, guest=1), Forward(host=2, guest=2)
    assert made.nics == (Nic(model="virtio-net-pci", forward=(one, two)), Nic(model="e1000"))


def test_a_mac_is_put_in_lower_case() -> None:
    assert guest(disk="1G", network={"mac": "52:54:00:AB:CD:EF"}).network[0].mac == "52:54:00:ab:cd:ef"


def test_addresses_are_checked_and_kept() -> None:
    nic = {"address": "192.168.9.2/24", "gateway": "192.168.9.1", "dns": ["192.168.9.3", "FD00::1"]}
    assert guest(image="b.qcow2", network=nic).network[0].dns == ("192.168.9.3", "fd00::1")


RECORDED = [
    guest(disk="40G", ssh_keys=[KEY, "k.pub"], vnc=":1", forward=["8080:80"], stop_timeout="1h30m"),
    guest(image="b.qcow2", packages=["nginx"], network=[{"address": "10.0.2.9/24"}], firmware="uefi"),
    guest(machine="malta", boot={**BOOT, "rootfs": "r", "root": "cdrom", "cmdline": "a=b"}, network=[]),
]


@pytest.mark.parametrize("made", RECORDED, ids=["install", "image", "boot"])
def test_a_recorded_guest_is_the_same_guest(made: Guest) -> None:
    assert Guest.model_validate_json(made.model_dump_json()) == made
    assert Guest.model_validate(made.model_dump()) == made


def test_a_record_has_only_absolute_paths() -> None:
    with pytest.raises(ValidationError, match=r"b\.qcow2. is not absolute"):
        Guest.model_validate({"name": "alice", "memory": G, "image": "b.qcow2"})


def test_a_guest_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        guest(disk="1G").memory = 1  # type: ignore[misc]

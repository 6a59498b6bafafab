"""Segments and what keeps their guests apart, with frames that really pass, or don't."""

from __future__ import annotations

import json
import shutil
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.network.conftest import Namespace
from vmd.errors import CommandFailed, Refused, VmdError
from vmd.host import nft
from vmd.host.link import wire
from vmd.host.link.facts import find, set_sysctls
from vmd.host.link.move import answering
from vmd.host.link.segment import (
    PortOptions,
    make_segment,
    netem_message,
    remove_segment,
    set_port,
    set_vlan,
    shape,
)
from vmd.plan.firewall import PREFIX, bridged_traffic_remedy, end_nat, lock_mac, nat, unlock_mac

MAC = "02:00:00:00:09:01"
needs_nft = pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed")


class Cables:
    """Guests' stand-ins: namespaces whose eth0 is a port of the segment ``seg``."""

    def __init__(self, host: Namespace, namespaces: Any) -> None:
        self.host = host
        self.guests: list[Namespace] = []
        for number in (1, 2):
            guest = namespaces(f"guest{number}")
            host.ip(f"link add port{number} type veth peer name eth0 netns {guest.name}")
            host.ip(f"link set port{number} master seg up")
            guest.ip(f"link set eth0 address 52:54:00:00:00:0{number} up")
            guest.ip(f"addr add 192.168.9.{number + 1}/24 dev eth0")
            self.guests.append(guest)

    def hears(self, number: int, address: str, patience: float = 5) -> bool:
        """Whether a guest gets an answer to its ARP."""
        with self.guests[number - 1].entered():
            return bool(answering("eth0", [(socket.AF_INET, address)], patience))

    def forget(self) -> None:
        for guest in self.guests:
            guest.ip("neigh flush all")


@pytest.fixture
def segment(netns: Namespace, namespaces: Any) -> Cables:
    make_segment("seg", MAC, ["192.168.9.1/24", "fd00:9::1/64"])
    return Cables(netns, namespaces)


def test_segment_is_as_said(netns: Namespace) -> None:
    for _ in range(2):
        make_segment("seg", MAC, ["192.168.9.1/24"])
    found = find("seg")
    assert found
    assert (found["kind"], found["mac"], found["up"]) == ("bridge", MAC, True)
    assert "192.168.9.1/24 brd 192.168.9.255" in netns.ip("addr show dev seg")
    for _ in range(2):
        remove_segment("seg")
    assert netns.links() == {"lo"}


def test_link_of_another_kind_is_left_alone(netns: Namespace) -> None:
    netns.ip("link add other type veth peer name other2")
    with pytest.raises(VmdError, match="no bridge"):
        make_segment("other", MAC)
    with pytest.raises(VmdError, match="left alone"):
        remove_segment("other")


def test_guests_of_a_segment_hear_each_other_unless_isolated(segment: Cables) -> None:
    assert segment.hears(1, "192.168.9.3")
    for port in ("port1", "port2"):
        set_port(port, PortOptions(isolated=True))
    segment.forget()
    assert not segment.hears(1, "192.168.9.3", 1.5)
    assert segment.hears(1, "192.168.9.1")
    set_port("port1", PortOptions())
    segment.forget()
    assert segment.hears(1, "192.168.9.3")


def kernel_can(make: Any) -> bool:
    try:
        make()
    except Refused:
        return False
    return True


def test_vlans_keep_guests_apart_or_are_refused(segment: Cables) -> None:
    if not kernel_can(lambda: make_segment("seg", MAC, vlans=True)):
        with pytest.raises(Refused, match="this kernel can't do VLANs on seg; it needs CONFIG_BRIDGE_VLAN_FILTERING"):
            make_segment("seg", MAC, vlans=True)
        with pytest.raises(Refused, match="VLAN 5 on port1"):
            set_port("port1", PortOptions(vlan=5))
        return
    set_vlan("port1", 5)
    set_vlan("port2", 6)
    assert not segment.hears(1, "192.168.9.3", 1.5)
    set_vlan("port2", 5)
    segment.forget()
    assert segment.hears(1, "192.168.9.3")


def test_loss_is_loss_or_is_refused(segment: Cables) -> None:
    if not kernel_can(lambda: shape("port1", loss=100)):
        with pytest.raises(
            Refused, match="this kernel can't do loss and delay on port1; it needs CONFIG_NET_SCH_NETEM"
        ):
            set_port("port1", PortOptions(delay=20))
    else:
        assert not segment.hears(2, "192.168.9.2", 1.5)
    shape("port1")
    shape("port1")
    assert segment.hears(2, "192.168.9.2")


def test_netem_message_is_what_the_kernel_reads(netns: Namespace) -> None:
    """struct tc_netem_qopt: latency in ticks, limit, loss of 2^32, gap, duplicate, jitter (linux/pkt_sched.h)."""
    packed = wire.pack(netem_message("lo", 50, 20), 1, 0)
    ticks = [int(word, 16) for word in Path("/proc/net/psched").read_text().split()]
    latency = 20_000 * ticks[0] / ticks[1]
    at = packed.index(b"netem\0")
    found = struct.unpack_from("=6I", packed, at + 8 + 4)
    assert abs(found[0] - latency) <= 1
    assert found[1:] == (1000, pytest.approx(2**31, abs=1), 0, 0, 0)


@needs_nft
async def test_locked_mac(segment: Cables) -> None:
    await nft.apply(lock_mac("port1", "52:54:00:00:00:01"))
    assert segment.hears(1, "192.168.9.3")
    segment.guests[0].ip("link set eth0 address 52:54:00:00:00:99")
    segment.forget()
    assert not segment.hears(1, "192.168.9.3", 1.5)
    assert await nft.tables(PREFIX) == (("bridge", "vmd_port1"),)
    for _ in range(2):
        await nft.apply(unlock_mac("port1"))
    segment.forget()
    assert segment.hears(1, "192.168.9.3")
    assert await nft.tables(PREFIX) == ()


def answers(guest: Namespace, address: str) -> str:
    """Who the other side takes us for: a UDP echo that tells the asker's address."""
    return guest.run(
        shutil.which("python3") or "python3",
        "-c",
        "import socket; s = socket.socket(2, 2); s.settimeout(5)\n"
        f"s.sendto(b'who', ('{address}', 9009)); print(s.recv(100).decode())",
    ).strip()


@needs_nft
async def test_nat_hides_a_segment(segment: Cables, namespaces: Any) -> None:
    world = namespaces("world")
    segment.host.ip(f"link add up0 type veth peer name eth0 netns {world.name}")
    for where, words in ((segment.host, "addr add 10.7.0.1/24 dev up0"), (segment.host, "link set up0 up")):
        where.ip(words)
    world.ip("addr add 10.7.0.2/24 dev eth0")
    world.ip("link set eth0 up")
    set_sysctls({"ipv4/conf/seg/forwarding": "1", "ipv4/conf/up0/forwarding": "1"})
    segment.guests[0].ip("route add default via 192.168.9.1")
    script = "import socket; s = socket.socket(2, 2); s.bind(('10.7.0.2', 9009)); print('ready', flush=True)\n"
    script += "while True:\n d, p = s.recvfrom(100); s.sendto(p[0].encode(), p)"
    echo = world.python("-c", script, stdout=-1)
    assert echo.stdout
    echo.stdout.readline()
    await nft.apply(nat("lan", "seg", "192.168.9.0/24"))
    assert answers(segment.guests[0], "10.7.0.2") == "10.7.0.1"
    await nft.apply(end_nat("lan"))
    assert json.loads(segment.host.run("nft", "-j", "list", "tables"))["nftables"][1:] == []


@needs_nft
async def test_what_docker_drops_is_named_with_the_rule(segment: Cables) -> None:
    bridged = nft.filters_bridged()
    segment.host.run("nft", "add table ip filter")
    segment.host.run("nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    remedies = bridged_traffic_remedy("seg", await nft.chains())
    assert remedies == ("iptables -I FORWARD -i seg -o seg -j ACCEPT",)
    segment.host.run("nft", "add chain ip filter DOCKER-USER")
    (remedy,) = bridged_traffic_remedy("seg", await nft.chains())
    assert remedy == "iptables -I DOCKER-USER -i seg -o seg -j ACCEPT"
    if bridged:
        assert not sent_between(segment)
        segment.host.run("nft", "insert rule ip filter FORWARD iifname seg oifname seg accept")
        assert sent_between(segment)


def sent_between(segment: Cables) -> bool:
    """Whether one IPv4 packet passes between two guests."""
    one, two = segment.guests
    script = "import socket; s = socket.socket(2, 2); s.bind(('192.168.9.3', 9010)); s.settimeout(2)\n"
    script += "print('ready', flush=True)\ntry: print(s.recv(9).decode())\nexcept TimeoutError: print('none')"
    listener = two.python("-c", script, stdout=-1)
    assert listener.stdout
    listener.stdout.readline()
    with one.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"passed", ("192.168.9.3", 9010))
    return listener.stdout.readline() == "passed\n"


@needs_nft
async def test_nft_says_why(netns: Namespace) -> None:
    with pytest.raises(CommandFailed, match="nft"):
        await nft.apply([{"add": {"chain": {"family": "ip", "table": "none", "name": "x"}}}])

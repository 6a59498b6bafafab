"""A guest's addresses, learnt from real ARP, neighbour discovery and a real DHCP server, without sending anything."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.network.conftest import Namespace
from vmd.errors import VmdError
from vmd.host.link.facts import neighbours
from vmd.host.link.move import answering
from vmd.host.link.segment import make_segment
from vmd.host.snoop import LIMIT, Sighting, Snoop
from vmd.plan.addresses import from_leases, from_neighbours, merge
from vmd.plan.dnsmasq import Files, Host, dhcp_line, host_address, hosts_file, network

GUEST_MAC = "52:54:00:00:00:01"


@pytest.fixture
def guest(netns: Namespace, namespaces: Any) -> Namespace:
    """A guest's stand-in whose cable ends as ``port1`` in the segment ``seg``."""
    make_segment("seg", "02:00:00:00:09:01", ["192.168.9.1/24", "fd00:9::1/64"])
    found: Namespace = namespaces("guest")
    netns.ip(f"link add port1 type veth peer name eth0 netns {found.name}")
    netns.run("sysctl", "-qw", "net.ipv6.conf.port1.disable_ipv6=1")
    netns.ip("link set port1 master seg up")
    found.ip(f"link set eth0 address {GUEST_MAC} up")
    return found


@pytest.fixture
async def snoop(guest: Namespace) -> AsyncIterator[Snoop]:
    found = Snoop("port1")
    yield found
    found.close()


async def seen(snoop: Snoop, address: str, source: str) -> Sighting:
    """Wait for a sighting; the test's own timeout is the limit."""
    while True:
        for sighting in snoop.sightings:
            if (sighting.address, sighting.source, sighting.mac) == (address, source, GUEST_MAC):
                return sighting
        await asyncio.sleep(0)


async def test_arp_and_neighbour_discovery_tell(guest: Namespace, snoop: Snoop) -> None:
    guest.ip("addr add 192.168.9.7/24 dev eth0")
    guest.ip("addr add fd00:9::7/64 dev eth0 nodad")
    with guest.entered():
        assert answering("eth0", [(socket.AF_INET, "192.168.9.1")], 10)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("fd00:9::1", 9))
    four = await seen(snoop, "192.168.9.7", "arp")
    await seen(snoop, "fd00:9::7", "nd")
    assert abs(time.time() - four.seen) < 60
    found = merge((*snoop.sightings, *from_neighbours(neighbours(), time.time())), GUEST_MAC, time.time())
    assert [(one.address, one.sources) for one in found if not one.address.startswith("fe80")] == [
        ("192.168.9.7", ("arp", "neighbour")),
        ("fd00:9::7", ("nd", "neighbour")),
    ]


async def test_duplicate_address_detection_tells(guest: Namespace, snoop: Snoop) -> None:
    guest.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1")
    guest.ip("addr add fd00:9::8/64 dev eth0")
    await seen(snoop, "fd00:9::8", "nd-probe")


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq-base is not installed")
@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox, whose udhcpc is the guest, is not installed")
async def test_dhcp_gives_and_tells(netns: Namespace, guest: Namespace, snoop: Snoop, tmp_path: Path) -> None:
    subnet = network("192.168.9.0/24")
    assert host_address(subnet) == "192.168.9.1"
    leases, hosts = tmp_path / "a lease, file", tmp_path / "hosts"
    hosts.write_text(hosts_file([Host("alice", GUEST_MAC, "192.168.9.77")]))
    argv = dhcp_line("seg", subnet, Files(str(leases), str(hosts)), nat=False)
    server = netns.start(*argv, "--user=root", stderr=-1)
    assert server.stderr
    while "DHCP, IP range 192.168.9.2 -- 192.168.9.254" not in (line := server.stderr.readline()):
        assert line, "dnsmasq ended"
    guest.run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", "/bin/true", "-t", "10", "-A", "1")
    await seen(snoop, "192.168.9.77", "dhcp")
    (lease,) = from_leases(leases.read_text(), time.time())
    assert (lease.mac, lease.address) == (GUEST_MAC, "192.168.9.77")
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0


async def test_a_guest_that_lies_fills_no_memory(guest: Namespace, snoop: Snoop) -> None:
    script = "import socket\ns = socket.socket(17, 3); s.bind(('eth0', 0x806))\nm = bytes.fromhex('525400000001')\n"
    script += "head = bytes(6 * [255]) + m + bytes.fromhex('08060001080006040001') + m\n"
    script += "for n in range(150): s.send(head + bytes([10, 0, 0, n]) + bytes(10))\n"
    guest.run(sys.executable, "-c", script)
    await seen(snoop, "10.0.0.149", "arp")
    assert len(snoop.sightings) == LIMIT


async def test_tap_that_is_not_there(netns: Namespace) -> None:
    with pytest.raises(VmdError, match="nothing can be heard on none"):
        Snoop("none")

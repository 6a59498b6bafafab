"""A segment's addresses and names: the line of the dnsmasq that gives them (dnsmasq 2.89 and 2.90).

Nothing of the host's own dnsmasq configuration is read, and it listens in the segment alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from ..errors import VmdError

SMALLEST = 29
"""The longest prefix of a segment with DHCP: the host, five guests, network and broadcast address."""


@dataclass(frozen=True, slots=True)
class Host:
    """A guest as the segment's DHCP knows it; without an address it gets a free one."""

    name: str
    mac: str
    address: str | None = None


def network(written: str) -> IPv4Network:
    """Read a segment's ``dhcp:``. Raises VmdError when it is no IPv4 network that has room for guests."""
    try:
        found = ip_network(written)
    except ValueError as error:
        raise VmdError(f"dhcp: {written} is no network: {error}", "say 192.168.9.0/24") from None
    if not isinstance(found, IPv4Network) or found.prefixlen > SMALLEST:
        raise VmdError(f"dhcp: {written} has no room for guests", f"say an IPv4 network up to /{SMALLEST}")
    return found


def host_address(subnet: IPv4Network) -> str:
    """The host's own address in a segment: the first."""
    return str(subnet[1])


@dataclass(frozen=True, slots=True)
class Files:
    """Where dnsmasq keeps its leases, and where it reads its hosts; SIGHUP has it read them again."""

    leases: str
    hosts: str


def dhcp_line(bridge: str, subnet: IPv4Network, files: Files, *, nat: bool, domain: str = "vmd") -> tuple[str, ...]:
    """The argv. Without ``nat`` guests learn of no router, and names outside the segment are not asked for."""
    outside = () if nat else ("--no-resolv", "--dhcp-option=option:router")
    return (
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        "--no-hosts",
        "--bind-dynamic",
        f"--interface={bridge}",
        "--except-interface=lo",
        f"--dhcp-range={subnet[2]},{subnet[-2]},{subnet.netmask},1h",
        f"--dhcp-hostsfile={files.hosts}",
        f"--dhcp-leasefile={files.leases}",
        "--dhcp-authoritative",
        "--dhcp-rapid-commit",
        f"--domain={domain}",
        f"--local=/{domain}/",
        *outside,
    )


def hosts_file(hosts: Sequence[Host]) -> str:
    """The guests of a segment by MAC: each keeps its name, and its address where it has one."""
    return "".join(
        ",".join((host.mac, *((host.address,) if host.address else ()), host.name)) + "\n" for host in hosts
    )

"""Where a guest is: what several sources say of its addresses, merged by its MAC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from .netlink import Facts, attr, remembered

TRUST = ("agent", "dhcp", "lease", "arp", "nd", "neighbour", "arp-probe", "nd-probe")
"""Sources, the surest first: the guest's own word, its server's, what it says to others, what others know, and what
it asks for before it uses it."""


class Sighting(Protocol):
    """A MAC address was seen to have an IP address, at ``seen`` seconds since the epoch."""

    @property
    def mac(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def seen(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Seen:
    """The same as a plain record."""

    mac: str
    address: str
    source: str
    seen: float


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a guest, who says so, and how many seconds ago it was said last."""

    address: str
    sources: tuple[str, ...]
    age: float

    @property
    def firm(self) -> bool:
        """It is in use, not only asked for, and leads further than the guest's own cable."""
        asked = all(source.endswith("-probe") for source in self.sources)
        return not asked and not ip_address(self.address).is_link_local


def merge(sightings: Iterable[Sighting], mac: str, now: float) -> tuple[Address, ...]:
    """What is known of one MAC address, the address to use first: IPv4 before IPv6, link-local ones last."""
    found: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        if sighting.mac == mac and _usable(sighting.address):
            found.setdefault(sighting.address, []).append(sighting)
    merged = [_merged(address, seen, now) for address, seen in found.items()]
    return tuple(sorted(merged, key=_rank))


def _merged(address: str, sightings: list[Sighting], now: float) -> Address:
    sources = sorted({sighting.source for sighting in sightings}, key=_trust)
    return Address(address, tuple(sources), max(0.0, now - max(sighting.seen for sighting in sightings)))


def _trust(source: str) -> int:
    return TRUST.index(source) if source in TRUST else len(TRUST)


def _rank(address: Address) -> tuple[bool, int, int, float]:
    parsed = ip_address(address.address)
    return parsed.is_link_local, parsed.version, _trust(address.sources[0]), address.age


def _usable(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_unspecified or parsed.is_loopback or parsed.is_multicast)


def from_neighbours(neighbours: Iterable[Facts], now: float) -> tuple[Seen, ...]:
    """The host's neighbour table as sightings; the kernel counts hundredths of seconds since each was confirmed."""
    known = (neighbour for neighbour in neighbours if remembered(neighbour))
    return tuple(
        Seen(attr(one, "NDA_LLADDR"), attr(one, "NDA_DST"), "neighbour", now - _confirmed(one) / 100) for one in known
    )


def _confirmed(neighbour: Facts) -> int:
    return int(attr(neighbour, "NDA_CACHEINFO", {}).get("ndm_confirmed", 0))


def from_agent(interfaces: Iterable[Mapping[str, object]], now: float) -> tuple[Seen, ...]:
    """What the guest's agent answers to guest-network-get-interfaces (QEMU 7.2) as sightings."""
    return tuple(
        Seen(str(interface["hardware-address"]), str(address["ip-address"]), "agent", now)
        for interface in interfaces
        if "hardware-address" in interface
        for address in _addresses(interface)
    )


def _addresses(interface: Mapping[str, object]) -> list[Mapping[str, object]]:
    found = interface.get("ip-addresses")
    return found if isinstance(found, list) else []


def from_leases(text: str, now: float) -> tuple[Seen, ...]:
    """The leases that dnsmasq wrote and that are still good (dnsmasq 2.89): expiry, MAC, address, name, client id."""
    leases = (line.split() for line in text.splitlines())
    good = (words for words in leases if len(words) == 5 and words[1].count(":") == 5 and _good(words[0], now))
    return tuple(Seen(words[1], words[2], "lease", now) for words in good)


def _good(expiry: str, now: float) -> bool:
    return expiry.isdigit() and (int(expiry) == 0 or int(expiry) > now)

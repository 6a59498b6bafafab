"""What a frame tells about an address: ARP, IPv6 neighbour discovery and DHCP; anything else tells nothing."""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
SOLICITATION, ADVERTISEMENT = 135, 136
_ETHERNET = 14
_UDP, _ICMPV6 = 17, 58
_DHCP_SERVER, _DHCP_CLIENT = 67, 68
_COOKIE = b"\x63\x82\x53\x63"
_ACK = 5

FILTER: Final = (
    (0x28, 0, 0, 12),  # what kind of frame
    (0x15, 15, 0, ARP),
    (0x15, 0, 5, IPV6),
    (0x30, 0, 0, 20),  # next header
    (0x15, 0, 13, _ICMPV6),
    (0x30, 0, 0, 54),  # ICMPv6 type
    (0x15, 10, 0, SOLICITATION),
    (0x15, 9, 10, ADVERTISEMENT),
    (0x15, 0, 9, IPV4),
    (0x30, 0, 0, 23),  # protocol
    (0x15, 0, 7, _UDP),
    (0x28, 0, 0, 20),  # fragment offset
    (0x45, 5, 0, 0x1FFF),
    (0xB1, 0, 0, 14),  # length of the IPv4 header
    (0x48, 0, 0, 14),  # UDP source port
    (0x15, 1, 0, _DHCP_SERVER),
    (0x05, 0, 0, 1),
    (0x06, 0, 0, 2048),
    (0x06, 0, 0, 0),
)
"""The same choice for the kernel, as classic BPF (code, jump if true, jump if false, value): the rest it drops."""


class Told(NamedTuple):
    """A MAC address has an IP address; ``source`` is arp, arp-probe, nd, nd-probe or dhcp."""

    mac: str
    address: str
    source: str


def read(frame: bytes) -> Told | None:
    """What a frame tells, or None. Whatever a guest may send raises nothing."""
    try:
        kind = struct.unpack_from("!H", frame, 12)[0]
        reader = {ARP: _arp, IPV6: _neighbour, IPV4: _dhcp}.get(kind)
        return reader(frame) if reader else None
    except (struct.error, IndexError, ValueError, OSError):
        return None  # cut short


def _arp(frame: bytes) -> Told | None:
    """An address that is probed for before it is used has no sender yet (RFC 5227)."""
    if len(frame) < _ETHERNET + 28 or frame[14:20] != b"\0\1\x08\0\6\4":
        return None
    mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
    if any(sender):
        return Told(mac.hex(":"), socket.inet_ntoa(sender), "arp")
    return Told(mac.hex(":"), socket.inet_ntoa(target), "arp-probe") if any(target) else None


def _neighbour(frame: bytes) -> Told | None:
    """A solicitation without a source asks whether an address is free; an advertisement claims one (RFC 4861)."""
    if len(frame) < 78 or frame[20] != _ICMPV6 or frame[21] != 255:  # 255: it did not come through a router
        return None
    mac, source, target = frame[6:12].hex(":"), frame[22:38], frame[62:78]
    if frame[54] == ADVERTISEMENT:
        return Told(mac, socket.inet_ntop(socket.AF_INET6, target), "nd")
    if frame[54] != SOLICITATION:
        return None
    if any(source):
        return Told(mac, socket.inet_ntop(socket.AF_INET6, source), "nd")
    return Told(mac, socket.inet_ntop(socket.AF_INET6, target), "nd-probe")


def _dhcp(frame: bytes) -> Told | None:
    """A server's DHCPACK names the client and its address (RFC 2131)."""
    at = _ETHERNET + (frame[14] & 15) * 4
    source, destination = struct.unpack_from("!HH", frame, at)
    packet = frame[at + 8 :]
    if frame[23] != _UDP or (source, destination) != (_DHCP_SERVER, _DHCP_CLIENT) or packet[236:240] != _COOKIE:
        return None
    address = packet[16:20]
    acknowledged = _option(packet[240:], 53) == bytes([_ACK]) and any(address)
    return Told(packet[28:34].hex(":"), socket.inet_ntoa(address), "dhcp") if acknowledged else None


def _option(options: bytes, wanted: int) -> bytes | None:
    at = 0
    while at < len(options) and options[at] != 255:
        if options[at] == 0:
            at += 1
            continue
        length = options[at + 1]
        if options[at] == wanted:
            return options[at + 2 : at + 2 + length]
        at += 2 + length
    return None

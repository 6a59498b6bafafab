"""What frames tell, and that no frame, however broken, does any harm."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmd.host.frames import read

UNKNOWN = socket.inet_ntoa(bytes(4))
GUEST, OTHER = bytes.fromhex("525400000001"), bytes.fromhex("020000000901")


def arp(sender: str, target: str) -> bytes:
    ends = GUEST + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)
    return b"\xff" * 6 + GUEST + b"\x08\x06" + b"\0\1\x08\0\6\4\0\1" + ends


def discovery(kind: int, source: str, target: str, hops: int = 255) -> bytes:
    message = struct.pack("!BBHI", kind, 0, 0, 0) + socket.inet_pton(10, target)
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, hops) + socket.inet_pton(10, source) + bytes(16)
    return OTHER + GUEST + b"\x86\xdd" + header + message


def dhcp(kind: int, ip_options: bytes = b"", source: int = 67, target: int = 68) -> bytes:
    packet = bytes(16) + socket.inet_aton("192.168.9.7") + bytes(8) + GUEST + bytes(202)
    packet += b"\x63\x82\x53\x63" + b"\0" + bytes([12, 2, 53, 1]) + bytes([53, 1, kind, 255])
    header = bytes([0x45 + len(ip_options) // 4]) + bytes(8) + b"\x11" + bytes(10) + ip_options
    return GUEST + OTHER + b"\x08\0" + header + struct.pack("!HHHH", source, target, 0, 0) + packet


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (arp("192.168.9.7", "192.168.9.1"), ("192.168.9.7", "arp")),
        (arp(UNKNOWN, "192.168.9.7"), ("192.168.9.7", "arp-probe")),
        (discovery(135, "fd00::7", "fd00::1"), ("fd00::7", "nd")),
        (discovery(135, "::", "fd00::7"), ("fd00::7", "nd-probe")),
        (discovery(136, "fe80::1", "fd00::7"), ("fd00::7", "nd")),
        (dhcp(5), ("192.168.9.7", "dhcp")),
        (dhcp(5, bytes(8)), ("192.168.9.7", "dhcp")),
    ],
)
def test_it_tells(frame: bytes, told: tuple[str, str]) -> None:
    assert read(frame) == (GUEST.hex(":"), *told)


@pytest.mark.parametrize(
    "frame",
    [
        arp(UNKNOWN, UNKNOWN),
        discovery(135, "fd00::7", "fd00::1", hops=64),
        discovery(133, "fd00::7", "fd00::1"),
        dhcp(2),
        dhcp(6),
        dhcp(5, source=68, target=67),
        OTHER + GUEST + b"\x88\xcc" + bytes(60),
        b"",
    ],
)
def test_it_tells_nothing(frame: bytes) -> None:
    assert read(frame) is None


@pytest.mark.parametrize("frame", [arp("1.2.3.4", "1.2.3.5"), discovery(136, "fe80::1", "fd00::7"), dhcp(5)])
def test_cut_anywhere_it_does_no_harm(frame: bytes) -> None:
    for length in range(len(frame)):
        read(frame[:length])


@given(st.sampled_from((b"\x08\x06", b"\x86\xdd", b"\x08\0")), st.binary(max_size=400))
def test_nothing_does_harm(kind: bytes, rest: bytes) -> None:
    read(OTHER + GUEST + kind + rest)

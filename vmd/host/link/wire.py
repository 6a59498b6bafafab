"""Netlink messages as plain data, to the kernel and back: the one place that knows pyroute2.

Only its codec is taken (0.7.12 to 0.9.7 alike): its sockets each have a loop or a thread of their own, and one send
of many messages they don't know. A round trip takes microseconds, so it is made without one.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from pyroute2.netlink import rtnl  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.marshal import MarshalRtnl  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.tcmsg import sched_netem  # type: ignore[import-untyped]

from vmd.errors import VmdError

Facts = dict[str, Any]
Message = Mapping[str, Any]

FLAGS: Final = {"replace": 0x100, "excl": 0x200, "create": 0x400, "append": 0x800, "dump": 0x300}
LINK_GROUP, NEIGHBOUR_GROUP, IPV6_ROUTE_GROUP = 0x1, 0x4, 0x400
"""RTMGRP_LINK, RTMGRP_NEIGH and RTMGRP_IPV6_ROUTE (linux/rtnetlink.h): what a listener is told."""
MISSING: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL})
"""What the kernel answers to a removal of what isn't there; EINVAL for an address on a link without IPv6."""
_REQUEST, _ACK = 0x1, 0x4
_ERROR, _DONE = 2, 3
_OWN_HEADER = struct.Struct("=IHHII")
_PATIENCE = 10.0
"""Seconds for the kernel to answer: it does so at once unless the machine is in trouble."""

_marshal = MarshalRtnl()


@contextmanager
def netlink(groups: int = 0) -> Iterator[socket.socket]:
    """Open a socket to the kernel's links; with ``groups`` it hears of their changes."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((0, groups))
        sock.settimeout(_PATIENCE)
        yield sock


class Sent(NamedTuple):
    """The kernel's errno for each message, 0 where it was done, and the milliseconds it took for all."""

    results: list[int]
    milliseconds: float


def send(messages: Sequence[Message]) -> Sent:
    """Send all messages in one write.

    The kernel carries them out in order, each for itself: a failed one doesn't stop the next. A removal that finds
    nothing counts as done. A link that isn't there gives ENODEV.
    """
    results: dict[int, int] = {}
    packed = bytearray()
    for number, message in enumerate(messages):
        try:
            packed += pack(message, number, _REQUEST | _ACK)
        except OSError:  # no such link
            results[number] = errno.ENODEV
    with netlink() as sock:
        milliseconds = _write(sock, packed) if packed else 0.0
        while len(results) < len(messages):
            results.update(_acknowledged(sock.recv(1 << 20)))
    return Sent([_verdict(message, results[number]) for number, message in enumerate(messages)], milliseconds)


def _write(sock: socket.socket, packed: bytes | bytearray) -> float:
    """The kernel works within this call, before other programs: between two messages packets could be lost."""
    before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):  # a container may forbid it; then it goes as it goes
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    begun = time.monotonic()
    try:
        sock.send(packed)
        return (time.monotonic() - begun) * 1000
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, before, priority)


def _verdict(message: Message, result: int) -> int:
    return 0 if message.get("finds_nothing") and result in MISSING else result


def _acknowledged(data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        length, kind, _, number, _ = _OWN_HEADER.unpack_from(data, at)
        if kind == _ERROR:
            yield number, -struct.unpack_from("=i", data, at + _OWN_HEADER.size)[0]
        at += (length + 3) & ~3


def carry_out(messages: Sequence[Message]) -> None:
    """Send messages and have each done. Raises VmdError that says which were not, and why."""
    for message, result in zip(messages, send(messages).results, strict=True):
        if result:
            raise VmdError(f"the kernel refused {in_words(message)}: {os.strerror(result)}")


def one_by_one(messages: Sequence[Message]) -> None:
    """Send each message when the one before is done, as where one names a link that another makes.

    Raises VmdError for the first that is refused.
    """
    for message in messages:
        carry_out([message])


def in_words(message: Message) -> str:
    """A message for a person."""
    attrs = {name: value for name, value in message["attrs"] if not isinstance(value, dict) or "link" in value}
    return f"{message['type']} {dict(message['header'])} {attrs}"


def pack(message: Message, number: int, flags: int) -> bytes:
    """Encode one message; ``number`` is its sequence number. Raises OSError when a link it names isn't there."""
    kind = getattr(rtnl, message["type"])
    encoded = _marshal.msg_map[kind]()
    for name, value in message["header"].items():
        encoded[name] = _numbered(value)
    encoded["attrs"] = [(name, _encodable(name, value)) for name, value in message["attrs"]]
    encoded["header"]["type"] = kind
    encoded["header"]["flags"] = flags | sum(FLAGS[name] for name in message["flags"])
    encoded["header"]["sequence_number"] = number
    encoded.reset()
    encoded.encode()
    return bytes(encoded.data).ljust((len(encoded.data) + 3) & ~3, b"\0")


def _encodable(name: str, value: Any) -> Any:
    """What pyroute2 encodes: it takes RTA_EXPIRES, a 32-bit number of seconds, for bytes."""
    return struct.pack("=I", value) if name == "RTA_EXPIRES" else _numbered(value)


def _numbered(value: Any) -> Any:
    """Turn a link's name into its number, however deep."""
    if not isinstance(value, Mapping):
        return value
    if "link" in value:
        return socket.if_nametoindex(value["link"])
    if "attrs" in value:
        return {**value, "attrs": [(name, _numbered(inner)) for name, inner in value["attrs"]]}
    return dict(value)


def ask(kind: str, **header: int) -> list[Facts]:
    """Everything the kernel has of one kind: LINK, ADDR, ROUTE, NEIGH, RULE, QDISC."""
    request = {"type": f"RTM_GET{kind}", "flags": ["dump"], "header": header, "attrs": []}
    with netlink() as sock:
        sock.send(pack(request, 0, _REQUEST))
        return list(_answers(sock, kind))


def ask_one(kind: str, header: Message, attrs: Sequence[Any] = ()) -> Facts | None:
    """The one thing that is asked for, or None when there is none."""
    request = {"type": f"RTM_GET{kind}", "flags": [], "header": header, "attrs": attrs}
    with netlink() as sock:
        sock.send(pack(request, 0, _REQUEST))
        (answer,) = _marshal.parse(sock.recv(1 << 20))
    return None if answer["header"].get("error") else plain(answer)


def _answers(sock: socket.socket, kind: str) -> Iterator[Facts]:
    while True:
        for answer in _marshal.parse(sock.recv(1 << 20)):
            if answer["header"]["type"] == _DONE:
                return
            if error := answer["header"].get("error"):
                raise VmdError(f"the kernel refused to list {kind}: {error}")
            yield plain(answer)


def heard(sock: socket.socket) -> Iterator[Facts]:
    """What a listening socket has to tell; ``event`` is RTM_NEWLINK, RTM_DELLINK and so on.

    Raises OSError with ENOBUFS when the kernel had to drop some: then all must be looked at anew.
    """
    for answer in _marshal.parse(sock.recv(1 << 20)):
        yield {**plain(answer), "event": answer["event"]}


def plain(value: Any) -> Any:
    """What pyroute2 decoded as plain data, fit for JSON; attributes it doesn't know are left out."""
    if isinstance(value, Mapping):
        found = {key: plain(item) for key, item in value.items() if key not in {"header", "attrs", "event"}}
        if "attrs" in value:
            found["attrs"] = [[item[0], plain(item[1])] for item in value["attrs"] if item[0] != "UNKNOWN"]
        return {key: item for key, item in found.items() if not key.startswith("__")}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes | bytearray) else value


def netem_options(loss: float, delay: float) -> Facts:
    """What tc-netem(8) is told, in the kernel's own units; ``loss`` in percent, ``delay`` in milliseconds."""
    options: Facts = sched_netem.get_parameters({"loss": loss, "delay": delay * 1000})
    return options


def attr(facts: Mapping[str, Any], name: str, otherwise: Any = None) -> Any:
    """The value of one attribute, by the kernel's name for it."""
    return next((value for known, value in facts["attrs"] if known == name), otherwise)


def first(found: Iterable[Facts], wanted: Callable[[Facts], bool]) -> Facts | None:
    """The first that is wanted."""
    return next(filter(wanted, found), None)

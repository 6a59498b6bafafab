"""Carry out a planned move of a NIC under a bridge, and look whether the network still answers.

A move comes as plain data, made beforehand from :func:`vmd.host.link.facts.dump`: here nothing is decided.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from vmd.errors import VmdError
from vmd.host.link.facts import find, neighbours, set_sysctls
from vmd.host.link.wire import (
    IPV6_ROUTE_GROUP,
    LINK_GROUP,
    NEIGHBOUR_GROUP,
    Sent,
    ask,
    attr,
    heard,
    in_words,
    netlink,
    one_by_one,
    send,
)

Gateway = tuple[int, str]
"""Address family and address."""

CARRIER_PATIENCE = 3.0
"""Seconds until a bridge with a running port must have a carrier; 4 ms are usual, the kernel may wait for 1 s."""
LOCAL_PATIENCE = 1.0
"""Seconds for IPv6 addresses to become usable: less than a millisecond on a quiet machine."""
_LOCAL = 2
_REACHABLE, _PROBE, _USE, _CREATE = 0x02, 0x10, 0x01, ("create", "replace")


class Moved(NamedTuple):
    """How a move went: how many messages the one send had, and how long the kernel took for it in milliseconds."""

    messages: int
    milliseconds: float


def apply(move: Mapping[str, Any]) -> Moved:
    """Make the bridge, give it a carrier, and move the NIC under it in one send.

    Raises VmdError for the first thing the kernel refuses. What was done until then stays: undo it with the record
    that was written before.
    """
    one_by_one(move["make"])
    set_sysctls(move["sysctls"])
    with netlink(LINK_GROUP) as sock:
        one_by_one(move["prime"])
        _await_carrier(sock, move["bridge"])
    sent = shift(move["bridge"], move["ready"], move["go"])
    _check([*move["ready"], *move["go"]], sent.results)
    one_by_one(move["unprime"])
    set_sysctls(move["held"])
    _check(move["settle"], send(move["settle"]).results)
    return Moved(len(sent.results), sent.milliseconds)


def shift(onto: str, ready: Sequence[Mapping[str, Any]], go: Sequence[Mapping[str, Any]]) -> Sent:
    """Give a link its addresses, wait until they are usable, then send what moves the traffic to it.

    The milliseconds are those of what moves. The results are those of both.
    """
    with netlink(IPV6_ROUTE_GROUP) as sock:
        first = send(ready)
        _await_local(sock, onto, {attr(one, "IFA_ADDRESS") for one in ready if _gives_ipv6(one)})
    second = send(go)
    return Sent(first.results + second.results, second.milliseconds)


def _gives_ipv6(message: Mapping[str, Any]) -> bool:
    return bool(message["type"] == "RTM_NEWADDR" and message["header"]["family"] == socket.AF_INET6)


def _await_local(sock: socket.socket, link: str, addresses: set[str]) -> None:
    """Wait for the kernel to take packets to these addresses on this link: a work queue of its own does it.

    Without a carrier it never does: after ``LOCAL_PATIENCE`` we go on.
    """
    end = time.monotonic() + LOCAL_PATIENCE
    with suppress(VmdError):
        while not addresses <= _taken(_index(link)):
            _hear(sock, end, f"{link} takes no packets to its addresses yet")


def _taken(index: int) -> set[str]:
    routes = ask("ROUTE", family=socket.AF_INET6)
    return {attr(one, "RTA_DST") for one in routes if one["type"] == _LOCAL and attr(one, "RTA_OIF") == index}


def _check(messages: Sequence[Mapping[str, Any]], results: Sequence[int]) -> None:
    refused = [(message, result) for message, result in zip(messages, results, strict=True) if result]
    if refused:
        words = "; ".join(f"{in_words(message)}: {os.strerror(result)}" for message, result in refused)
        raise VmdError(f"the kernel refused {len(refused)} of {len(results)} changes: {words}")


def _await_carrier(sock: socket.socket, bridge: str) -> None:
    """Wait until IP believes in the bridge's carrier. Raises VmdError when it doesn't in time."""
    end = time.monotonic() + CARRIER_PATIENCE
    found = find(bridge)
    while found and found["state"] != "UP":
        _hear(sock, end, f"{bridge} has no carrier after {CARRIER_PATIENCE:g} s")
        found = find(bridge)


def _hear(sock: socket.socket, end: float, complaint: str) -> list[dict[str, Any]]:
    sock.settimeout(max(0.001, end - time.monotonic()))
    try:
        return list(heard(sock))
    except TimeoutError:
        raise VmdError(complaint) from None


def answering(link: str, gateways: Sequence[Gateway], patience: float) -> frozenset[Gateway]:
    """Ask each gateway by ARP or neighbour discovery; return those that answered within ``patience`` seconds.

    One that is known stays usable while it is asked. Raises VmdError when there is no such link.
    """
    end = time.monotonic() + patience
    index = _index(link)
    answered: set[Gateway] = set()
    with netlink(NEIGHBOUR_GROUP) as sock:
        send([_question(link, index, gateway) for gateway in gateways])
        while answered < set(gateways):
            try:
                events = _hear(sock, end, f"no answer on {link}")
            except VmdError:
                break
            answered |= {_gateway(event) for event in events if _is_reachable(event, index)} & set(gateways)
    return frozenset(answered)


def _index(link: str) -> int:
    try:
        return socket.if_nametoindex(link)
    except OSError as error:
        raise VmdError(f"there is no link {link}") from error


def _question(link: str, index: int, gateway: Gateway) -> dict[str, Any]:
    """Have the kernel ask a neighbour now: probe one it knows, look for one it doesn't (ip-neighbour(8))."""
    family, address = gateway
    known = any(_gateway(found) == gateway and attr(found, "NDA_LLADDR") for found in neighbours(index))
    header = {"family": family, "ifindex": {"link": link}, "state": _PROBE if known else 0}
    header["flags"] = 0 if known else _USE
    return {"type": "RTM_NEWNEIGH", "flags": _CREATE, "header": header, "attrs": [["NDA_DST", address]]}


def _gateway(neighbour: Mapping[str, Any]) -> Gateway:
    return neighbour["family"], str(attr(neighbour, "NDA_DST"))


def _is_reachable(event: Mapping[str, Any], index: int) -> bool:
    return bool(event["event"] == "RTM_NEWNEIGH" and event["ifindex"] == index and event["state"] & _REACHABLE)

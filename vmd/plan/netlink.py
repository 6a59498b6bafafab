"""Addresses, routes and neighbours of one link, as netlink messages that put the same on another link.

A message is plain data, fit for JSON: ``type``, ``flags``, ``header``, ``attrs``; attributes keep the kernel's names
(linux/rtnetlink.h, if_addr.h, neighbour.h). What is read from the kernel has the same shape. A link is named in a
plan, ``{"link": "br0"}``, and numbered only when the message is sent. ``finds_nothing`` marks a removal that is as
good as done when there is nothing to remove.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

Message = dict[str, Any]
Facts = Mapping[str, Any]

INET, INET6 = 2, 10
FOREVER = 0xFFFFFFFF
KERNEL = 2
"""RTPROT_KERNEL: the route came with an address, or a manager says that it should look so (NetworkManager 1.42)."""
REDIRECT = 1
"""RTPROT_REDIRECT: what a router told us in passing; the next one tells it again."""

_TEMPORARY, _NODAD, _NOPREFIXROUTE = 0x01, 0x02, 0x200
_KEPT_FLAGS = 0x10 | 0x100 | _NOPREFIXROUTE | 0x400  # HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN
_KNOWN_STATES = 0x02 | 0x04 | 0x08 | 0x10  # REACHABLE, STALE, DELAY, PROBE
_STALE, _PERMANENT, _ROUTER = 0x04, 0x80, 0x80
_CLONED, _ONLINK = 0x200, 0x4
_UNICAST, _COMPAT_TABLE = 1, 252
_ADDRESS_ATTRS = ("IFA_LOCAL", "IFA_ADDRESS", "IFA_BROADCAST", "IFA_RT_PRIORITY", "IFA_PROTO")
_ROUTE_ATTRS = (
    "RTA_DST",
    "RTA_SRC",
    "RTA_GATEWAY",
    "RTA_VIA",
    "RTA_PREFSRC",
    "RTA_PRIORITY",
    "RTA_METRICS",
    "RTA_PREF",
)


def attr(facts: Facts, name: str, otherwise: Any = None) -> Any:
    """The value of one attribute of what was read from the kernel."""
    return next((value for known, value in facts["attrs"] if known == name), otherwise)


def message(kind: str, header: Facts, attrs: Sequence[Sequence[Any]] = (), flags: Sequence[str] = ()) -> Message:
    """Make one message; ``flags`` are among create, replace, excl and append."""
    return {
        "type": f"RTM_{kind}",
        "flags": list(flags),
        "header": dict(header),
        "attrs": [list(pair) for pair in attrs],
    }


def removal(kind: str, header: Facts, attrs: Sequence[Sequence[Any]] = ()) -> Message:
    """Make a message that removes; there may be nothing to remove."""
    return {**message(kind, header, attrs), "finds_nothing": True}


def link(name: str) -> dict[str, str]:
    """Mean a link by its name."""
    return {"link": name}


def add_address(address: Facts, onto: str, *, dad: bool = False) -> Message:
    """Put an address on a link, with its lifetimes, or renew it there.

    An IPv6 address was proven unique on this very network: duplicate address detection is not asked for again, and
    with ``dad`` the mark that says so is taken off an address that is there already. That an address was a temporary
    or a stable private one the kernel lets nobody write (Linux 6.18).
    """
    family = address["family"]
    flags = flags_of(address) & _KEPT_FLAGS | (_NODAD if family == INET6 and not dad else 0)
    attrs = [[name, value] for name in _ADDRESS_ATTRS if (value := attr(address, name)) is not None]
    if label := _label(address, onto):
        attrs.append(["IFA_LABEL", label])
    preferred, valid = lifetimes(address)
    attrs.append(["IFA_CACHEINFO", {"ifa_preferred": preferred, "ifa_valid": valid, "cstamp": 0, "tstamp": 0}])
    header = {"family": family, "prefixlen": address["prefixlen"], "scope": address["scope"], "index": link(onto)}
    return message("NEWADDR", header, [*attrs, ["IFA_FLAGS", flags]], ("create", "replace"))


def _label(address: Facts, onto: str) -> str | None:
    """The label on its new link: one that began with the old link's name begins with the new one's."""
    label = attr(address, "IFA_LABEL")
    if label is None:
        return None
    rest = label.partition(":")[2]
    return f"{onto}:{rest}"[:15] if rest else onto


def flags_of(address: Facts) -> int:
    """All flags of an address, as the kernel tells them."""
    return int(attr(address, "IFA_FLAGS", address.get("flags", 0)))


def lifetimes(address: Facts) -> tuple[int, int]:
    """For how many seconds an address is still preferred, and valid; ``FOREVER`` is for ever."""
    cache = attr(address, "IFA_CACHEINFO", {})
    return int(cache.get("ifa_preferred", FOREVER)), int(cache.get("ifa_valid", FOREVER))


def remove_address(address: Facts, of: str) -> Message:
    """Take an address off a link."""
    names = ("IFA_LOCAL", "IFA_ADDRESS")
    attrs = [[name, value] for name in names if (value := attr(address, name)) is not None]
    return removal("DELADDR", {**_pick(address, "family", "prefixlen", "scope"), "index": link(of)}, attrs)


def remembered(neighbour: Facts) -> bool:
    """Tell whether a neighbour's link address is known, and is not merely computed from its IP address."""
    known = bool(neighbour["state"] & (_KNOWN_STATES | _PERMANENT))
    return known and attr(neighbour, "NDA_LLADDR") is not None


def add_neighbour(neighbour: Facts, onto: str) -> Message:
    """Let a link know a neighbour: as stale, so that the kernel asks it again while it already talks to it."""
    state = _PERMANENT if neighbour["state"] & _PERMANENT else _STALE
    header = {"family": neighbour["family"], "ifindex": link(onto), "state": state, "ndm_type": 0}
    header["flags"] = neighbour["flags"] & _ROUTER
    attrs = [[name, attr(neighbour, name)] for name in ("NDA_DST", "NDA_LLADDR")]
    return message("NEWNEIGH", header, attrs, ("create", "replace"))


def table(route: Facts) -> int:
    """The number of the table that a route is in."""
    return int(attr(route, "RTA_TABLE", route["table"]))


def destination(route: Facts) -> str:
    """Where a route leads, with its prefix length."""
    anywhere = "0.0.0.0" if route["family"] == INET else "::"  # noqa: S104 - a destination
    return f"{attr(route, 'RTA_DST', anywhere)}/{route['dst_len']}"


def carried(routes: Sequence[Facts], addresses: Sequence[Facts]) -> Iterator[Facts]:
    """The routes that must be put on the new link, those first that the gateways of others are reached by.

    The kernel makes the rest by itself from the addresses.
    """
    made = set(_connected(addresses))
    mine = [route for route in routes if not route["flags"] & _CLONED and route["proto"] != REDIRECT]
    wanted = [r for r in mine if r["proto"] != KERNEL or (r["type"] == _UNICAST and _same(r) not in made)]
    yield from sorted(wanted, key=lambda route: (_gatewayed(route), -route["dst_len"]))


def _gatewayed(route: Facts) -> bool:
    return attr(route, "RTA_GATEWAY") is not None or attr(route, "RTA_VIA") is not None


def _same(route: Facts) -> tuple[str, int]:
    return destination(route), int(attr(route, "RTA_PRIORITY", 0))


def _connected(addresses: Sequence[Facts]) -> Iterator[tuple[str, int]]:
    """The networks that come with addresses, with the metric the kernel gives them."""
    for address in addresses:
        if not flags_of(address) & _NOPREFIXROUTE:
            network = ip_network(f"{attr(address, 'IFA_ADDRESS')}/{address['prefixlen']}", strict=False)
            usual = 256 if address["family"] == INET6 else 0
            yield str(network), int(attr(address, "IFA_RT_PRIORITY") or usual)


def seconds_left(route: Facts) -> int:
    """For how many seconds a route is still good; 0 is for ever. The kernel tells it in hundredths (USER_HZ)."""
    return int(attr(route, "RTA_CACHEINFO", {}).get("rta_expires", 0)) // 100


def replace_route(route: Facts, onto: str) -> Message:
    """Let a route lead over another link, in the place of the one that is there."""
    attrs = [[name, value] for name in _ROUTE_ATTRS if (value := attr(route, name)) is not None]
    attrs += [["RTA_TABLE", table(route)], ["RTA_OIF", link(onto)]]
    if route["family"] == INET6 and attr(route, "RTA_CACHEINFO", {}).get("rta_expires", 0):
        attrs.append(["RTA_EXPIRES", max(1, seconds_left(route))])
    return message("NEWROUTE", _route_header(route), attrs, ("create", "replace"))


def remove_route(route: Facts, of: str) -> Message:
    """Take a route off a link."""
    names = ("RTA_DST", "RTA_GATEWAY", "RTA_PRIORITY")
    attrs = [[name, value] for name in names if (value := attr(route, name)) is not None]
    return removal("DELROUTE", _route_header(route), [*attrs, ["RTA_TABLE", table(route)], ["RTA_OIF", link(of)]])


def _route_header(route: Facts) -> dict[str, Any]:
    kept = _pick(route, "family", "dst_len", "src_len", "tos", "proto", "scope", "type")
    number = table(route)
    return {**kept, "flags": route["flags"] & _ONLINK, "table": number if number < 256 else _COMPAT_TABLE}


def _pick(facts: Facts, *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names}

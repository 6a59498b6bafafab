"""What is known of one link: itself, its addresses, routes, neighbours and sysctls, as plain facts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from vmd.errors import VmdError
from vmd.host.link.wire import Facts, ask, ask_one, attr

SYSCTLS = Path("/proc/sys/net")
"""Those of the caller's network namespace, whatever is mounted (Linux 2.6.29 and on)."""
_GROUPS = ("ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh")
_UP = 0x1
_LOCAL = 255
_SKIP_STATISTICS = 0x8  # RTEXT_FILTER_SKIP_STATS


def dump(name: str, sys: Path = Path("/sys/class/net")) -> Facts:
    """All there is of one link, fit for JSON. Raises VmdError when there is no such link.

    ``sys`` is asked whether the card is a Wi-Fi card. ``above`` are the links that stand on it, ``elsewhere`` the
    routes over other links, ``names`` all links there are.
    """
    links = ask("LINK")
    found = next((link for link in links if attr(link, "IFLA_IFNAME") == name), None)
    if found is None:
        raise VmdError(f"there is no link {name}", "`ip link` shows those there are")
    index = found["index"]
    routes = ask("ROUTE", family=socket.AF_INET) + ask("ROUTE", family=socket.AF_INET6)
    return {
        "link": {**link_facts(found), "wireless": any((sys / name / kind).exists() for kind in _WIRELESS)},
        "addresses": [address for address in ask("ADDR") if address["index"] == index],
        "routes": [route for route in routes if _over(route, index)],
        "elsewhere": [route for route in routes if not _over(route, index)],
        "neighbours": neighbours(index),
        "rules": ask("RULE", family=socket.AF_INET) + ask("RULE", family=socket.AF_INET6),
        "sysctls": dict(_sysctls(name)),
        "above": [attr(link, "IFLA_IFNAME") for link in links if _stands_on(link, index)],
        "names": [attr(link, "IFLA_IFNAME") for link in links],
    }


_WIRELESS = ("wireless", "phy80211")


def link_facts(link: Facts) -> dict[str, Any]:
    """One link in few words; ``type`` is the kernel's ARPHRD number, 1 for Ethernet."""
    master = _link(attr(link, "IFLA_MASTER", 0))
    return {
        "name": attr(link, "IFLA_IFNAME"),
        "index": link["index"],
        "type": link["ifi_type"],
        "mac": attr(link, "IFLA_ADDRESS", ""),
        "mtu": attr(link, "IFLA_MTU"),
        "kind": kind(link),
        "master": attr(master, "IFLA_IFNAME") if master else "",
        "master_kind": kind(master) if master else "",
        "up": bool(link["flags"] & _UP),
        "carrier": bool(attr(link, "IFLA_CARRIER")),
        "state": attr(link, "IFLA_OPERSTATE"),
        "altnames": [value for _, value in attr(link, "IFLA_PROP_LIST", {"attrs": []})["attrs"]],
    }


def _link(index: int) -> Facts | None:
    """Without its statistics: they are most of what the kernel would tell."""
    return ask_one("LINK", {"index": index}, [["IFLA_EXT_MASK", _SKIP_STATISTICS]]) if index else None


def kind(link: Facts) -> str:
    """What a link is by the kernel's word: bridge, veth, bond, tun, …; empty for hardware."""
    information = attr(link, "IFLA_LINKINFO") or {"attrs": []}
    return str(attr(information, "IFLA_INFO_KIND", ""))


def find(name: str) -> dict[str, Any] | None:
    """One link in few words, or None."""
    try:
        found = _link(socket.if_nametoindex(name))
    except OSError:
        return None
    return link_facts(found) if found else None


def leads_over(address: str) -> str | None:
    """The link over which packets to an address leave, such as those to the peer of an ssh session.

    None where they go nowhere. Raises VmdError when it is no address.
    """
    try:
        version = ip_address(address).version
    except ValueError as error:
        raise VmdError(f"{address} is no IP address") from error
    family, length = (socket.AF_INET, 32) if version == 4 else (socket.AF_INET6, 128)
    route = ask_one("ROUTE", {"family": family, "dst_len": length}, [["RTA_DST", address]])
    found = _link(attr(route, "RTA_OIF", 0)) if route else None
    return str(attr(found, "IFLA_IFNAME")) if found else None


def neighbours(index: int = 0) -> list[Facts]:
    """Who is known to the kernel, on one link or on all."""
    found = ask("NEIGH", family=socket.AF_INET) + ask("NEIGH", family=socket.AF_INET6)
    return [neighbour for neighbour in found if not index or neighbour["ifindex"] == index]


def _over(route: Facts, index: int) -> bool:
    hops = attr(route, "RTA_MULTIPATH", [])
    local = attr(route, "RTA_TABLE", route["table"]) == _LOCAL
    return not local and (attr(route, "RTA_OIF") == index or any(hop["oif"] == index for hop in hops))


def _stands_on(link: Facts, index: int) -> bool:
    """A VLAN or a macvlan names the link below it; so does a veth name its peer, which is no lower link."""
    return attr(link, "IFLA_LINK") == index and kind(link) != "veth" and attr(link, "IFLA_LINK_NETNSID") is None


def _sysctls(name: str) -> Iterator[tuple[str, str]]:
    """The link's own sysctls, as ``ipv6/conf/accept_ra``; those that can't be read have no value yet."""
    for group in _GROUPS:
        with suppress(FileNotFoundError):
            for path in sorted((SYSCTLS / group / name).iterdir()):
                with suppress(OSError):
                    yield f"{group}/{path.name}", path.read_text().strip()


def set_sysctls(wanted: dict[str, str]) -> None:
    """Write those that differ; a path is below /proc/sys/net. Raises VmdError that names the one which failed."""
    for path, value in wanted.items():
        try:
            if (SYSCTLS / path).read_text().strip() != value:
                (SYSCTLS / path).write_text(value)
        except FileNotFoundError:
            continue  # a sysctl that this kernel, or this kind of link, doesn't have
        except OSError as error:
            raise VmdError(f"sysctl net/{path} can't be set to {value}: {error.strerror}") from error

"""How a NIC in use comes under a bridge and back, with nobody noticing: what to send, in which order.

The order is what keeps packets from being lost. The bridge has the NIC's addresses before the NIC is its port: the
kernel makes IPv6 addresses usable only after the send that brings them. The NIC loses nothing until the bridge
answers for it. And what moves goes to the kernel in one send, which carries it out without a pause: 26 messages in
0.3 to 0.6 ms (Linux 6.18).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .netlink import (
    INET6,
    KERNEL,
    Facts,
    Message,
    add_address,
    add_neighbour,
    attr,
    carried,
    destination,
    flags_of,
    link,
    message,
    remembered,
    removal,
    remove_address,
    remove_route,
    replace_route,
    table,
)

_ETHERNET = 1
_DADFAILED = 0x08
_NAME_LIMIT = 15


@dataclass(frozen=True, slots=True)
class Move:
    """All that is sent for one move; plain data, so that the record that undoes it can be written first.

    ``make`` is harmless: nothing uses the bridge yet. ``prime`` gives it a carrier by a pair of links, which
    ``unprime`` removes. ``ready`` gives it the addresses, ``go`` is the one send that matters, ``settle`` tidies
    after it. ``undo_ready``, ``undo`` and ``undo_settle`` are the same backwards, from any point between.
    ``sysctls`` are the bridge's, by their path below /proc/sys/net; ``held`` are those which wait until ``go`` is
    done; ``own_sysctls`` the NIC's as they were. ``gateways`` are the neighbours that must still answer.
    """

    nic: str
    bridge: str
    make: tuple[Message, ...]
    prime: tuple[Message, ...]
    unprime: tuple[Message, ...]
    ready: tuple[Message, ...]
    go: tuple[Message, ...]
    settle: tuple[Message, ...]
    undo_ready: tuple[Message, ...]
    undo: tuple[Message, ...]
    undo_settle: tuple[Message, ...]
    sysctls: Mapping[str, str]
    held: Mapping[str, str]
    own_sysctls: Mapping[str, str]
    gateways: tuple[tuple[int, str], ...]

    def as_record(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return asdict(self)


def refusals(state: Facts, bridge: str) -> tuple[str, ...]:
    """Why the NIC can't be moved; empty when it can."""
    return (*_unfit(state["link"]), *_in_the_way(state, bridge), *_uncarriable(state))


def _unfit(nic: Facts) -> Iterator[str]:
    name, kind = nic["name"], nic["kind"]
    if nic["wireless"]:
        yield f"{name} is a Wi-Fi card: an access point takes frames from one MAC alone, so it can't be in a bridge"
    elif nic["type"] != _ETHERNET:
        yield f"{name} is no Ethernet NIC"
    if nic["master"]:
        what = "bond" if nic["master_kind"] in {"bond", "team"} else nic["master_kind"] or "device"
        yield f"{name} is a port of the {what} {nic['master']} already: name {nic['master']} instead"
    if kind == "bridge":
        yield f"{name} is a bridge already: use it as `bridge: {name}`, without an uplink"
    elif kind in {"vlan", "bond", "team", "macvlan", "ipvlan", "vrf", "tun"}:
        yield f"{name} is a {kind} device: make the bridge over it with the host's own network manager, then name it"
    if not nic["up"]:
        yield f"{name} is down"


def _in_the_way(state: Facts, bridge: str) -> Iterator[str]:
    if not 0 < len(bridge.encode()) <= _NAME_LIMIT:
        yield f"{bridge!r} is no name for a bridge: a link's name has 1 to {_NAME_LIMIT} bytes"
    if bridge in state["names"]:
        yield f"there is a link {bridge} already"
    if state["above"]:
        above = " and ".join(state["above"])
        yield f"{above} stands on {state['link']['name']} and would lose its traffic to the bridge"


def _uncarriable(state: Facts) -> Iterator[str]:
    nic = state["link"]["name"]
    for rule in state["rules"]:
        if nic in {attr(rule, "FRA_IIFNAME"), attr(rule, "FRA_OIFNAME")}:
            yield f"rule {attr(rule, 'FRA_PRIORITY', 0)} names {nic}: it would have to name the bridge"
    for address in state["addresses"]:
        if flags_of(address) & _DADFAILED:
            yield f"{attr(address, 'IFA_ADDRESS')} on {nic} is another machine's too: remove it first"
    taken = {_place(route) for route in state["elsewhere"]}
    for route in carried(state["routes"], state["addresses"]):
        where = f"the route to {destination(route)} in table {table(route)}"
        if attr(route, "RTA_MULTIPATH") or attr(route, "RTA_NH_ID") is not None:
            yield f"{where} goes over several next hops or a next hop object"
        elif attr(route, "RTA_ENCAP_TYPE") is not None:
            yield f"{where} wraps its packets"
        elif _place(route) in taken:
            yield f"{where} leads over another link too, with the same metric"


def _place(route: Facts) -> tuple[int, str, int, int, int]:
    """What the kernel takes for the same route when one replaces another."""
    metric = int(attr(route, "RTA_PRIORITY", 0))
    return route["family"], destination(route), table(route), route["tos"], metric


def plan_move(state: Facts, bridge: str) -> Move:
    """Plan to put a NIC under a new bridge; ``state`` is what the host dumped, and :func:`refusals` had no word."""
    nic = state["link"]["name"]
    port = message("SETLINK", {"index": link(nic)}, [["IFLA_MASTER", link(bridge)]])
    sysctls = {_sysctl(path, bridge): value for path, value in state["sysctls"].items()}
    generation = f"ipv6/conf/{bridge}/addr_gen_mode"
    held = {generation: sysctls.pop(generation)} if generation in sysctls else {}
    primer, peer = _primers(state)
    return Move(
        nic=nic,
        bridge=bridge,
        make=(_new_bridge(state["link"], bridge),),
        prime=(_up(bridge), _new_primer(primer, peer, bridge), _up(peer)),
        unprime=(_remove_link(primer),),
        ready=tuple(_upper(state, bridge)),
        go=(port, *_routes(state, bridge), *_clear(state, nic)),
        settle=tuple(_settled(state, bridge)),
        undo_ready=(_up(nic), *_upper(state, nic)),
        undo=tuple(_restore(state, nic, bridge)),
        undo_settle=(*_settled(state, nic), _remove_link(bridge), _remove_link(primer)),
        sysctls={
            **sysctls,
            **({generation: "1"} if held else {}),
        },  # 1: the kernel makes up no address before ours is there
        held=held,
        own_sysctls={_sysctl(path, nic): value for path, value in state["sysctls"].items()},
        gateways=_gateways(state),
    )


@dataclass(frozen=True, slots=True)
class Return:
    """The way back as it is sent: what makes the NIC ready, the one send that matters, and what tidies after it."""

    ready: tuple[Message, ...]
    go: tuple[Message, ...]
    settle: tuple[Message, ...]


def plan_return(state: Facts, nic: str) -> Return:
    """Plan to give a NIC all that its bridge has now, and to remove the bridge; ``state`` is the bridge's."""
    bridge = state["link"]["name"]
    return Return(
        ready=(_up(nic), *_upper(state, nic)),
        go=tuple(_restore(state, nic, bridge)),
        settle=(*_settled(state, nic), _remove_link(bridge)),
    )


def _upper(state: Facts, onto: str) -> Iterator[Message]:
    yield from (add_neighbour(found, onto) for found in state["neighbours"] if remembered(found))
    yield from (add_address(address, onto) for address in state["addresses"])


def _routes(state: Facts, onto: str) -> Iterator[Message]:
    yield from (replace_route(route, onto) for route in carried(state["routes"], state["addresses"]))


def _clear(state: Facts, of: str) -> Iterator[Message]:
    """Take everything off a link; secondaries first, for a primary address takes its secondaries along."""
    yield from (remove_address(address, of) for address in reversed(state["addresses"]))
    for route in state["routes"]:
        # What has an expiry stays when its address goes, and so does what two addresses share.
        if route["family"] == INET6 and route["proto"] == KERNEL:
            yield remove_route(route, of)


def _settled(state: Facts, onto: str) -> Iterator[Message]:
    yield from (add_address(found, onto, dad=True) for found in state["addresses"] if found["family"] == INET6)


def _restore(state: Facts, nic: str, bridge: str) -> Iterator[Message]:
    """Backwards. A port sends well on its own, a bridge without it sends nowhere: so the port leaves last."""
    yield from _routes(state, nic)
    yield from _clear(state, bridge)
    yield message("SETLINK", {"index": link(nic)}, [["IFLA_MASTER", 0]])


def _sysctl(path: str, name: str) -> str:
    family, group, key = path.split("/")
    return f"{family}/{group}/{name}/{key}"


def _primers(state: Facts) -> tuple[str, str]:
    return f"vmdp{state['link']['index']}a", f"vmdp{state['link']['index']}b"


def _new_bridge(nic: Facts, bridge: str) -> Message:
    """A bridge with the NIC's MAC and MTU: without a MAC of its own it would take its lowest port's, a guest's."""
    data = [["IFLA_BR_FORWARD_DELAY", 0], ["IFLA_BR_STP_STATE", 0]]
    kind: dict[str, Any] = {"attrs": [["IFLA_INFO_KIND", "bridge"], ["IFLA_INFO_DATA", {"attrs": data}]]}
    attrs = [["IFLA_IFNAME", bridge], ["IFLA_ADDRESS", nic["mac"]], ["IFLA_MTU", nic["mtu"]], ["IFLA_LINKINFO", kind]]
    return message("NEWLINK", {"index": 0}, attrs, ("create", "excl"))


def _new_primer(primer: str, peer: str, bridge: str) -> Message:
    """A link pair with one end in the bridge: IPv6 believes a carrier a second late unless it was there before."""
    data = [["VETH_INFO_PEER", {"attrs": [["IFLA_IFNAME", peer]]}]]
    kind: dict[str, Any] = {"attrs": [["IFLA_INFO_KIND", "veth"], ["IFLA_INFO_DATA", {"attrs": data}]]}
    attrs: list[Any] = [["IFLA_IFNAME", primer], ["IFLA_LINKINFO", kind], ["IFLA_MASTER", link(bridge)]]
    return message("NEWLINK", {"index": 0, "flags": 1, "change": 1}, attrs, ("create", "excl"))


def _up(name: str) -> Message:
    return message("SETLINK", {"index": link(name), "flags": 1, "change": 1})


def _remove_link(name: str) -> Message:
    return removal("DELLINK", {"index": link(name)})


def _gateways(state: Facts) -> tuple[tuple[int, str], ...]:
    found = ((route["family"], attr(route, "RTA_GATEWAY")) for route in state["routes"])
    return tuple(sorted({(family, gateway) for family, gateway in found if gateway}))

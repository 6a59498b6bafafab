"""What nftables is told: tables of our own, each removed as a whole; nobody else's is touched.

As JSON for ``nft -j -f -`` (libnftables-json(5), nftables 1.0.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Command = dict[str, Any]

PREFIX = "vmd_"
"""What the name of each table of ours begins with."""


def nat(segment: str, bridge: str, subnet: str) -> tuple[Command, ...]:
    """Let a segment out: what comes from ``subnet`` and leaves by another link gets that link's address (IPv4)."""
    source = _payload("ip", "saddr", _prefix(subnet))
    leaves = _match("!=", {"meta": {"key": "oifname"}}, bridge)
    chain = {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}
    return tuple(_table("ip", PREFIX + segment, chain, [[source, leaves, {"masquerade": None}]]))


def lock_mac(tap: str, mac: str) -> tuple[Command, ...]:
    """Keep a guest from using another's MAC address, in its frames and in what its ARP says."""
    mine = _match("==", {"meta": {"key": "iifname"}}, tap)
    frame = _payload("ether", "saddr", mac, "!=")
    arp = _payload("arp", "saddr ether", mac, "!=")
    chain = {"type": "filter", "hook": "prerouting", "prio": -300, "policy": "accept"}
    return tuple(_table("bridge", PREFIX + tap, chain, [[mine, frame, {"drop": None}], [mine, arp, {"drop": None}]]))


def unlock_mac(tap: str) -> tuple[Command, ...]:
    """Take away what :func:`lock_mac` made; nothing there is fine."""
    return tuple(_gone("bridge", PREFIX + tap))


def end_nat(segment: str) -> tuple[Command, ...]:
    """Take away what :func:`nat` made; nothing there is fine."""
    return tuple(_gone("ip", PREFIX + segment))


def _table(family: str, name: str, chain: Mapping[str, Any], rules: Sequence[Sequence[Any]]) -> Iterator[Command]:
    """A table that is new, whatever was there: nft does all of it or nothing."""
    yield from _gone(family, name)
    yield {"add": {"table": {"family": family, "name": name}}}
    yield {"add": {"chain": {"family": family, "table": name, "name": "vmd", **chain}}}
    for rule in rules:
        yield {"add": {"rule": {"family": family, "table": name, "chain": "vmd", "expr": list(rule)}}}


def _gone(family: str, name: str) -> Iterator[Command]:
    """To add it first is how to delete what may not be there (nft 1.0.6 has no ``destroy``)."""
    yield {"add": {"table": {"family": family, "name": name}}}
    yield {"delete": {"table": {"family": family, "name": name}}}


def _payload(protocol: str, field: str, value: Any, operator: str = "==") -> Command:
    return _match(operator, {"payload": {"protocol": protocol, "field": field}}, value)


def _match(operator: str, left: Any, right: Any) -> Command:
    return {"match": {"op": operator, "left": left, "right": right}}


def _prefix(subnet: str) -> Command:
    address, _, length = subnet.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}}


def bridged_traffic_remedy(bridge: str, chains: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The rules by which a host that drops what it forwards lets bridged traffic through.

    Needed where br_netfilter has bridged IPv4 pass the host's firewall, as Docker's hosts do: it drops by policy.
    ``chains`` are those of ``nft -j list chains``.
    """
    dropping = [chain for chain in chains if chain.get("hook") == "forward" and chain.get("policy") == "drop"]
    names = {(chain["family"], chain["table"], chain["name"]) for chain in chains}
    return tuple(
        dict.fromkeys(_remedy(bridge, chain, names) for chain in dropping if chain["family"] in {"ip", "inet"})
    )


def _remedy(bridge: str, chain: Mapping[str, Any], names: set[tuple[str, str, str]]) -> str:
    family, table, name = chain["family"], chain["table"], chain["name"]
    if (family, table, name) == ("ip", "filter", "FORWARD"):  # iptables' own
        first = "DOCKER-USER" if ("ip", "filter", "DOCKER-USER") in names else name
        return f"iptables -I {first} -i {bridge} -o {bridge} -j ACCEPT"
    return f"nft insert rule {family} {table} {name} iifname {bridge} oifname {bridge} accept"

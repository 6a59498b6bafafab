"""Isolated segments: a bridge without an uplink, and what is special about a port of it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from vmd.errors import Refused, VmdError
from vmd.host.link.facts import find, set_sysctls
from vmd.host.link.wire import ask, attr, carry_out, netem_options, send

_ROOT = 0xFFFFFFFF
_BRIDGE_FAMILY = 7
_PVID, _UNTAGGED = 0x2, 0x4
_DEFAULT_VLAN = 1


@dataclass(frozen=True, slots=True)
class PortOptions:
    """What is special about a guest's port.

    ``isolated``: no talk with other isolated ports. ``vlan``: the guest is on this VLAN alone, and sees no tag.
    ``loss`` in percent and ``delay`` in milliseconds are of what goes to the guest.
    """

    isolated: bool = False
    vlan: int | None = None
    loss: float = 0.0
    delay: float = 0.0


def make_segment(name: str, mac: str, addresses: Sequence[str] = (), *, vlans: bool = False) -> None:
    """Make a bridge that has no uplink, or bring the one that is there into this shape.

    ``mac`` is a must: without one of its own a bridge has 00:00:00:00:00:00 until its first port comes.
    ``addresses`` are the host's in it, as 192.168.9.1/24. ``vlans`` lets its ports be on different VLANs.
    Raises VmdError when another kind of link has that name, Refused when the kernel can't do VLANs.
    """
    found = find(name)
    if found and found["kind"] != "bridge":
        raise VmdError(f"there is a link {name} already that is no bridge")
    if not found:
        carry_out([_new_bridge(name, mac)])
    if vlans:
        _filter_vlans(name)
    up = {"index": {"link": name}, "flags": 1, "change": 1}
    if not addresses:
        set_sysctls({f"ipv6/conf/{name}/disable_ipv6": "1"})  # the host is not on it
    carry_out([_message("SETLINK", up, [["IFLA_ADDRESS", mac]]), *(_address(name, address) for address in addresses)])


def remove_segment(name: str) -> None:
    """Remove a bridge; none there is fine. Guests that are still in it keep their taps. Raises VmdError."""
    found = find(name)
    if found and found["kind"] != "bridge":
        raise VmdError(f"{name} is no bridge: it is left alone")
    carry_out([{**_message("DELLINK", {"index": {"link": name}}), "finds_nothing": True}])


def is_empty(name: str) -> bool:
    """Tell whether a bridge has no ports; one that isn't there has none."""
    found = find(name)
    return not found or all(attr(link, "IFLA_MASTER") != found["index"] for link in ask("LINK"))


def set_port(port: str, options: PortOptions) -> None:
    """Give a bridge's port these options, and no others.

    Raises Refused when the kernel can't do one of them, VmdError when there is no such port.
    """
    data = {"attrs": [["IFLA_BRPORT_ISOLATED", int(options.isolated)]]}
    kind = {"attrs": [["IFLA_INFO_SLAVE_KIND", "bridge"], ["IFLA_INFO_SLAVE_DATA", data]]}
    carry_out([_message("NEWLINK", _index(port), [["IFLA_LINKINFO", kind]])])
    if options.vlan is not None:
        set_vlan(port, options.vlan)
    shape(port, options.loss, options.delay)


def _filter_vlans(bridge: str) -> None:
    kind = {"attrs": [["IFLA_INFO_KIND", "bridge"], ["IFLA_INFO_DATA", {"attrs": [["IFLA_BR_VLAN_FILTERING", 1]]}]]}
    _ask_for(
        f"VLANs on {bridge}",
        "CONFIG_BRIDGE_VLAN_FILTERING",
        _message("NEWLINK", _index(bridge), [["IFLA_LINKINFO", kind]]),
    )


def set_vlan(port: str, vlan: int, *, tagged: bool = False) -> None:
    """Put a port on one VLAN: untagged as a guest's is, or tagged as an uplink that carries several.

    Raises Refused when the kernel can't.
    """
    flags = 0 if tagged else _PVID | _UNTAGGED
    _ask_for(f"VLAN {vlan} on {port}", "CONFIG_BRIDGE_VLAN_FILTERING", _vlan("SETLINK", port, vlan, flags))
    if not tagged and vlan != _DEFAULT_VLAN:
        carry_out([{**_vlan("DELLINK", port, _DEFAULT_VLAN, 0), "finds_nothing": True}])


def _vlan(kind: str, port: str, vlan: int, flags: int) -> dict[str, Any]:
    data = [["IFLA_BRIDGE_VLAN_INFO", {"flags": flags, "vid": vlan}]]
    header = {"family": _BRIDGE_FAMILY, "index": {"link": port}}
    return _message(kind, header, [["IFLA_AF_SPEC", {"attrs": data}]])


def shape(link: str, loss: float = 0.0, delay: float = 0.0) -> None:
    """Lose ``loss`` percent of what goes out over a link and delay the rest by ``delay`` milliseconds (tc-netem(8)).

    Both 0 take that away again. Raises Refused when the kernel can't, VmdError when there is no such link.
    """
    if loss or delay:
        message = netem_message(link, loss, delay)
        _ask_for(f"loss and delay on {link}", "CONFIG_NET_SCH_NETEM (`modprobe sch_netem`)", message)
    else:
        header = {"family": socket.AF_UNSPEC, "index": {"link": link}, "parent": _ROOT}
        carry_out([{**_message("DELQDISC", header, [["TCA_KIND", "netem"]]), "finds_nothing": True}])


def netem_message(link: str, loss: float, delay: float) -> dict[str, Any]:
    """The message that :func:`shape` sends."""
    header = {"family": socket.AF_UNSPEC, "index": {"link": link}, "parent": _ROOT, "handle": 0x10000}
    attrs = [["TCA_KIND", "netem"], ["TCA_OPTIONS", netem_options(loss, delay)]]
    return _message("NEWQDISC", header, attrs, "create", "replace")


_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOENT, errno.EINVAL})
"""What a kernel answers that was built without the feature (Linux 6.18)."""


def _ask_for(what: str, option: str, message: dict[str, Any]) -> None:
    """Ask for what a kernel may lack. Raises Refused that names the option it was built without."""
    result = send([message]).results[0]
    if result in _UNKNOWN:
        raise Refused(f"this kernel can't do {what}", f"it needs {option}, which Debian's kernels have")
    if result:
        carry_out([message])  # in the usual words


def _new_bridge(name: str, mac: str) -> dict[str, Any]:
    data = [["IFLA_BR_FORWARD_DELAY", 0], ["IFLA_BR_STP_STATE", 0]]
    kind = {"attrs": [["IFLA_INFO_KIND", "bridge"], ["IFLA_INFO_DATA", {"attrs": data}]]}
    attrs = [["IFLA_IFNAME", name], ["IFLA_ADDRESS", mac], ["IFLA_LINKINFO", kind]]
    return _message("NEWLINK", {"index": 0}, attrs, "create", "excl")


def _address(link: str, written: str) -> dict[str, Any]:
    interface = ip_interface(written)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    attrs = [["IFA_LOCAL", str(interface.ip)], ["IFA_ADDRESS", str(interface.ip)]]
    if interface.version == 4 and interface.network.num_addresses > 2:
        attrs.append(["IFA_BROADCAST", str(interface.network.broadcast_address)])
    header = {"family": family, "prefixlen": interface.network.prefixlen, "scope": 0, **_index(link)}
    return _message("NEWADDR", header, attrs, "create", "replace")


def _index(link: str) -> dict[str, Any]:
    return {"index": {"link": link}}


def _message(kind: str, header: dict[str, Any], attrs: Sequence[Any] = (), *flags: str) -> dict[str, Any]:
    return {"type": f"RTM_{kind}", "flags": flags, "header": header, "attrs": attrs}

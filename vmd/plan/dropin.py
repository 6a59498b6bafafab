"""What a host's network manager must be told so that a bridge persists and the manager agrees: files of our own.

Each file is new, and removing it undoes it. Where that is not enough, because the NIC's configuration stands in a
file of the operator's, the lines to change are said instead.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NAMESPACE = uuid.UUID("6a1a3f0e-52a7-5c0b-8f5d-0d3f6c0e7b44")
_NETWORKD, _MANAGER, _INTERFACES = (
    "/etc/systemd/network",
    "/etc/NetworkManager/system-connections",
    "/etc/network/interfaces.d",
)


@dataclass(frozen=True, slots=True)
class File:
    """A file to write, and to remove again."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class DropIn:
    """What makes a bridge persist.

    ``files`` are written; ``reload`` has the manager read them. ``by_hand`` are lines for the operator, where vmd
    won't change his file: then nothing is written.
    """

    files: tuple[File, ...] = ()
    reload: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge to persist: its name, its NIC, the MAC address and MTU that both have."""

    name: str
    nic: str
    mac: str
    mtu: int


def persist(owner: str, bridge: Bridge, file: str = "", text: str = "") -> DropIn:
    """Say what makes a bridge persist; ``owner`` is who manages the NIC, in ``file`` which says ``text``."""
    if owner == "systemd-networkd":
        return _networkd(bridge, text)
    if owner == "NetworkManager":
        return _network_manager(bridge, text)
    if owner == "ifupdown":
        return _ifupdown(bridge, file, text)
    line = f"nobody manages {bridge.nic}: after a reboot `vmctl net apply` makes {bridge.name} again"
    return DropIn(by_hand=(line,))


def _networkd(bridge: Bridge, text: str) -> DropIn:
    """Three files: the bridge, the NIC as its port, and what the NIC's own file said, for the bridge.

    A reload alone leaves links as they are (systemd 257); whoever has networkd configure the NIC anew finds it meant
    to be where it is.
    """
    netdev = _ini(
        ("NetDev", (f"Name={bridge.name}", "Kind=bridge", f"MACAddress={bridge.mac}", f"MTUBytes={bridge.mtu}")),
        ("Bridge", ("STP=no", "ForwardDelaySec=0")),
    )
    port = _ini(("Match", (f"Name={bridge.nic}",)), ("Network", (f"Bridge={bridge.name}", "LinkLocalAddressing=no")))
    kept = _sections(text, ("Match", "Link")) or _ini(("Network", ("DHCP=yes",)))
    upper = _ini(("Match", (f"Name={bridge.name}",))) + kept
    named = ((f"{bridge.name}.netdev", netdev), (f"{bridge.nic}.network", port), (f"{bridge.name}.network", upper))
    files = tuple(File(f"{_NETWORKD}/05-vmd-{name}", content) for name, content in named)
    return DropIn(files, ("networkctl", "reload"))


def _network_manager(bridge: Bridge, text: str) -> DropIn:
    """Two profiles: the bridge with what the NIC's own profile said of IP, and the NIC as its port.

    They win over the NIC's old profile by their priority (nm-settings(5), autoconnect-priority).
    """
    kept = _sections(text, (), only=("ipv4", "ipv6")) or _ini(("ipv4", ("method=auto",)), ("ipv6", ("method=auto",)))
    upper = _ini(
        ("connection", (*_identity(bridge.name, "bridge"), f"interface-name={bridge.name}")),
        ("ethernet", (f"cloned-mac-address={bridge.mac}", f"mtu={bridge.mtu}")),
        ("bridge", ("stp=false", "forward-delay=0")),
    )
    lower = (
        *_identity(bridge.nic, "ethernet"),
        f"interface-name={bridge.nic}",
        f"master={bridge.name}",
        "slave-type=bridge",
    )
    files = (
        File(f"{_MANAGER}/vmd-{bridge.name}.nmconnection", upper + kept, 0o600),
        File(f"{_MANAGER}/vmd-{bridge.nic}.nmconnection", _ini(("connection", lower)), 0o600),
    )
    return DropIn(files, ("nmcli", "connection", "reload"))


def _identity(link: str, kind: str) -> tuple[str, ...]:
    name = f"vmd-{link}"
    return f"id={name}", f"uuid={uuid.uuid5(_NAMESPACE, name)}", f"type={kind}", "autoconnect-priority=100"


def _ifupdown(bridge: Bridge, file: str, text: str) -> DropIn:
    """A stanza can't be taken back from another file, so what the operator wrote he changes himself."""
    stanzas = list(_stanzas(bridge, text))
    return DropIn(
        by_hand=(f"in {file or '/etc/network/interfaces'}, replace the stanzas of {bridge.nic} by:", *stanzas)
    )


def _stanzas(bridge: Bridge, text: str) -> Iterator[str]:
    yield f"auto {bridge.name}"
    first = True
    for family, lines in _iface(bridge.nic, text):
        yield f"iface {bridge.name} {family}"
        yield from (f"    {line}" for line in lines)
        if first:
            yield f"    bridge_ports {bridge.nic}"
            yield f"    bridge_hw {bridge.mac}"
            yield "    bridge_stp off"
            yield "    bridge_fd 0"
        first = False
    yield f"iface {bridge.nic} inet manual"


def _iface(nic: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """Each ``iface`` stanza of a NIC: ``inet dhcp`` and so on, with its lines (interfaces(5))."""
    found: list[tuple[str, list[str]]] = []
    mine = False
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in _STANZAS or words[0].startswith("allow-"):
            mine = words[:2] == ["iface", nic]
            if mine:
                found.append((" ".join(words[2:]), []))
        elif mine:
            found[-1][1].append(" ".join(words))
    yield from found or [("inet dhcp", [])]


_STANZAS = frozenset(
    {"iface", "auto", "mapping", "source", "source-directory", "no-auto-down", "no-scripts", "rename"}
)


def _ini(*sections: tuple[str, Sequence[str]]) -> str:
    return "".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) + "\n" for name, lines in sections)


def _sections(text: str, without: Sequence[str], only: Sequence[str] = ()) -> str:
    """The sections of an ini file as they stand, comments too, but for some, or some alone."""
    kept, wanted = [], False
    for line in text.splitlines():
        if line.startswith("["):
            name = line.strip().strip("[]")
            wanted = name in only if only else name not in without
        if wanted:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)

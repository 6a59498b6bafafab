"""Who manages a NIC: NetworkManager, systemd-networkd, ifupdown or nobody, from the files in which each says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NETWORK_MANAGER, NETWORKD, IFUPDOWN, NOBODY = "NetworkManager", "systemd-networkd", "ifupdown", "nobody"


class Owner(NamedTuple):
    """Who manages a NIC; ``file`` is where its configuration is, and ``text`` what it says, where that is known."""

    name: str
    file: str = ""
    text: str = ""


def owner(nic: str, index: int, root: Path = Path("/")) -> Owner:
    """Find who manages a NIC; ``index`` is the kernel's number for it.

    NetworkManager 1.42 keeps /run/NetworkManager/devices/INDEX, systemd-networkd 252 /run/systemd/netif/links/INDEX,
    ifupdown 0.8 its stanzas in /etc/network/interfaces.
    """
    return _network_manager(index, root) or _networkd(index, root) or _ifupdown(nic, root) or Owner(NOBODY)


def _network_manager(index: int, root: Path) -> Owner | None:
    said = _values(root / f"run/NetworkManager/devices/{index}")
    if said.get("managed") not in {"true", "full", "1"}:
        return None
    uuid = said.get("connection-uuid", "")
    for directory in ("etc/NetworkManager/system-connections", "run/NetworkManager/system-connections"):
        for path in sorted((root / directory).glob("*.nmconnection")):
            if uuid and _values(path).get("uuid") == uuid:
                return Owner(NETWORK_MANAGER, _outside(path, root), _text(path))
    return Owner(NETWORK_MANAGER)


def _networkd(index: int, root: Path) -> Owner | None:
    said = _values(root / f"run/systemd/netif/links/{index}")
    if said.get("ADMIN_STATE") not in {"configured", "configuring", "pending", "initialized"}:
        return None
    file = said.get("NETWORK_FILE", "")
    return Owner(NETWORKD, file, _text(root / file.lstrip("/"))) if file else Owner(NETWORKD)


def _ifupdown(nic: str, root: Path) -> Owner | None:
    for path in _interfaces(root):
        text = _text(path)
        if any(words[:2] == ["iface", nic] for words in map(str.split, text.splitlines())):
            return Owner(IFUPDOWN, _outside(path, root), text)
    return None


def _interfaces(root: Path) -> Iterator[Path]:
    network = root / "etc/network"
    yield network / "interfaces"
    yield from sorted((network / "interfaces.d").glob("*"))


def _values(path: Path) -> dict[str, str]:
    """The keys of an ini file, whatever section they are in; the first of each counts."""
    found: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, is_value, value = line.partition("=")
        if is_value and not line.lstrip().startswith(("#", ";")):
            found.setdefault(key.strip(), value.strip())
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _outside(path: Path, root: Path) -> str:
    return f"/{path.relative_to(root)}"

"""How a guest's NICs are joined to networks: the steps for it, and what QEMU is told.

With root a NIC is a tap in a bridge, and QEMU gets the tap by descriptor. Without, it is a socket of QEMU's own, and
a switch passes on what it sends. QEMU 7.2 is the first that can do the latter (``-netdev dgram``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..definition.guest import Guest
from ..definition.layout import SOCKET_PATH_LIMIT, bridge, segment_mac, tap
from ..definition.network import USER, Network
from ..errors import Refused
from .observed import HostFacts

Networks = Mapping[str, Network]


@dataclass(frozen=True)
class AddSegment:
    """Make the bridge of a segment; ``mac`` is the bridge's own."""

    network: str
    bridge: str
    mac: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"make the segment {self.network}"


@dataclass(frozen=True)
class AddSwitch:
    """Have a switch run whose guests' sockets, and its own, lie in ``directory``."""

    network: str
    directory: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"have a switch for the segment {self.network}"


@dataclass(frozen=True)
class AddTap:
    """Make a tap, to be handed to the QEMU that is started next, and put it into a bridge.

    ``mac`` is the guest's; ``altnames`` are what the tap is called besides. ``isolated`` keeps it from the bridge's
    other isolated ports.
    """

    network: str
    tap: str
    bridge: str
    mac: str
    isolated: bool
    altnames: tuple[str, ...]

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"make a tap on {self.network}"


def joined(
    guest: Guest, macs: tuple[str, ...], host: HostFacts, networks: Networks
) -> Iterator[AddSegment | AddSwitch | AddTap]:
    """The steps that a QEMU's NICs need before it is started; ``macs`` are theirs."""
    segments = dict.fromkeys(nic.network for nic in guest.nics if nic.network != USER)
    for name in segments:
        if not host.taps:
            yield AddSwitch(name, directory(host, name))
        elif networks[name].bridge is None:
            yield AddSegment(name, bridge(host.fleet_id, name), segment_mac(host.fleet_id, name))
    for index, nic in enumerate(guest.nics):
        if host.taps and nic.network != USER:
            network, own = networks[nic.network], tap(host.fleet_id, guest.name, index)
            onto = network.bridge or bridge(host.fleet_id, network.name)
            # a name with a slash is for people; `ip link show` wants one without
            names = (f"{guest.name}/{network.name}/{index}", f"{guest.name}.{network.name}.{index}")
            yield AddTap(network.name, own, onto, macs[index], network.isolated, names)


def netdev(guest: Guest, index: int, host: HostFacts) -> str:
    """What QEMU is told of the other end of a NIC's cable.

    A tap's ``fd`` is the tap's name here; who starts QEMU puts the number of the descriptor in its place.
    """
    if host.taps:
        return f"tap,id=nic{index},fd={tap(host.fleet_id, guest.name, index)},vhost=off"
    here = directory(host, guest.nics[index].network).replace(",", ",,")
    local = f"local.type=unix,local.path={here}/{guest.name}.{index}"
    return f"dgram,id=nic{index},{local},remote.type=unix,remote.path={here}/switch"


def directory(host: HostFacts, network: str) -> str:
    """Where the sockets of a segment are."""
    return f"{host.segments}/{network}"


def check(guest: Guest, host: HostFacts, networks: Networks) -> None:
    """See that this host can join the guest to its networks.

    :raise Refused: it can't; says what it takes.
    """
    for index, nic in enumerate(guest.nics):
        if nic.network == USER:
            continue
        network = networks.get(nic.network)
        if network is None:
            raise Refused(f"{guest.name}: network: there is no network {nic.network!r} any more")
        if not host.taps:
            _check_without_root(guest, network, f"{directory(host, network.name)}/{guest.name}.{index}")


def _check_without_root(guest: Guest, network: Network, path: str) -> None:
    for key in ("bridge", "isolated"):
        if getattr(network, key):
            raise Refused(
                f"{guest.name}: network: {network.name} has {key}, which takes a vmd of root's and /dev/net/tun",
                f"leave {key} out, or define {guest.name} in /etc/vmd/fleet.d",
            )
    if len(path.encode()) > SOCKET_PATH_LIMIT:
        length = len(path.encode())
        raise Refused(
            f"{guest.name}: network: {path} has {length} bytes, and a socket's path may have {SOCKET_PATH_LIMIT}",
            "set VMD_RUNTIME_DIR to a shorter directory, or give the network a shorter name",
        )

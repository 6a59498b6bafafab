"""What hangs on a network: a guest's NICs, the ports forwarded to them, and the VNC screen's address.

``user`` is built in: QEMU's own NAT, which needs no right of the host's. Others are defined under ``networks``: a
bridge of the host's, or a segment that vmd makes for the guests that name it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from .fault import quoted
from .written import Address, Count, Label, Mac, Strictly, Written, address, wrong

USER = "user"
"""The built-in network."""

FORWARD_PATTERN = r"^(([0-9.]+|\[[0-9A-Fa-f:.]+\]):)?[0-9]{1,5}:[0-9]{1,5}(/(tcp|udp))?$"
VNC_PATTERN = r"^([0-9.]+|localhost|\[[0-9A-Fa-f:.]+\])?:[0-9]{1,5}$"
LINK_PATTERN = r"^[^\s/:%,.][^\s/:%,]{0,14}$"
"""The name of a link: at most 15 characters (IFNAMSIZ of linux/if.h), and none that the kernel refuses."""
LOOPBACK = "127.0.0.1"

_FORWARD = re.compile(r"(?:(.+):)?([0-9]{1,5}):([0-9]{1,5})(?:/(tcp|udp))?")
_VNC = re.compile(r"(.*):([0-9]{1,5})")

Port = Annotated[Count, Field(ge=1, le=65535, examples=[8080])]


class Network(Written):
    """A network for guests: with bridge one of the host's own, else a segment that nobody but guests is on."""

    name: SkipJsonSchema[Label]
    """The key it is defined under."""
    bridge: Annotated[str | None, Field(pattern=LINK_PATTERN, examples=["br0"])] = None
    """A bridge of the host's that is there already, and is used as it is; it takes a vmd of root's."""
    isolated: Strictly = False
    """Whether guests on it may not talk to each other; it takes a vmd of root's."""


class Forward(Written):
    """A port of the host that leads to a port of the guest: 8080:80, 127.0.0.1:8080:80 or 5353:53/udp."""

    address: Address = LOOPBACK
    """The host's address to listen on; 127.0.0.1 where none is named, so that only this host can reach it."""
    host: Port
    """The host's port."""
    guest: Port
    """The guest's port."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """tcp or udp."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        if isinstance(written, dict):
            return written
        parts = _FORWARD.fullmatch(written) if isinstance(written, str) else None
        if not parts:
            raise wrong(f"{quoted(written)} is not a port forward", "write it as 8080:80, host's port first")
        listen, host, guest, protocol = parts.groups()
        return {
            "address": _bare(listen or LOOPBACK),
            "host": int(host),
            "guest": int(guest),
            "protocol": protocol or "tcp",
        }


class Vnc(Written):
    """Where the guest's screen is shown: 127.0.0.1:1 is display 1, TCP port 5901. It has no password."""

    address: Address = LOOPBACK
    """The host's address to listen on; one that others can reach shows the screen to all of them."""
    display: Annotated[Count, Field(ge=0, le=59635, examples=[1])]
    """The display; its TCP port is 5900 more."""

    @property
    def port(self) -> int:
        """The TCP port."""
        return 5900 + self.display

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        if isinstance(written, dict):
            return written
        parts = _VNC.fullmatch(written) if isinstance(written, str) else None
        if not parts:
            raise wrong(f"{quoted(written)} is not a VNC display", "write it as 127.0.0.1:1, address and display")
        listen, display = parts.groups()
        return {"address": _bare(listen.replace("localhost", LOOPBACK) or LOOPBACK), "display": int(display)}


class Nic(Written):
    """One network interface of a guest."""

    network: Label = USER
    """The network it is on: one of networks, or ``user``, QEMU's own NAT."""
    mac: Mac | None = None
    """Its MAC address; where none is named, one that follows from the guest's name."""
    model: str | None = None
    """The NIC's model by QEMU's name; the board's usual one where none is named."""
    address: Annotated[str | None, Field(pattern=r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$", examples=["192.168.9.2/24"])] = None
    """A static address with its prefix length, such as 192.168.9.2/24; DHCP where none is named."""
    gateway: Address | None = None
    """The router, where the address is static."""
    dns: tuple[Address, ...] = ()
    """Name servers, where the address is static."""
    forward: tuple[Forward, ...] = ()
    """Ports of the host that lead to this NIC."""
    link: Literal["up", "down"] = "up"
    """Whether its cable is plugged in."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        return {"network": written} if isinstance(written, str) else written

    @model_validator(mode="after")
    def _check(self) -> Nic:
        if self.network != USER and self.forward:
            raise wrong("only QEMU's own NAT forwards ports", "forward on the network user, or leave the key out")
        if self.address:
            _check_static(self.address, self.gateway)
        elif self.gateway or self.dns:
            raise wrong("gateway and dns belong to a static address", "write address: 192.168.9.2/24, too")
        return self


def _check_static(written: str, gateway: str | None) -> None:
    try:
        interface = ipaddress.ip_interface(written)
    except ValueError:
        raise wrong(f"{quoted(written)} is not an address with its prefix length", "say 192.168.9.2/24") from None
    network = interface.network
    if network.num_addresses > 2 and interface.ip in (network.network_address, network.broadcast_address):
        raise wrong(f"{interface.ip} is no host's address in {network}", "say 192.168.9.2/24")
    if gateway and (ipaddress.ip_address(gateway) not in interface.network or gateway == str(interface.ip)):
        raise wrong(f"the gateway {gateway} is no other address of {interface.network}", "name the router's")


def _bare(listen: str) -> str:
    """Take off the brackets that IPv6 wears before a port."""
    return address(listen[1:-1] if listen.startswith("[") and listen.endswith("]") else listen)

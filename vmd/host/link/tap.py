"""Taps: a guest's end of a cable. One is there as long as somebody, in the end its QEMU, holds its descriptor."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from vmd.errors import VmdError
from vmd.host.link.facts import find, set_sysctls
from vmd.host.link.wire import carry_out

NAME_LIMIT: Final = 15
"""Bytes a link's name may have: IFNAMSIZ less its NUL (linux/if.h)."""
_TUNSETIFF = 0x400454CA
_TAP, _NO_PI, _VNET_HDR, _MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
_TUNGETFEATURES = 0x800454CF
_REQUEST = struct.Struct("16sH22x")


def available() -> bool:
    """Tell whether taps can be made: by root, on a kernel that has them."""
    if os.geteuid() != 0:
        return False
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.ioctl(tun, _TUNGETFEATURES, bytes(4))
    except OSError:
        return False
    finally:
        os.close(tun)
    return True


def open_tap(name: str, queues: int = 1, *, vnet_hdr: bool = True) -> tuple[int, ...]:
    """Make a tap; return a descriptor for each queue. It is gone when the last of them is closed.

    ``vnet_hdr`` lets large segments pass whole (QEMU's virtio-net understands it, and so do its other NICs).
    Raises VmdError when the name is taken, tun(4) isn't there, or the user may not.
    """
    if not 0 < len(name.encode()) <= NAME_LIMIT:
        raise VmdError(f"{name!r} is no name for a tap: a link's name has 1 to {NAME_LIMIT} bytes")
    flags = _TAP | _NO_PI | (_VNET_HDR if vnet_hdr else 0) | (_MULTI_QUEUE if queues > 1 else 0)
    opened: list[int] = []
    try:
        for _ in range(queues):
            opened.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            fcntl.ioctl(opened[-1], _TUNSETIFF, _REQUEST.pack(name.encode(), flags))
    except OSError as error:
        close(opened)
        raise VmdError(f"tap {name} can't be made: {error.strerror}", _HINTS.get(error.errno or 0, "")) from error
    return tuple(opened)


_HINTS = {
    errno.EBUSY: "another process holds a tap of this name",
    errno.EINVAL: "a link of this name is there that is no tap of this kind",
    errno.ENOENT: "`modprobe tun` makes /dev/net/tun",
    errno.ENODEV: "`modprobe tun` makes /dev/net/tun work",
    errno.EPERM: "only root can make taps: without it, use `network: user`",
    errno.EACCES: "only root can make taps: without it, use `network: user`",
}


def close(descriptors: Sequence[int]) -> None:
    """Let go of a tap's queues, as vmd does when its QEMU has them."""
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def plug(tap: str, bridge: str, guest_mac: str, altnames: Sequence[str] = ()) -> None:
    """Put a tap into a bridge and switch it on; done twice it is as good.

    It takes the bridge's MTU, and has no IPv6 of the host's own. Its MAC is the guest's with fe: before it, so that a
    bridge without a MAC of its own doesn't take the newcomer's. Raises VmdError when one of the two isn't there.
    """
    found, onto = find(tap), find(bridge)
    if not found:
        raise VmdError(f"there is no tap {tap}", "it is gone with its QEMU")
    if not onto or onto["kind"] != "bridge":
        raise VmdError(f"there is no bridge {bridge}", "name one that is there, or let vmd make it with `uplink:`")
    set_sysctls({f"ipv6/conf/{tap}/disable_ipv6": "1"})
    attrs = [["IFLA_ADDRESS", f"fe:{guest_mac.partition(':')[2]}"], ["IFLA_MTU", onto["mtu"]]]
    carry_out([_change(tap, attrs), _change(tap, [["IFLA_MASTER", {"link": bridge}]], up=True)])
    _add_altnames(tap, [name for name in altnames if name not in found["altnames"]])


def _add_altnames(tap: str, names: Sequence[str]) -> None:
    if names:
        properties = {"attrs": [["IFLA_ALT_IFNAME", name] for name in names]}
        attrs = [["IFLA_PROP_LIST", properties]]
        header = {"index": {"link": tap}}
        carry_out(
            [{"type": "RTM_NEWLINKPROP", "flags": ["create", "excl", "append"], "header": header, "attrs": attrs}]
        )


def unplug(tap: str) -> None:
    """Take a tap out of its bridge. Raises VmdError when there is no such tap."""
    carry_out([_change(tap, [["IFLA_MASTER", 0]])])


def _change(name: str, attrs: list[Any], *, up: bool = False) -> dict[str, Any]:
    header: dict[str, Any] = {"index": {"link": name}}
    if up:
        header |= {"flags": 1, "change": 1}
    return {"type": "RTM_SETLINK", "flags": [], "header": header, "attrs": attrs}

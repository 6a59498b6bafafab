"""Keep taps in their bridge: when a bridge is removed and made anew under them, they are put back in.

The kernel tells of every change of a link; nothing is polled.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from vmd.errors import VmdError
from vmd.host.link.facts import find
from vmd.host.link.segment import PortOptions, set_port
from vmd.host.link.tap import plug
from vmd.host.link.wire import LINK_GROUP, Facts, attr, heard, netlink

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Port:
    """A tap, the bridge it belongs in, and its guest's MAC."""

    tap: str
    bridge: str
    guest_mac: str
    options: PortOptions = field(default_factory=PortOptions)


class Ports:
    """The taps that are to be in bridges; ``with Ports() as ports`` listens in the running event loop."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        self._bridges: dict[str, int] = {}
        self._listening = ExitStack()
        self._sock: socket.socket | None = None

    @property
    def kept(self) -> Mapping[str, Port]:
        """The ports by their tap's name."""
        return self._ports

    def keep(self, port: Port) -> None:
        """Put a tap into its bridge, and again whenever the bridge is made anew. Raises VmdError as ``plug`` does."""
        _plug(port)
        self._ports[port.tap] = port
        self._bridges[port.bridge] = socket.if_nametoindex(port.bridge)

    def forget(self, tap: str) -> None:
        """Leave a tap to itself: its guest is gone."""
        self._ports.pop(tap, None)

    def __enter__(self) -> Self:
        sock = self._listening.enter_context(netlink(LINK_GROUP))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._hear, sock)
        self._listening.callback(loop.remove_reader, sock)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _hear(self, sock: socket.socket) -> None:
        try:
            events = list(heard(sock))
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: some were dropped, so look at all
            self._look_at_all()
            return
        for event in events:
            self._see(event)

    def _see(self, event: Facts) -> None:
        name = attr(event, "IFLA_IFNAME")
        if event["event"] == "RTM_NEWLINK" and name in self._bridges and event["index"] != self._bridges[name]:
            self._bridges[name] = event["index"]
            self._put_back(name)

    def _look_at_all(self) -> None:
        for bridge in self._bridges:
            if found := find(bridge):
                self._bridges[bridge] = found["index"]
                self._put_back(bridge)

    def _put_back(self, bridge: str) -> None:
        for port in [port for port in self._ports.values() if port.bridge == bridge]:
            try:
                _plug(port)
            except VmdError as error:
                _log.warning("%s is not back in %s: %s", port.tap, bridge, error)


def _plug(port: Port) -> None:
    plug(port.tap, port.bridge, port.guest_mac)
    set_port(port.tap, port.options)

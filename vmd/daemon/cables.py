"""Guests' cables: handed to a QEMU when it starts, kept in place while it runs, cleared away after."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from ..definition import layout
from ..definition.guest import Guest
from ..definition.network import USER, Network
from ..errors import VmdError
from ..host import files, switch
from ..host.link import facts as links
from ..host.link import segment, tap
from ..host.link.ports import Port, Ports
from ..host.snoop import Snoop
from ..plan.addresses import Address, Sighting, from_neighbours, merge
from ..plan.cable import AddSegment, AddSwitch, AddTap


class Cables:
    """The taps of running guests, each kept in its bridge; ``fleet_id`` tells ours from any other's."""

    def __init__(self, fleet_id: str) -> None:
        self._fleet_id = fleet_id
        self._ports: Ports | None = None
        self._open = ExitStack()
        self._snoops: dict[str, Snoop] = {}

    def keep(self, port: Port) -> None:
        """Put a tap into its bridge, and again whenever that is made anew.

        :raise VmdError: one of the two isn't there.
        """
        if self._ports is None:
            self._ports = self._open.enter_context(Ports())
        self._ports.keep(port)

    def adopt(self, guest: Guest, networks: Mapping[str, Network]) -> None:
        """Keep the taps of a guest that an earlier vmd started."""
        for index, nic in enumerate(guest.nics):
            name = layout.tap(self._fleet_id, guest.name, index)
            found = links.find(name) if nic.network != USER else None
            network = networks.get(nic.network)
            bridge = (found and found["master"]) or (network and self._bridge(network))
            if found and bridge:
                options = segment.PortOptions(isolated=network is not None and network.isolated)
                with suppress(VmdError):  # its bridge is gone just now: it is told when that comes back
                    self.keep(Port(name, bridge, _guests_own(found["mac"]), options))

    def let_go(self, guest: Guest, networks: Mapping[str, Network]) -> None:
        """A guest is gone, and its taps with it: nobody else may be on its segments any more."""
        for name in self._taps(guest):
            if self._ports:
                self._ports.forget(name)
            if name in self._snoops:
                self._snoops.pop(name).close()
        self.clear({name: networks[name] for name in {nic.network for nic in guest.nics} if name in networks})

    def _taps(self, guest: Guest) -> list[str]:
        nics = enumerate(guest.nics)
        return [layout.tap(self._fleet_id, guest.name, index) for index, nic in nics if nic.network != USER]

    def listen(self, guest: Guest, on_news: Callable[[], None]) -> None:
        """Learn a guest's addresses from what passes its taps; ``on_news`` is called when there is one."""
        for name in self._taps(guest):
            if name not in self._snoops and links.find(name):
                with suppress(VmdError):  # then its neighbours may know
                    self._snoops[name] = Snoop(name, on_news=on_news)

    def addresses(self, guest: Guest, macs: tuple[str, ...]) -> tuple[Address, ...]:
        """What is known of a guest's addresses: from its own taps, and the host's neighbours."""
        snoops = [self._snoops[name] for name in self._taps(guest) if name in self._snoops]
        if not snoops:
            return ()
        now = time.time()
        seen: list[Sighting] = [*from_neighbours(links.neighbours(), now)]
        seen += (sighting for snoop in snoops for sighting in snoop.sightings)
        return tuple(address for mac in macs for address in merge(seen, mac, now))

    def clear(self, networks: Mapping[str, Network]) -> None:
        """Remove the bridges of segments that nobody is on."""
        for network in networks.values():
            name = self._bridge(network)
            if network.bridge is None and links.find(name) and segment.is_empty(name):
                with suppress(VmdError):
                    segment.remove_segment(name)

    def _bridge(self, network: Network) -> str:
        return network.bridge or layout.bridge(self._fleet_id, network.name)

    def close(self) -> None:
        """Look after none any more; all stay where they are."""
        self._open.close()
        while self._snoops:
            self._snoops.popitem()[1].close()
        self._ports = None


def _guests_own(mac: str) -> str:
    """A guest's MAC from its tap's, which has fe: in place of the first byte; what vmd makes up begins with 52:."""
    return f"52{mac[2:]}"


class Handed:
    """What the next QEMU of one guest is handed: it is ours until then, and QEMU's alone from then on."""

    def __init__(self, cables: Cables, owner: files.Owner | None) -> None:
        self._cables, self._owner = cables, owner
        self._taps: dict[str, int] = {}
        self._lifelines: list[int] = []

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that QEMU inherits."""
        return (*self._taps.values(), *self._lifelines)

    async def add(self, step: AddSegment | AddSwitch | AddTap) -> None:
        """Make one end of a cable.

        :raise VmdError: it can't be made.
        """
        match step:
            case AddSegment():
                segment.make_segment(step.bridge, step.mac)
            case AddSwitch():
                directory = Path(step.directory)
                files.make_directory(directory.parent, 0o711)
                files.make_directory(directory, 0o700, self._owner)
                self._lifelines.append(await switch.join(directory))
            case AddTap():
                (self._taps[step.tap],) = tap.open_tap(step.tap)
                tap.plug(step.tap, step.bridge, step.mac, step.altnames)
                self._cables.keep(Port(step.tap, step.bridge, step.mac, segment.PortOptions(isolated=step.isolated)))

    def line(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """A QEMU line with the numbers of descriptors where it has taps' names."""
        return tuple(self._numbered(word) for word in argv)

    def _numbered(self, word: str) -> str:
        if word.startswith("tap,"):
            for name, number in self._taps.items():
                word = word.replace(f"fd={name},", f"fd={number},")
        return word

    def close(self) -> None:
        """Let go of it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._taps.clear()
        self._lifelines.clear()

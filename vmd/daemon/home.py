"""What all guests of this daemon share: its directories, its fleet, its facts, and as whom QEMU runs."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from ..definition.fleet import Fleet
from ..definition.guest import Guest
from ..definition.layout import GuestLayout, Layout
from ..host import files, port
from ..host.credentials import Credentials
from ..host.scope import Scopes
from ..host.watch import FileWatch
from . import ownership
from .boards import Boards
from .cables import Cables
from .events import Events
from .facts import Facts
from .ports import HeldPorts


@dataclass
class Home:
    """One daemon's belongings. ``qemu_user`` is None where QEMU runs as vmd itself does."""

    layout: Layout
    events: Events
    facts: Facts
    qemu_user: Credentials | None = None
    fleet: Fleet = field(default_factory=Fleet)
    faults: tuple[str, ...] = ()
    building: asyncio.Lock = field(default_factory=asyncio.Lock)
    logs: FileWatch | None = None
    """Tells when QEMU wrote to its log; None where nothing can be watched."""
    scopes: Scopes | None = None
    """Where each guest gets a unit of its own; None where systemd has not started us."""
    boards: Boards = field(default_factory=Boards)
    _held: HeldPorts = field(default_factory=HeldPorts)
    cables: Cables = field(init=False)

    def __post_init__(self) -> None:
        self.cables = Cables(self.facts.fleet_id)

    def places(self, name: str, guest: Guest | None = None) -> GuestLayout:
        """Where a guest keeps what it has."""
        own = guest.disk.path if guest and guest.disk else None
        return self.layout.guest(name, own)

    @property
    def owner(self) -> files.Owner | None:
        """Who owns what is handed to QEMU, where that isn't us."""
        return (self.qemu_user.uid, self.qemu_user.gid) if self.qemu_user else None

    def make_directories(self, name: str) -> None:
        """The guest's own directories: records are vmd's, sockets are QEMU's.

        The first can be passed through by QEMU's user, and read by nobody: what QEMU may open in it belongs to it.
        """
        places = self.places(name)
        files.make_directory(Path(self.layout.guests), 0o711)
        files.make_directory(Path(places.dir), 0o711 if self.owner else 0o700)
        ownership.claim(places, self.facts.fleet_id, name)
        files.make_directory(Path(places.runtime).parent, 0o711)
        files.make_directory(Path(places.runtime), 0o700, self.owner)

    def ssh_port(self, name: str, *, running: bool) -> int:
        """The port of this host that leads to the guest's ssh: chosen free, remembered, no two guests the same."""
        lock = Path(self.places(name).lock)
        record = files.read_record(lock) or {}
        mine = record.get("ssh_port")
        if isinstance(mine, int) and running:
            return mine
        taken = self._taken_ports(name)
        if isinstance(mine, int) and mine not in taken and port.is_free(mine):
            return mine
        usual = mine if isinstance(mine, int) else self._usual_port(name)
        chosen = port.free_port(preferred=usual, taken=taken)
        if lock.parent.exists():  # else this is only a plan, and a plan leaves nothing behind
            files.write_record(lock, {**record, "ssh_port": chosen})
        return chosen

    def _usual_port(self, name: str) -> int:
        """Where a guest's port is looked for first: two daemons of one host seldom meet there."""
        return port.FORWARDED[zlib.crc32(f"{self.facts.fleet_id} {name}".encode()) % len(port.FORWARDED)]

    def _taken_ports(self, name: str) -> frozenset[int]:
        taken = {
            forward.host for guest in self.fleet.guests.values() for nic in guest.nics for forward in nic.forward
        }
        return frozenset(taken | self._held.by_others(self.layout.guests, name))

"""What was observed: plain facts about the host and about one guest, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..definition.guest import Guest
from .image import ImageFacts


@dataclass(frozen=True, slots=True)
class QemuFacts:
    """What one QEMU binary on this host can do, found by asking it.

    ``machines`` maps what a machine type may be called to its versioned name (``q35`` → ``pc-q35-7.2``).
    """

    binary: str
    machines: Mapping[str, str]
    vvfat: bool = True
    sandbox: bool = True
    accel: str = "tcg"
    tcg_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Firmware:
    """UEFI firmware for a board: the code every guest shares and the blank variables each one copies."""

    code: str
    variables: str


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What every guest of this host shares.

    ``fleet_id`` keeps the MACs and UUIDs of two hosts apart; ``isos`` maps the name of an installer that vmd builds
    itself to the file its ISO has, or will have; ``built`` are those that exist. ``taps``: it can make taps and
    bridges; where it can't, ``segments`` is the directory for the sockets of its segments.
    """

    fleet_id: str
    qemu: Mapping[str, QemuFacts]
    isos: Mapping[str, str] = field(default_factory=dict)
    built: frozenset[str] = frozenset()
    firmware: Firmware | None = None
    taps: bool = False
    segments: str = ""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk image as its own header describes it; sizes in bytes. ``fault`` says why it may not be used, if so."""

    format: str
    size: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Pins:
    """What a guest's first start settled of the hardware it sees, so that an upgrade of QEMU changes nothing.

    ``macs`` has one address per NIC; ``slots`` maps each device on the root bus to its PCI slot.
    """

    machine: str
    accel: str
    cpu: str
    uuid: str
    macs: tuple[str, ...]
    slots: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Observed:
    """One guest as it is.

    ``keys`` are the public keys it will trust; ``unreadable`` says of each file the definition names that can't be
    had why not, by path. ``image`` describes the base image, where the definition names one. ``images`` says what its
    kernel and root file system are, by path, and ``made`` which files were made ready from them. ``run_state`` is
    QEMU's own word for what it does (``running``, ``paused``, ``shutdown``, …), None where no QEMU runs.
    ``booted`` is the definition it was started with, ``ceiling`` the memory that its QEMU then had, in bytes.
    """

    disk: DiskFacts | None = None
    half_made: bool = False
    installing: bool = False
    run_state: str | None = None
    keys: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    image: DiskFacts | None = None
    variables: bool = False
    images: Mapping[str, ImageFacts] = field(default_factory=dict)
    made: frozenset[str] = frozenset()
    ssh_port: int = 0
    pins: Pins | None = None
    booted: Guest | None = None
    ceiling: int | None = None

    @property
    def running(self) -> bool:
        """A QEMU of this guest exists, whatever it does."""
        return self.run_state is not None

"""The closed set of steps: everything vmd ever does to a guest is one of these.

A step says what should be true after it and carries all it needs as plain values, so that ``vmctl plan`` can print
the very objects that ``vmctl up`` executes. Each is idempotent: done twice, it changes nothing the second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ..definition.units import format_size
from .cable import AddSegment, AddSwitch, AddTap
from .goodbye import AskSsh, TypePoweroff
from .observed import Pins
from .option import Option
from .ready import MakeFlash, TypeCommands, UnpackImage


@dataclass(frozen=True)
class BuildIso:
    """Build the unattended-install ISO of a Debian release, once for all guests."""

    release: str
    path: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"build the {self.release} installer ISO"


@dataclass(frozen=True)
class WriteSeed:
    """Fill the guest's private seed directory, and make a FAT image of it where QEMU can't (``image``)."""

    directory: str
    files: tuple[tuple[str, bytes], ...] = field(repr=False)
    image: str | None = None
    label: str = "CIDATA"

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"write its seed: {', '.join(name for name, _ in self.files)}"


@dataclass(frozen=True)
class MakeVariables:
    """Copy blank UEFI variables for this guest alone."""

    template: str
    path: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"make {PurePosixPath(self.path).name} from {self.template}"


@dataclass(frozen=True)
class MakeDisk:
    """Make an empty image, or a clone of ``backing`` that holds only what differs. ``size`` is in bytes."""

    path: str
    size: int
    format: str = "qcow2"
    backing: str | None = None
    backing_format: str | None = None

    @property
    def text(self) -> str:
        """What this does, for a person."""
        clone = f", a clone of {self.backing}" if self.backing else ""
        return f"make {PurePosixPath(self.path).name}, {format_size(self.size)}{clone}"


@dataclass(frozen=True)
class RunInstaller:
    """Boot the installer and watch it until it succeeds or fails. Times are in seconds.

    ``success`` is what a line of its serial output has to hold before the power goes off.
    """

    installer: str
    binary: str
    options: tuple[Option, ...] = field(repr=False)
    success: str
    timeout: float
    silence: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"install {self.installer}"


@dataclass(frozen=True)
class AcceptDisk:
    """Flush an installed disk and give it its name: from here on the guest has a disk."""

    made: str
    path: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"accept {PurePosixPath(self.path).name}"


@dataclass(frozen=True)
class GrowDisk:
    """Make the disk larger, to ``size`` bytes; the guest's file systems are its own affair."""

    path: str
    size: int
    format: str = "qcow2"

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"grow {PurePosixPath(self.path).name} to {format_size(self.size)}"


@dataclass(frozen=True)
class SetMemory:
    """Have the running guest's balloon leave it ``size`` bytes of memory."""

    size: int

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"leave it {format_size(self.size)} of memory"


@dataclass(frozen=True)
class SetVnc:
    """Show the running guest's screen elsewhere: at ``address``, display ``display``, or on its socket ``path``."""

    path: str
    address: str | None = None
    display: int | None = None

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"show its screen at {self.path if self.address is None else f'{self.address}:{self.display}'}"


@dataclass(frozen=True)
class SetLink:
    """Pull the cable of one of the running guest's NICs, or plug it in."""

    nic: str
    up: bool

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"{'plug in' if self.up else 'pull'} the cable of {self.nic}"


@dataclass(frozen=True)
class Remember:
    """Note that these keys of the definition are in force."""

    keys: tuple[str, ...]

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"take over {', '.join(self.keys)}"


@dataclass(frozen=True)
class Start:
    """Start the guest's QEMU and let it run; ``pins`` is the hardware that it settles."""

    binary: str
    options: tuple[Option, ...] = field(repr=False)
    pins: Pins | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "start QEMU"


@dataclass(frozen=True)
class AskAgent:
    """Ask the guest's agent to shut it down.

    ``timeout`` is how long it may take to answer; ``until`` how long after the ladder began the guest may take to
    obey. Both are in seconds.
    """

    timeout: float
    until: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "ask its agent to shut down"


@dataclass(frozen=True)
class PressPower:
    """Press the ACPI power button, again every ``again`` seconds: a guest that still boots doesn't hear the first.

    ``until`` is how long after the ladder began the guest may take to obey, in seconds.
    """

    until: float
    again: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "press its power button"


@dataclass(frozen=True)
class Quit:
    """Tell QEMU to quit: its caches are written, the guest isn't asked. ``patience`` is in seconds."""

    patience: float

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "tell QEMU to quit"


@dataclass(frozen=True)
class Kill:
    """Kill QEMU."""

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return "kill QEMU"


@dataclass(frozen=True)
class DiscardHalfMade:
    """Remove what an install that didn't succeed left of its disk."""

    path: str

    @property
    def text(self) -> str:
        """What this does, for a person."""
        return f"remove {PurePosixPath(self.path).name}"


Up = (
    BuildIso
    | AddSegment
    | AddSwitch
    | AddTap
    | WriteSeed
    | MakeVariables
    | UnpackImage
    | MakeFlash
    | MakeDisk
    | RunInstaller
    | AcceptDisk
    | DiscardHalfMade
    | GrowDisk
    | Start
    | SetLink
    | TypeCommands
)
"""What leads a guest up."""

Down = AskAgent | AskSsh | TypePoweroff | PressPower | Quit | Kill | DiscardHalfMade
"""What leads a guest down."""

Live = GrowDisk | SetMemory | SetVnc | SetLink | Remember
"""What changes a guest while it runs."""

Step = Up | Down | Live


def name(step: object) -> str:
    """The step's name for machines: ``MakeDisk`` is ``make-disk``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(step).__name__).lower()


def argv(step: Start | RunInstaller) -> tuple[str, ...]:
    """The whole QEMU line."""
    return (step.binary, *(word for option in step.options for word in option.words))

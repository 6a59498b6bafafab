"""The closed set of steps: everything vmd ever does to a guest is one of these.

A step says what should be true after it and carries all it needs as plain values, so that ``vmctl plan`` can print
the very objects that ``vmctl up`` executes. Each is idempotent: done twice, it changes nothing the second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a QEMU line and the key of the definition that it follows from."""

    key: str
    words: tuple[str, ...]


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
        return f"make {PurePosixPath(self.path).name}, {self.size / GIB:g} GiB{clone}"


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
class Start:
    """Start the guest's QEMU and let it run."""

    binary: str
    options: tuple[Option, ...] = field(repr=False)

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


Up = BuildIso | WriteSeed | MakeVariables | MakeDisk | RunInstaller | AcceptDisk | DiscardHalfMade | Start
"""What leads a guest up."""

Down = AskAgent | PressPower | Quit | Kill | DiscardHalfMade
"""What leads a guest down."""

Step = Up | Down


def name(step: Step) -> str:
    """The step's name for machines: ``MakeDisk`` is ``make-disk``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(step).__name__).lower()


def argv(step: Start | RunInstaller) -> tuple[str, ...]:
    """The whole QEMU line."""
    return (step.binary, *(word for option in step.options for word in option.words))


def blame(options: tuple[Option, ...], said: str) -> Option | None:
    """The option that QEMU complains of: it quotes the whole of an option it refuses (QEMU 7.2 to 10.0).

    The longest that is quoted: ``-device virtio-scsi-pci`` is the beginning of another, too.
    """
    quoted = (option for option in options if " ".join(option.words) in said)
    return max(quoted, key=lambda option: len(" ".join(option.words)), default=None)

"""The boards a guest can be: one frozen row each, and no ``if arch`` anywhere else.

Facts are those of QEMU 7.2 (``-machine help``, ``-device help``, ``-cpu help``); and hold for 10.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .units import parse_size


class Uefi(NamedTuple):
    """UEFI firmware for an architecture, as Debian 12 and 13 have it."""

    package: str
    """The package that has it."""
    files: tuple[tuple[str, str], ...]
    """Code and blank variables; the first pair that is there is taken."""


class Arch(NamedTuple):
    """How one architecture of a board is run."""

    binary: str
    """The QEMU that emulates it."""
    package: str
    """Debian's package of that QEMU."""
    cpu: Mapping[str, str]
    """Accelerator → the CPU where the guest names none; an accelerator without one can't run it."""
    installers: tuple[str, ...] = ()
    """The built-in installers made for it."""
    uefi: Uefi | None = None
    """Its UEFI firmware, where its board starts by one."""


class Bus(NamedTuple):
    """How a disk or CD hangs on a board."""

    device: str
    """QEMU's name of the device, as in ``-device``."""
    controller: str | None = None
    """The controller that must be added for it, or None where the board has one."""


class Ram(NamedTuple):
    """How a board's memory is laid out, for what is put into it at an address."""

    low: int
    """Bytes that lie in one piece from physical address 0 on; the rest, if there is more, lies elsewhere."""
    mirrors: tuple[range, ...] = ()
    """Ranges of addresses by which the processor reaches it as well, each beginning at physical address 0."""

    def physical(self, address: int) -> int:
        """Find the physical address that an address leads to."""
        return next((address - mirror.start for mirror in self.mirrors if address in mirror), address)


@dataclass(frozen=True, slots=True)
class Machine:
    """A board: what it has, and what it lacks. Sizes are in bytes."""

    name: str
    """As in ``-machine``."""
    arches: Mapping[str, Arch]
    """Architecture → how it is run; the first is the default."""
    console: str
    """The guest kernel's name of the first serial port."""
    nics: tuple[str, ...]
    """NICs it takes, by QEMU's device names; the first is the default."""
    disk_buses: Mapping[str, Bus]
    """Word for ``bus:`` → device; the first is the default."""
    cdrom: Bus
    """How a CD is given."""
    fat: Bus
    """How the virtual FAT drive is given."""
    rng: str | None
    """The entropy device."""
    serial_bus: str | None
    """The controller of virtserialport, for the guest agent."""
    video: str | None
    """The graphics device to add; None where the board can show nothing."""
    slots: range
    """The PCI slots of the root bus that are free for devices."""
    panic: str | None = None
    """The device by which a guest tells of its panic."""
    watchdog: str | None = None
    """The watchdog that resets a guest which stopped feeding it."""
    balloon: str | None = None
    """The device by which a running guest gives memory back."""
    power_button: bool = False
    """ACPI: QMP's system_powerdown reaches the guest."""
    firmwares: tuple[str, ...] = ()
    """Firmware that boots a disk or a CD; the first is the default. None: it needs ``boot: {kernel: …}``."""
    kernel: bool = True
    """``-kernel`` and ``-initrd`` work."""
    kernels: tuple[str, ...] = ()
    """The kinds of file that its ``-kernel`` takes, by their headers."""
    ram: Ram | None = None
    """Its memory, where Linux on it can hold a part back by ``memmap=``."""
    flash: int = 0
    """The size of the flash it starts from, where vmd can put a U-Boot into it."""
    min_memory: int = 1 << 20
    max_memory: int = 1 << 40
    max_cpus: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    """More options of ``-machine``."""

    @property
    def arch(self) -> str:
        """The architecture where the guest names none."""
        return next(iter(self.arches))

    @property
    def nic(self) -> str:
        """The NIC where the guest names none."""
        return self.nics[0]

    @property
    def disk_bus(self) -> str:
        """The bus where the disk names none."""
        return next(iter(self.disk_buses))


_VIRTIO = Bus("virtio-blk-pci")
_SCSI = Bus("scsi-hd", "virtio-scsi-pci")


def _pair(name: str, size: str = "") -> tuple[str, str]:
    return f"/usr/share/{name}_CODE{size}.fd", f"/usr/share/{name}_VARS{size}.fd"


def _mips(arch: str, cpu: str) -> Arch:
    return Arch(f"qemu-system-{arch}", "qemu-system-mips", {"tcg": cpu})


Q35 = Machine(
    name="q35",
    # richer CPUs cost time under TCG: an install takes 14 CPU seconds with qemu64 and 20 with max
    arches={
        "x86_64": Arch(
            "qemu-system-x86_64",
            "qemu-system-x86",
            {"kvm": "host", "tcg": "qemu64"},
            ("debian-12", "debian-13"),
            Uefi("ovmf", (_pair("OVMF/OVMF", "_4M"), _pair("OVMF/OVMF"))),
        )
    },
    console="ttyS0",
    nics=("virtio-net-pci", "e1000", "e1000e", "rtl8139", "pcnet"),
    disk_buses={"virtio": _VIRTIO, "scsi": _SCSI, "sata": Bus("ide-hd")},
    # Debian's cloud kernel has no AHCI: a SATA CD would not be seen
    cdrom=Bus("scsi-cd", "virtio-scsi-pci"),
    fat=_VIRTIO,
    rng="virtio-rng-pci",
    serial_bus="virtio-serial-pci",
    video="VGA",
    # 0 is the host bridge, 31 the ICH9 with SATA and the power button
    slots=range(1, 31),
    panic="pvpanic-pci",
    watchdog="i6300esb",
    balloon="virtio-balloon-pci",
    power_button=True,
    firmwares=("bios", "uefi"),
    kernels=("bzimage", "elf"),
    min_memory=parse_size("16M"),
    max_cpus=255,
)

MALTA = Machine(
    name="malta",
    arches={
        "mipsel": _mips("mipsel", "24Kc"),
        "mips": _mips("mips", "24Kc"),
        "mips64el": _mips("mips64el", "MIPS64R2-generic"),
        "mips64": _mips("mips64", "MIPS64R2-generic"),
    },
    console="ttyS0",
    nics=("pcnet", "e1000", "virtio-net-pci"),
    disk_buses={"ide": Bus("ide-hd"), "virtio": _VIRTIO, "scsi": _SCSI},
    cdrom=Bus("ide-cd"),
    fat=_VIRTIO,
    rng="virtio-rng-pci",
    serial_bus="virtio-serial-pci",
    # QEMU adds a Cirrus card of its own here unless it is told -vga none or -nodefaults
    video="VGA",
    # 10 is the PIIX4; a real board's Ethernet is at 11
    slots=range(11, 32),
    # "The image is not ELF", says QEMU of anything else
    kernels=("elf",),
    # hw/mips/malta.c: 256 MiB, then the devices; by KSEG0 and KSEG1 the processor sees the first 512 MiB
    ram=Ram(
        parse_size("256M"),
        (
            range(0x80000000, 0xA0000000),
            range(0xA0000000, 0xC0000000),
            range(0xFFFFFFFF80000000, 0xFFFFFFFFA0000000),
        ),
    ),
    flash=parse_size("4M"),
    min_memory=parse_size("16M"),
    # hw/mips/malta.c: "Too much memory for this machine" above 2 GiB
    max_memory=parse_size("2G"),
)

VIRT = Machine(
    name="virt",
    arches={
        "aarch64": Arch(
            "qemu-system-aarch64",
            "qemu-system-arm",
            {"tcg": "cortex-a57", "kvm": "host"},
            uefi=Uefi("qemu-efi-aarch64", (_pair("AAVMF/AAVMF"),)),
        ),
        "arm": Arch(
            "qemu-system-arm",
            "qemu-system-arm",
            {"tcg": "cortex-a15"},
            uefi=Uefi("qemu-efi-arm", (_pair("AAVMF/AAVMF32"),)),
        ),
    },
    console="ttyAMA0",
    nics=("virtio-net-pci", "e1000", "e1000e", "rtl8139"),
    disk_buses={"virtio": _VIRTIO, "scsi": _SCSI},
    cdrom=Bus("scsi-cd", "virtio-scsi-pci"),
    fat=_VIRTIO,
    rng="virtio-rng-pci",
    serial_bus="virtio-serial-pci",
    video="virtio-gpu-pci",
    slots=range(1, 32),
    balloon="virtio-balloon-pci",
    power_button=True,
    firmwares=("uefi",),
    kernels=("arm64", "zimage", "uimage", "elf", "gzip"),
    min_memory=parse_size("16M"),
    # the GICv2 that is virt's default serves eight
    max_cpus=8,
)

MACHINES: Mapping[str, Machine] = {machine.name: machine for machine in (Q35, MALTA, VIRT)}
"""Every board, by name; the first is the default."""

ARCHES: Mapping[str, str] = {arch: machine.name for machine in MACHINES.values() for arch in machine.arches}
"""Architecture → the board that is meant where only the architecture is named."""

BINARIES: Mapping[str, Arch] = {arch.binary: arch for row in MACHINES.values() for arch in row.arches.values()}
"""QEMU binary → the architecture that it runs."""

INSTALLERS = tuple(
    name for machine in MACHINES.values() for arch in machine.arches.values() for name in arch.installers
)
"""The installers that are built in."""

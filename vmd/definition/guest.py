"""A guest as its operator defines it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from .access import SshKey
from .boot import Boot
from .limits import Limits
from .machine import ARCHES, MACHINES, Arch, Machine
from .network import USER, Forward, Nic, Vnc
from .rules import contradictions
from .written import Count, Duration, FilePath, Label, Size, Strictly, Written, all_wrong

CPU_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(,[+-]?[A-Za-z0-9][A-Za-z0-9._-]*(=[A-Za-z0-9._-]+)?)*$"
USER_PATTERN = r"^[a-z_][a-z0-9_-]{0,31}$"
PACKAGE_PATTERN = r"^[a-z0-9][a-z0-9+.-]*$"
WORD_PATTERN = r"^[a-z0-9][a-z0-9-]*$"

Word = Annotated[str, Field(pattern=WORD_PATTERN)]
Format = Literal["qcow2", "raw"]


class Disk(Written):
    """The guest's disk: a size such as 40G, or a mapping."""

    size: Size | None = None
    """How large it is. Without it, the disk is as large as its image, or exists already at path."""
    bus: Word | None = None
    """How it hangs on the board: virtio, scsi, sata, ide. The board's usual one where none is named."""
    format: Format = "qcow2"
    """qcow2 grows with what is written; raw needs a path."""
    path: FilePath | None = None
    """A place of its own, instead of the guest's directory."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        return written if isinstance(written, dict) else {"size": written}


class Image(Written):
    """A disk image that the guest's disk is a linked clone of: a path, or a mapping. It is never written."""

    path: Annotated[FilePath, Field(examples=["base.qcow2"])]
    """The image's file."""
    format: Format = "qcow2"
    """The image's format."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, written: Any) -> Any:
        return {"path": written} if isinstance(written, str) else written


class Guest(Written):
    """A virtual machine: what it is made of, and how its disk comes to be."""

    name: SkipJsonSchema[Label]
    """The key it is defined under."""
    machine: Literal["q35", "malta", "virt"]
    """The board: q35 (a PC), malta (MIPS) or virt (ARM). Where none is named, that of arch, or q35."""
    arch: Literal["x86_64", "mipsel", "mips", "mips64el", "mips64", "aarch64", "arm"]
    """The processor's architecture; the board's usual one where none is named."""
    memory: Annotated[Size, Field(examples=["1G"])]
    """How much memory it has: 512M, 1G."""
    cpus: Annotated[Count, Field(ge=1, examples=[2])] = 1
    """How many processors it has."""
    cpu: Annotated[str | None, Field(pattern=CPU_PATTERN, examples=["qemu64"])] = None
    """The processor's model, as QEMU's -cpu takes it; the board's usual one where none is named."""
    disk: Disk | None = None
    """Its disk: a size such as 40G, or a mapping of size, bus, format, path."""
    install: Label | None = None
    """The installer that fills the disk: debian-12, debian-13 or one of installers; where a disk is named and
    nothing else says how it is filled, debian-12."""
    image: Image | None = None
    """The image, such as a cloud image, that its disk is a linked clone of; it is never written."""
    boot: Boot | None = None
    """A kernel to start directly."""
    network: Annotated[tuple[Nic, ...], Field(examples=["user"])] = (Nic(),)
    """Its NICs: a network's name, or a list of names and mappings. Where silent, one on QEMU's own NAT."""
    forward: Annotated[tuple[Forward, ...], Field(examples=[["8080:80"]])] = ()
    """Ports of the host that lead to the guest: 8080:80, 127.0.0.1:8080:80, 5353:53/udp."""
    hostname: Label
    """Its hostname; its name where none is given."""
    user: Annotated[str, Field(pattern=USER_PATTERN, examples=["admin"])] = "admin"
    """The user that may do everything with sudo and logs in with ``ssh_keys``."""
    ssh_keys: Annotated[tuple[SshKey, ...] | None, Field(examples=[["id_ed25519.pub"]])] = None
    """Public keys that may log in, or files of them; your own where none are named."""
    packages: tuple[Annotated[str, Field(pattern=PACKAGE_PATTERN)], ...] = ()
    """Packages that cloud-init installs at the first start of an image."""
    user_data: FilePath | None = None
    """A file that cloud-init gets as its user-data, instead of what vmd makes of these keys."""
    vnc: Vnc | None = None
    """Where its screen is shown: 127.0.0.1:1 is display 1, port 5901. There is no password."""
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    """What runs it: kvm, tcg (emulation), or auto: KVM where it really runs."""
    firmware: Literal["bios", "uefi"] | None = None
    """The firmware that boots its disk; the board's usual one where none is named."""
    stop_timeout: Duration = 60.0
    """How long it may take to shut down before it is switched off."""
    autostart: Strictly = False
    """Whether it is started when the host boots and vmd with it."""
    after: tuple[Label, ...] = ()
    """Guests that are started before it, where both are started together."""
    restart: Literal["always", "on-failure", "never"] = "never"
    """Whether it is started again when it ends: always, on-failure (it crashed, was killed, panicked) or never."""
    limits: Limits | None = None
    """What it may use of the host at most: cpu, memory, io; it takes a vmd that systemd started."""
    protect: Strictly = False
    """Whether vmctl rm and vmctl apply --prune refuse to remove it."""

    @property
    def board(self) -> Machine:
        """The row of its machine."""
        return MACHINES[self.machine]

    @property
    def run_by(self) -> Arch:
        """The row of its architecture."""
        return self.board.arches[self.arch]

    @property
    def nics(self) -> tuple[Nic, ...]:
        """Its NICs, each with its model and all its forwards: the guest's own go to the first on ``user``."""
        first = next((index for index, nic in enumerate(self.network) if nic.network == USER), None)
        return tuple(
            nic.model_copy(
                update={
                    "model": nic.model or self.board.nic,
                    "forward": nic.forward + (self.forward if index == first else ()),
                }
            )
            for index, nic in enumerate(self.network)
        )

    @property
    def disk_bus(self) -> str:
        """The word for how its disk hangs on the board: a key of ``board.disk_buses``."""
        return (self.disk.bus if self.disk else None) or self.board.disk_bus

    @model_validator(mode="before")
    @classmethod
    def _silent(cls, written: Any) -> Any:
        """Fill in what follows from other keys; what is of the wrong type is left for its field to refuse."""
        return {**defaults(written), **written} if isinstance(written, dict) else written

    @model_validator(mode="before")
    @classmethod
    def _one_network(cls, written: Any) -> Any:
        one = isinstance(written, dict) and isinstance(written.get("network"), (str, dict))
        return {**written, "network": [written["network"]]} if one else written

    @model_validator(mode="after")
    def _check(self) -> Guest:
        if faults := tuple(contradictions(self)):
            raise all_wrong(faults)
        return self


def defaults(written: dict[str, Any]) -> dict[str, Any]:
    """Fill in the keys of a guest that are silent and follow from others."""
    machine = written.get("machine", ARCHES.get(str(written.get("arch")), next(iter(MACHINES))))
    board = MACHINES.get(machine) if isinstance(machine, str) else None
    found: dict[str, Any] = {"machine": machine, "hostname": written.get("name")}
    if board:
        found["arch"] = board.arch
    if board and board.firmwares and not written.get("boot"):
        found["firmware"] = board.firmwares[0]
    row = board.arches.get(str(written.get("arch", board.arch))) if board else None
    if _to_fill(written.get("disk")) and not any(key in written for key in ("install", "image", "boot")):
        found["install"] = next(iter(row.installers), None) if row else None
    return found


def _to_fill(disk: object) -> bool:
    """Tell whether a disk must be made: one without a size exists already, or takes its image's."""
    return disk is not None and not (isinstance(disk, dict) and "size" not in disk)

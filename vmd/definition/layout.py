"""Every path, socket, MAC address and UUID that follows from a name. Nothing else in vmd makes one up."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import VmdError
from ..protocol import Directories

SOCKET_PATH_LIMIT = 107
"""The longest path of a unix socket, in bytes: ``sun_path`` holds 108 with its NUL (unix(7))."""

_SOCKETS = ("qmp", "monitor", "console", "vnc", "agent")
_NAMESPACE = uuid.UUID("6f0c6d1e-3d1b-5f4e-9a55-7f6d5b0c2a11")


@dataclass(frozen=True, slots=True)
class GuestLayout:
    """Where one guest keeps what it has. Every value is an absolute path."""

    dir: str
    """What outlives the guest's run."""
    runtime: str
    """The sockets."""
    own_disk: str | None = None
    """The disk's place of its own, where the definition names one."""

    @property
    def disk(self) -> str:
        """The disk."""
        return self.own_disk or f"{self.dir}/disk.qcow2"

    @property
    def disk_tmp(self) -> str:
        """The disk while it is being made; renamed when it is done."""
        return f"{self.disk}.tmp"

    @property
    def seed(self) -> str:
        """The directory whose files are on the virtual FAT drive."""
        return f"{self.dir}/seed"

    @property
    def seed_image(self) -> str:
        """The FAT image that takes the directory's place where QEMU has no vvfat."""
        return f"{self.dir}/seed.img"

    @property
    def firmware_vars(self) -> str:
        """The guest's own UEFI variables."""
        return f"{self.dir}/vars.fd"

    @property
    def install_log(self) -> str:
        """All that the guest said on its console during the install."""
        return f"{self.dir}/install.log"

    @property
    def install_record(self) -> str:
        """How the install went."""
        return f"{self.dir}/install.json"

    @property
    def install_screenshot(self) -> str:
        """The screen of an install that failed."""
        return f"{self.dir}/install.png"

    @property
    def images(self) -> str:
        """The directory of images that were made ready for it: unpacked, padded, or a clone that it may write."""
        return f"{self.dir}/images"

    @property
    def flash(self) -> str:
        """Its board's flash, with the boot loader in it."""
        return f"{self.dir}/flash.img"

    @property
    def booted(self) -> str:
        """The definition it was started with, its argv and the facts it was started on."""
        return f"{self.dir}/booted.json"

    @property
    def lock(self) -> str:
        """Who works on this guest."""
        return f"{self.dir}/lock.json"

    @property
    def marker(self) -> str:
        """Whose it is: the fleet's number and the guest's name. vmd touches no directory without it."""
        return f"{self.dir}/vmd.json"

    @property
    def disk_record(self) -> str:
        """The disk's format, and the images it stands on."""
        return f"{self.dir}/disk.json"

    @property
    def want(self) -> str:
        """What the operator wants: up or down."""
        return f"{self.dir}/want"

    @property
    def ends(self) -> str:
        """How its last runs ended."""
        return f"{self.dir}/ends.json"

    @property
    def authorized_keys(self) -> str:
        """The public keys that came with its first ``up``, where the definition names none."""
        return f"{self.dir}/authorized_keys"

    @property
    def known_hosts(self) -> str:
        """The guest's own host keys."""
        return f"{self.dir}/known_hosts"

    @property
    def qemu_log(self) -> str:
        """What QEMU itself had to say."""
        return f"{self.dir}/qemu.log"

    @property
    def console_log(self) -> str:
        """What the guest said on its console since it was started."""
        return f"{self.dir}/console.log"

    @property
    def qmp(self) -> str:
        """The daemon's QMP socket."""
        return f"{self.runtime}/qmp"

    @property
    def monitor(self) -> str:
        """A second QMP socket, for the operator's own tools."""
        return f"{self.runtime}/monitor"

    @property
    def console(self) -> str:
        """The serial console's socket; the daemon alone reads it."""
        return f"{self.runtime}/console"

    @property
    def vnc(self) -> str:
        """The screen's socket."""
        return f"{self.runtime}/vnc"

    @property
    def agent(self) -> str:
        """The guest agent's socket."""
        return f"{self.runtime}/agent"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a daemon keeps what it has."""

    directories: Directories

    def guest(self, name: str, own_disk: str | None = None) -> GuestLayout:
        """Say where one guest's things are; ``own_disk`` is the path its definition names for the disk."""
        state, runtime = f"{self.guests}/{name}", f"{self.directories.runtime}/guests/{name}"
        return GuestLayout(state, runtime, own_disk)

    @property
    def guests(self) -> str:
        """The directory that has one directory per guest."""
        return f"{self.directories.state}/guests"

    @property
    def fleet_id(self) -> str:
        """The file that tells this fleet from any other, so that their MAC addresses differ."""
        return f"{self.directories.state}/fleet-id"

    @property
    def events(self) -> str:
        """What happened, one JSON object a line; the file before it has ``.1`` after its name."""
        return f"{self.directories.state}/events.jsonl"

    @property
    def trash(self) -> str:
        """Where a removed guest's directory goes."""
        return f"{self.directories.state}/trash"

    @property
    def bases(self) -> str:
        """The directory of images that several guests' disks stand on; nothing in it is ever written again."""
        return f"{self.directories.state}/bases"

    @property
    def isos(self) -> str:
        """The directory of the installer ISOs that vmd made."""
        return f"{self.directories.state}/iso"

    def iso(self, key: str) -> str:
        """Name an installer ISO; ``key`` tells the release and all that went into it."""
        return f"{self.isos}/{key}.iso"

    @property
    def segments(self) -> str:
        """The directory that has one directory of sockets per segment, where there are no taps."""
        return f"{self.directories.runtime}/segments"

    @property
    def capabilities(self) -> str:
        """What was found out about QEMU and KVM; good until the host boots again."""
        return f"{self.directories.runtime}/capabilities.json"

    @property
    def started(self) -> str:
        """Says in which boot of the host the guests marked ``autostart`` were started."""
        return f"{self.directories.runtime}/autostarted"

    def check_socket_length(self, names: Iterable[str]) -> None:
        """See that every socket of these guests, and the daemon's own, has a path that a socket can have.

        :raise VmdError: one is longer than `SOCKET_PATH_LIMIT`.
        """
        sockets = [f"{self.guest(name).runtime}/{socket}" for name in names for socket in _SOCKETS]
        longest = max([self.directories.socket, *sockets], key=lambda path: len(path.encode()))
        length = len(longest.encode())
        if length > SOCKET_PATH_LIMIT:
            raise VmdError(
                f"{longest} has {length} bytes, and a socket's path may have {SOCKET_PATH_LIMIT}",
                "set VMD_RUNTIME_DIR to a shorter directory",
            )


def mac(fleet_id: str, guest: str, index: int) -> str:
    """Make up the MAC address of a guest's NIC, counted from 0: QEMU's 52:54:00 and three bytes of a hash."""
    digest = hashlib.sha256(f"{fleet_id}\0{guest}\0{index}".encode()).digest()
    return "52:54:00:" + digest[:3].hex(":")


def guest_uuid(fleet_id: str, guest: str) -> str:
    """Make up the guest's UUID, as its firmware shows it."""
    return str(uuid.uuid5(_NAMESPACE, f"{fleet_id}\0{guest}"))


def tap(fleet_id: str, guest: str, index: int) -> str:
    """Make up the name of the tap of a guest's NIC, counted from 0: a link's name has at most 15 bytes."""
    return "vmt" + hashlib.sha256(f"{fleet_id}\0{guest}\0{index}".encode()).hexdigest()[:12]


def bridge(fleet_id: str, network: str) -> str:
    """Make up the name of a segment's bridge."""
    return "vmb" + hashlib.sha256(f"{fleet_id}\0{network}".encode()).hexdigest()[:12]


def segment_mac(fleet_id: str, network: str) -> str:
    """Make up the MAC address of a segment's bridge: locally administered, and no guest's."""
    digest = hashlib.sha256(f"{fleet_id}\0{network}\0bridge".encode()).digest()
    return "02:00:" + digest[:4].hex(":")

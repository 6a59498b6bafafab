"""(guest, observed) → the steps that lead there; no steps is a first-class answer.

What can't be done is refused here, before anything is touched, with the guest and the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..definition.fleet import Installer
from ..definition.guest import Guest
from ..definition.machine import Bus
from ..definition.units import format_size
from ..errors import Refused, VmdError
from . import cable, fit, kernel, pins, seed, uboot
from .cmdline import Place, boot_line, install_line
from .goodbye import AskSsh, TypePoweroff
from .ready import UnpackImage
from .step import (
    AcceptDisk,
    AskAgent,
    BuildIso,
    DiscardHalfMade,
    Down,
    GrowDisk,
    Kill,
    MakeDisk,
    MakeVariables,
    PressPower,
    Quit,
    RunInstaller,
    SetLink,
    Start,
    Up,
    WriteSeed,
)

AGENT_ANSWERS = 2.0
"""How long a guest's agent may take to answer before it counts as not there, in seconds."""

PRESS_AGAIN = 5.0
"""How often the power button is pressed while a guest doesn't react, in seconds."""

QUIT_TAKES = 10.0
"""How long QEMU may take to write its caches and go, in seconds."""

BUILT_IN = Installer(name="debian-12", iso="/", timeout=900.0, silence=120.0)
"""What the installers that vmd builds itself keep to; their ISO's path is a fact of the host."""

SCSI_CD = Bus("scsi-cd", "virtio-scsi-pci")
"""How the installers that vmd builds itself find their CD: their kernel has no AHCI, and this is the faster way."""

IDE_CD = Bus("ide-cd")
"""How any other installer finds its CD on a board that has IDE or SATA: every firmware and every kernel knows it."""


def up(guest: Guest, installer: Installer | None, place: Place) -> tuple[Up, ...]:
    """The steps to a running guest. ``installer`` is the one of the fleet's own that it names, if it names one.

    :raise Refused: the definition asks for what this host or this guest's disk can't give.
    """
    if place.observed.running and not place.observed.installing:
        return ()
    _check_host(guest, place)
    _check_devices(guest)
    cable.check(guest, place.host, place.networks)
    _check_files(guest, place)
    fit.check(guest, place.observed)
    return (
        *_disk(guest, installer, place),
        *_seed_of_image(guest, place),
        *kernel.made_ready(guest, place.layout, place.observed),
        *uboot.flash(guest, place.layout),
        *_joined(guest, place),
        _start(guest, place),
        *_pulled(guest),
        *uboot.told(guest, place.observed.images, place.qemu(guest).tcg_scale),
    )


def down(guest: Guest | None, place: Place, timeout: float) -> tuple[Down, ...]:
    """The ladder: each rung is tried only when the one before didn't end the guest. ``timeout`` is in seconds."""
    observed = place.observed
    discard = (DiscardHalfMade(place.layout.disk_tmp),) if observed.half_made or observed.installing else ()
    if not observed.running:
        return discard
    if observed.installing:
        return (Quit(QUIT_TAKES), Kill(), *discard)
    polite = _polite(guest, timeout) if observed.run_state == "running" else ()
    return (*polite, Quit(QUIT_TAKES), Kill())


def _polite(guest: Guest | None, timeout: float) -> Iterator[Down]:
    """The rungs that ask the guest; where nobody may listen for a power button, somebody inside must act."""
    button = guest is None or guest.board.power_button
    inside = guest is not None and (guest.boot is not None or not button)
    if guest is None or guest.board.serial_bus:
        yield AskAgent(AGENT_ANSWERS, timeout / 2 if button else timeout)
    if button:
        yield PressPower(timeout / 2 if inside else timeout, PRESS_AGAIN)
    if guest and inside:
        yield AskSsh("root" if guest.boot else guest.user, timeout)
        yield TypePoweroff(timeout)


def _start(guest: Guest, place: Place) -> Start:
    options = boot_line(guest, place)
    settled = replace(place.pins(guest), slots=pins.slots_of(options))
    return Start(guest.run_by.binary, options, settled)


def _joined(guest: Guest, place: Place) -> Iterator[Up]:
    return cable.joined(guest, place.pins(guest).macs, place.host, place.networks)


def _pulled(guest: Guest) -> Iterator[Up]:
    """Cables that are to be out: QEMU has no option for that, so they are pulled before the guest looks."""
    return (SetLink(f"net{index}", False) for index, nic in enumerate(guest.nics) if nic.link == "down")


def _check_host(guest: Guest, place: Place) -> None:
    qemu = place.qemu(guest)
    if guest.accel == "kvm" and qemu.accel != "kvm":
        raise Refused(f"{guest.name}: accel: kvm can't be had on this host", "vmctl doctor says why")
    if qemu.machines and guest.machine not in qemu.machines:
        raise Refused(f"{guest.name}: machine: {qemu.binary} has no {guest.machine}", "vmctl doctor lists boards")
    pins.check(guest, qemu, place.observed.pins)
    if guest.firmware == "uefi" and place.host.firmware is None:
        package = guest.run_by.uefi.package if guest.run_by.uefi else "ovmf"
        raise Refused(
            f"{guest.name}: firmware: no UEFI firmware for {guest.arch} is installed", f"apt install {package}"
        )


def _check_devices(guest: Guest) -> None:
    """Refuse what QEMU itself does not take (7.2 to 10.0)."""
    for forward in (forward for nic in guest.nics for forward in nic.forward):
        if ":" in forward.address:
            raise Refused(
                f"{guest.name}: forward: QEMU's own NAT can't listen on the IPv6 address {forward.address}",
                "write an IPv4 address",
            )


def _check_files(guest: Guest, place: Place) -> None:
    """QEMU doesn't always say that a file is missing: malta ignores an initrd that isn't there."""
    boot = guest.boot
    if boot is None:
        return
    for key, path in (("kernel", boot.kernel), ("initrd", boot.initrd), ("rootfs", boot.rootfs)):
        if path and path in place.observed.unreadable:
            raise VmdError(
                f"{guest.name}: boot.{key}: {place.observed.unreadable[path]}", "name a file that is there"
            )


def _disk(guest: Guest, installer: Installer | None, place: Place) -> Iterator[Up]:
    """Where the disk comes from, if it isn't there."""
    if guest.firmware == "uefi" and place.host.firmware and not place.observed.variables:
        yield MakeVariables(place.host.firmware.variables, place.layout.firmware_vars)
    if place.observed.disk is not None:
        yield from _grown(guest, place)
    elif guest.install is not None:
        yield from _install(guest, installer, place)
    elif guest.image is not None:
        yield from _clone(guest, place)
    elif guest.disk is not None:
        yield MakeDisk(place.layout.disk, _size(guest), guest.disk.format)


def _grown(guest: Guest, place: Place) -> Iterator[Up]:
    """A disk that is there grows with its definition, and never shrinks."""
    found, asked = place.observed.disk, guest.disk.size if guest.disk else None
    if found and found.fault:
        raise Refused(f"{guest.name}: disk: {found.fault}")
    if found is None or asked is None or found.size == asked:
        return
    if found.size > asked:
        raise Refused(
            f"{guest.name}: disk: {place.layout.disk} has {format_size(found.size)} and the definition asks for "
            f"{format_size(asked)}: a disk never shrinks",
            "write its present size, or a larger one",
        )
    yield GrowDisk(place.layout.disk, asked, found.format)


def _install(guest: Guest, installer: Installer | None, place: Place) -> Iterator[Up]:
    name = guest.install or ""
    own = installer is not None
    rules = installer or BUILT_IN
    iso = rules.iso if own else place.host.isos[name]
    scale = place.qemu(guest).tcg_scale if place.pins(guest).accel == "tcg" else 1.0
    run = RunInstaller(
        name,
        guest.run_by.binary,
        install_line(guest, place, iso, _cd_of_any(guest) if own else SCSI_CD),
        rules.success,
        rules.timeout * scale,
        rules.silence * scale,
    )
    if not place.observed.installing:
        yield from _blank(guest, place, iso, own=own)
        yield from _joined(guest, place)
    yield run
    yield AcceptDisk(place.layout.disk_tmp, place.layout.disk)


def _cd_of_any(guest: Guest) -> Bus:
    ide = any(bus.device == "ide-hd" for bus in guest.board.disk_buses.values())
    return IDE_CD if ide else guest.board.cdrom


def _blank(guest: Guest, place: Place, iso: str, *, own: bool) -> Iterator[Up]:
    """All that an installer needs before it runs."""
    if own and iso in place.observed.unreadable:
        raise VmdError(f"{guest.name}: install: {place.observed.unreadable[iso]}", "see installers: in the fleet")
    if not own and iso not in place.host.built:
        yield BuildIso(guest.install or "", iso)
    if place.observed.half_made:
        yield DiscardHalfMade(place.layout.disk_tmp)
    _check_keys(guest, place)
    yield _write_seed(seed.installer_seed(guest, place.observed, place.host), guest, place)
    yield MakeDisk(place.layout.disk_tmp, _size(guest), guest.disk.format if guest.disk else "qcow2")


def _clone(guest: Guest, place: Place) -> Iterator[Up]:
    image = guest.image
    assert image is not None  # noqa: S101 - the caller looked
    found = place.observed.image
    if found is None:
        why = place.observed.unreadable.get(image.path, f"{image.path} is not there")
        raise VmdError(f"{guest.name}: image: {why}", "name the file of an image")
    if found.fault:
        raise Refused(f"{guest.name}: image: {found.fault}")
    size = guest.disk.size if guest.disk and guest.disk.size else found.size
    if size < found.size:
        raise Refused(
            f"{guest.name}: disk: {size} bytes are less than the {found.size} of {image.path}",
            "write a larger size, or none",
        )
    path = kernel.ready(image.path, place.layout, place.observed.images, 1)
    if path not in (image.path, *place.observed.made):
        yield UnpackImage(image.path, path)
    yield MakeDisk(place.layout.disk, size, "qcow2", path, found.format)


def _seed_of_image(guest: Guest, place: Place) -> Iterator[Up]:
    """cloud-init looks at its data at every boot, so it is written at every start."""
    if guest.image is None:
        return
    if guest.user_data and guest.user_data in place.observed.unreadable:
        raise VmdError(f"{guest.name}: user_data: {place.observed.unreadable[guest.user_data]}")
    if not guest.user_data:
        _check_keys(guest, place)
    yield _write_seed(seed.cloud_seed(guest, place.observed, place.host), guest, place)


def _write_seed(files: seed.Files, guest: Guest, place: Place) -> WriteSeed:
    image = None if place.qemu(guest).vvfat else place.layout.seed_image
    return WriteSeed(place.layout.seed, files, image)


def _check_keys(guest: Guest, place: Place) -> None:
    for key in guest.ssh_keys or ():
        if key.path and key.path in place.observed.unreadable:
            raise VmdError(
                f"{guest.name}: ssh_keys: {place.observed.unreadable[key.path]}",
                "name a .pub file, or write the key itself",
            )
    if not place.observed.keys:
        raise VmdError(
            f"{guest.name}: ssh_keys: there is no public key that could log in",
            "write ssh_keys, or make a key with ssh-keygen -t ed25519",
        )


def _size(guest: Guest) -> int:
    if guest.disk is None or guest.disk.size is None:
        raise VmdError(f"{guest.name}: disk: a new disk needs a size", "write disk: 40G")
    return guest.disk.size

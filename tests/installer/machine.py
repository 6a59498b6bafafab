"""A real QEMU for the installer's tests and benchmark: q35 under TCG, as vmd runs it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OVMF_CODE, OVMF_VARS = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


@dataclass(frozen=True)
class Run:
    """One QEMU from start to end: what it said on its serial console, and what it cost in seconds."""

    console: bytes
    status: int
    wall: float
    cpu: float

    @property
    def text(self) -> str:
        return self.console.decode(errors="replace").replace("\r", "")


def blockdev(name: str, driver: str, path: Path, **options: object) -> tuple[str, str]:
    """A disk image in a file, cached as a throw-away one is."""
    file = {"driver": "file", "filename": str(path), "cache": {"no-flush": True}}
    return "-blockdev", json.dumps({"node-name": name, "driver": driver, "file": file, **options})


def disk(path: Path, index: int = 0, **options: object) -> tuple[str, ...]:
    """A qcow2 as virtio disk."""
    extra = "".join(f",{key}={value}" for key, value in options.items())
    return (*blockdev(f"disk{index}", "qcow2", path), "-device", f"virtio-blk-pci,drive=disk{index}{extra}")


def seed(directory: Path, *, floppy: bool = True) -> tuple[str, ...]:
    """The operator's files as a virtual FAT drive."""
    options = {
        "driver": "vvfat",
        "node-name": "seed",
        "read-only": True,
        "dir": str(directory),
        "label": "CIDATA",
        "floppy": floppy,
    }
    return ("-blockdev", json.dumps(options), "-device", "virtio-blk-pci,drive=seed")


def cdrom(iso: Path) -> tuple[str, ...]:
    """The installer, on virtio-scsi."""
    return (
        *blockdev("cd", "raw", iso, **{"read-only": True}),
        *("-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-cd,drive=cd,bus=scsi.0,bootindex=0"),
    )


def ide_cdrom(iso: Path) -> tuple[str, ...]:
    """The installer, where a pc has it."""
    return (*blockdev("cd", "raw", iso, **{"read-only": True}), "-device", "ide-cd,drive=cd,bus=ide.1,bootindex=0")


def uefi(variables: Path) -> tuple[str, ...]:
    """UEFI instead of a BIOS, with variables of its own."""
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
    )


def qemu(console: Path, *devices: str, machine: str = "q35", memory: str = "1G") -> tuple[str, ...]:
    """QEMU's whole line."""
    return (
        *("qemu-system-x86_64", "-machine", machine, "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", "2"),
        *("-m", memory, "-nodefaults", "-display", "none", "-vga", "std", "-no-reboot"),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
        *("-device", "virtio-rng-pci"),
        *devices,
    )


def run(argv: Sequence[str], console: Path, limit: float = 300) -> Run:
    """Run QEMU until it ends by itself; killed after ``limit`` seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    try:
        status = subprocess.run(argv, timeout=limit, check=False, stdin=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired:
        status = -9
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(console.read_bytes(), status, wall, cpu)


def make_disk(path: Path, size: str = "8G") -> Path:
    """A blank qcow2."""
    subprocess.run(("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", str(path), size), check=True)
    return path


def install(iso: Path, target: Path, seed_directory: Path, console: Path, *extra: str) -> Run:
    """Install a guest, as vmd does: the disk first, then the seed, then the CD."""
    devices = (*disk(target, bootindex=1), *seed(seed_directory), *cdrom(iso), *extra)
    return run(qemu(console, *devices), console)


@contextmanager
def running(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU that goes on while the body runs, and is killed after it."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def environment_directory() -> Path:
    """Where built ISOs are kept between test runs."""
    return Path(os.environ.get("VMD_TEST_CACHE") or Path.home() / ".cache/vmd-test")

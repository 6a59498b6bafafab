"""A real QEMU for the installer's tests and its benchmark: q35 under TCG, with the devices that vmd gives a guest."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def make_disk(path: Path, size: str = "8G") -> Path:
    """A blank qcow2."""
    subprocess.run(("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", str(path), size), check=True)
    return path


def scribble(path: Path, offset: int) -> None:
    """Write one sector of a disk."""
    words = ("/usr/bin/qemu-io", "-f", "qcow2", "-c", f"write -P 7 {offset} 512", str(path))
    subprocess.run(words, check=True, capture_output=True)


def clone(base: Path, path: Path) -> Path:
    """A disk that starts as ``base`` and leaves it as it is."""
    words = ("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(path))
    subprocess.run(words, check=True)
    return path


def disk(path: Path, name: str = "disk", **options: object) -> tuple[str, ...]:
    """A qcow2 as virtio disk, without flushes as vmd has it while a disk is made."""
    extra = "".join(f",{key}={value}" for key, value in options.items())
    node = {"node-name": name, "driver": "qcow2", "cache": {"no-flush": True}, "file": _file(path)}
    return ("-blockdev", json.dumps(node), "-device", f"virtio-blk-pci,drive={name}{extra}")


def seed(directory: Path, *, floppy: bool = True) -> tuple[str, ...]:
    """The operator's files as a virtual FAT drive."""
    node = {"node-name": "seed", "driver": "vvfat", "read-only": True, "dir": str(directory), "label": "CIDATA"}
    return ("-blockdev", json.dumps({**node, "floppy": floppy}), "-device", "virtio-blk-pci,drive=seed")


def cdrom(iso: Path) -> tuple[str, ...]:
    """The installer, on virtio-scsi."""
    node = {"node-name": "cd", "driver": "raw", "read-only": True, "file": _file(iso)}
    device = ("-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-cd,drive=cd,bus=scsi.0,bootindex=0")
    return ("-blockdev", json.dumps(node), *device)


def ide_cdrom(iso: Path) -> tuple[str, ...]:
    """The installer, where machine type pc has its CD."""
    node = {"node-name": "cd", "driver": "raw", "read-only": True, "file": _file(iso)}
    return ("-blockdev", json.dumps(node), "-device", "ide-cd,drive=cd,bus=ide.1,bootindex=0")


def uefi(variables: Path) -> tuple[str, ...]:
    """UEFI instead of a BIOS, with variables of its own in a file that is made if need be."""
    if not variables.exists():
        shutil.copyfile(OVMF_VARS, variables)
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
    )


def qemu(console: Path, *devices: str, machine: str = "q35", memory: str = "1G") -> tuple[str, ...]:
    """QEMU's whole line."""
    return (
        *("/usr/bin/qemu-system-x86_64", "-machine", machine, "-accel", "tcg,thread=multi", "-cpu", "qemu64"),
        *("-smp", "2", "-m", memory, "-nodefaults", "-display", "none", "-vga", "std", "-no-reboot"),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
        *("-device", "virtio-rng-pci"),
        *devices,
    )


def run(argv: Sequence[str], console: Path, limit: float = 300) -> Run:
    """Run QEMU until it ends by itself; killed after ``limit`` seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        status = subprocess.run(argv, timeout=limit, check=False, stdin=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired:
        status = -9
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(console.read_bytes(), status, wall, cpu)


def install(iso: Path, target: Path, files: Path, *extra: str) -> Run:
    """Install a guest as vmd does: disk, seed, CD. The console is kept beside the disk."""
    console = target.with_suffix(".console")
    return run(qemu(console, *disk(target, bootindex=1), *seed(files), *cdrom(iso), *extra), console)


class Guest:
    """A guest that runs from its disk, with user networking, a guest agent and a monitor."""

    def __init__(self, target: Path, known_host: str, key: Path, *extra: str, address: str = "10.0.2.15") -> None:
        self.port = free_port()
        self.key, self.qmp, self.qga = key, target.with_suffix(".qmp"), target.with_suffix(".qga")
        self.known_hosts = target.with_suffix(".known_hosts")
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {known_host}\n")
        self.console = target.with_suffix(".boot")
        self.argv = qemu(
            self.console,
            *disk(target, bootindex=1),
            *(
                "-netdev",
                f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-{address}:22",
                "-device",
                "virtio-net-pci,netdev=net",
            ),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=qga,path={self.qga},server=on,wait=off"),
            *("-device", "virtserialport,chardev=qga,name=org.qemu.guest_agent.0"),
            *("-qmp", f"unix:{self.qmp},server=on,wait=off"),
            *extra,
        )

    @contextmanager
    def running(self, limit: float = 240) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, wait for its ssh server, and kill it at the end if it still runs then."""
        with subprocess.Popen(self.argv, stdin=subprocess.DEVNULL) as process:
            try:
                self._await_ssh(process, limit)
                yield process
            finally:
                process.kill()

    def ssh(self, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command in the guest, whose host key has to be the one the installer said."""
        options = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.known_hosts}", "BatchMode=yes")
        words = [word for option in (*options, "IdentitiesOnly=yes") for word in ("-o", option)]
        argv = ("/usr/bin/ssh", *words, "-F", "none", "-i", str(self.key), "-p", str(self.port), f"{user}@127.0.0.1")
        return subprocess.run((*argv, command), capture_output=True, text=True, check=False)

    def says(self, command: str, user: str = "root") -> str:
        """What a command prints that has to succeed."""
        done = self.ssh(command, user)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ask_agent(self, command: str) -> Any:
        """What the guest agent returns."""
        return _ask(self.qga, command)

    def press_power_button(self) -> None:
        """As QEMU's system_powerdown."""
        _ask(self.qmp, "qmp_capabilities", "system_powerdown")

    def _await_ssh(self, process: subprocess.Popen[bytes], limit: float) -> None:
        end = time.monotonic() + limit
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                if probe.recv(4) == b"SSH-":
                    return
            time.sleep(0.2)
        raise AssertionError(
            f"no ssh server within {limit} s; the console says: {self.console.read_bytes()[-2000:]!r}"
        )


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _file(path: Path) -> dict[str, str]:
    return {"driver": "file", "filename": str(path)}


def _ask(path: Path, *commands: str) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        with connection.makefile("rwb") as stream:
            answer = None
            for command in commands:
                stream.write(json.dumps({"execute": command}).encode() + b"\n")
                stream.flush()
                while answer is None or "return" not in answer:
                    answer = json.loads(stream.readline())
                    assert "error" not in answer, answer
                answer = answer["return"] if command == commands[-1] else None
            return answer

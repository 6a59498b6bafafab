import shutil
import subprocess
from typing import get_args

import pytest

from vmd.definition.guest import Guest
from vmd.definition.machine import ARCHES, INSTALLERS, MACHINES, Arch, Bus, Machine

ROWS = [(machine, name, arch) for machine in MACHINES.values() for name, arch in machine.arches.items()]
every_row = pytest.mark.parametrize(("machine", "name", "arch"), ROWS, ids=[name for _, name, _ in ROWS])


def help_of(binary: str, *words: str) -> str:
    if not shutil.which(binary):
        pytest.skip(f"{binary} is not installed")
    done = subprocess.run((binary, *words, "help"), capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@every_row
def test_the_qemu_has_every_device_of_the_row(machine: Machine, name: str, arch: Arch) -> None:
    devices = {
        line.split('"')[1] for line in help_of(arch.binary, "-device").splitlines() if line.startswith("name ")
    }
    buses = (*machine.disk_buses.values(), machine.cdrom, machine.fat)
    named = {*machine.nics, *(bus.device for bus in buses), *(bus.controller for bus in buses)}
    named |= {machine.rng, machine.serial_bus, machine.video, machine.panic}
    assert named - {None} <= devices


@every_row
def test_the_qemu_has_the_board_and_the_cpu(machine: Machine, name: str, arch: Arch) -> None:
    assert f"\n{machine.name} " in help_of(arch.binary, "-machine")
    assert arch.cpu["tcg"] in help_of(arch.binary, "-machine", machine.name, "-cpu")


@every_row
def test_every_row_runs_by_emulation(machine: Machine, name: str, arch: Arch) -> None:
    assert "tcg" in arch.cpu
    assert ARCHES[name] == machine.name
    assert arch.package.startswith("qemu-system-")


def test_the_words_of_a_guest_are_the_rows() -> None:
    assert get_args(Guest.model_fields["machine"].annotation) == tuple(MACHINES)
    assert get_args(Guest.model_fields["arch"].annotation) == tuple(ARCHES)
    assert INSTALLERS == ("debian-12", "debian-13")


def test_the_defaults_are_the_first() -> None:
    malta = MACHINES["malta"]
    assert (malta.arch, malta.nic, malta.disk_bus) == ("mipsel", "pcnet", "ide")


def boots(machine: Machine, arch: Arch, *words: str) -> subprocess.CompletedProcess[str]:
    """Make the board, with its processor stopped, and leave by the monitor."""
    if not shutil.which(arch.binary):
        pytest.skip(f"{arch.binary} is not installed")
    argv = (arch.binary, "-machine", machine.name, "-accel", "tcg", "-cpu", arch.cpu["tcg"], "-nodefaults", "-S")
    quiet = ("-display", "none", "-monitor", "stdio")
    return subprocess.run((*argv, *quiet, *words), input="quit\n", capture_output=True, text=True, check=False)


def on(bus: Bus, node: str) -> list[str]:
    """The words for one drive on a bus, with a controller of its own where it needs one."""
    controller = ["-device", f"{bus.controller},id=c-{node}"] if bus.controller else []
    drive = f"driver=null-co,node-name={node},read-only=on"
    place = f",bus=c-{node}.0" if bus.controller else ""
    return [*controller, "-blockdev", drive, "-device", f"{bus.device},drive={node}{place}"]


@every_row
def test_the_board_takes_a_disk_on_every_bus_a_cd_and_the_fat_drive(machine: Machine, name: str, arch: Arch) -> None:
    words = [*on(machine.cdrom, "cd"), *on(machine.fat, "fat")]
    for word, bus in machine.disk_buses.items():
        # an ide-hd can't be read-only, a CD must be
        words += [part.replace(",read-only=on", "") for part in on(bus, word)]
    done = boots(machine, arch, *words)
    assert (done.returncode, done.stderr) == (0, "")


@every_row
def test_the_board_takes_every_nic_and_device(machine: Machine, name: str, arch: Arch) -> None:
    extra = (machine.rng, machine.serial_bus, machine.video, machine.panic)
    words = [word for device in (*machine.nics, *extra) if device for word in ("-device", device)]
    done = boots(machine, arch, *words)
    assert done.returncode == 0, done.stderr


@every_row
def test_the_limits_of_the_board_are_qemus(machine: Machine, name: str, arch: Arch) -> None:
    assert boots(machine, arch, "-m", f"{machine.min_memory}B").returncode == 0
    most = min(machine.max_memory, 2 << 30)  # more than that is the host's limit, not the board's
    assert boots(machine, arch, "-m", f"{most}B").returncode == 0
    assert boots(machine, arch, "-smp", f"1,maxcpus={machine.max_cpus}").returncode == 0


def test_malta_has_at_most_two_gigabytes() -> None:
    malta = MACHINES["malta"]
    done = boots(malta, malta.arches["mipsel"], "-m", f"{malta.max_memory + (1 << 20)}B")
    assert done.returncode != 0
    assert "Too much memory" in done.stderr

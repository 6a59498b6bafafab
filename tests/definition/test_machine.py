import shutil
import subprocess
from typing import get_args

import pytest

from vmd.definition.guest import Guest
from vmd.definition.machine import ARCHES, INSTALLERS, MACHINES, Arch, Machine

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

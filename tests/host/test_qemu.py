"""What a QEMU binary can really do, asked of the real ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vmd.errors import QemuFailed, VmdError
from vmd.host.qemu import Capabilities, identity, package, probe

X86 = "qemu-system-x86_64"
MIPS = "qemu-system-mipsel"

needs_x86 = pytest.mark.skipif(not shutil.which(X86), reason=f"{X86} is not installed")
needs_mips = pytest.mark.skipif(not shutil.which(MIPS), reason=f"{MIPS} is not installed")


@needs_x86
async def test_x86() -> None:
    can = await probe(X86)
    assert can.arch == "x86_64"
    assert can.version >= (6, 0, 0)
    assert can.version_text.startswith(".".join(map(str, can.version)))
    assert {"tcg"} <= can.accelerators <= {"tcg", "kvm", "xen", "nvmm", "whpx", "mshv", "qtest"}
    assert {"virtio-blk-pci", "virtio-net-pci", "isa-debug-exit", "pvpanic", "scsi-cd"} <= can.devices
    assert {"file", "qcow2", "raw"} <= can.block_drivers
    assert {"user", "tap", "socket"} <= can.netdevs
    assert {"socket", "null", "file"} <= can.chardevs
    assert {"rng-random", "secret"} <= can.objects
    assert {"system_powerdown", "screendump", "blockdev-add"} <= can.commands


@needs_x86
async def test_a_board_is_found_by_name_and_by_alias() -> None:
    can = await probe(X86)
    q35 = can.machine("q35")
    assert q35
    assert q35.alias == "q35"
    assert q35.name.startswith("pc-q35-")
    assert can.machine(q35.name) is q35
    assert q35.cpu_max >= 1
    assert can.machine("no-such-board") is None


@needs_mips
async def test_mips_has_malta_and_no_kvm() -> None:
    can = await probe(MIPS)
    assert can.arch == "mipsel"
    assert can.machine("malta")
    assert not can.kvm
    assert "pcnet" in can.devices


@needs_x86
async def test_debian_has_vvfat_and_the_sandbox() -> None:
    can = await probe(X86)
    if "Debian" not in can.version_text:
        pytest.skip("not Debian's QEMU")
    assert can.vvfat
    assert can.sandbox
    assert can.kvm
    assert can.run_with == (can.version >= (9, 1, 0))


@needs_x86
async def test_through_json_and_back() -> None:
    can = await probe(X86)
    text = json.dumps(can.to_json())
    assert Capabilities.from_json(json.loads(text)) == can
    assert len(text) < 64_000


@needs_x86
async def test_json_of_another_form_is_told() -> None:
    plain = (await probe(X86)).to_json()
    del plain["devices"]
    with pytest.raises(KeyError):
        Capabilities.from_json(plain)
    with pytest.raises(TypeError):
        Capabilities.from_json({**plain, "devices": [], "telepathy": True})


@pytest.mark.parametrize(
    ("binary", "expected"),
    [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("/opt/qemu/bin/qemu-system-i386", "qemu-system-x86"),
        ("qemu-system-mips64el", "qemu-system-mips"),
        ("qemu-system-aarch64", "qemu-system-arm"),
        ("qemu-system-riscv64", "qemu-system-misc"),
    ],
)
def test_package(binary: str, expected: str) -> None:
    assert package(binary) == expected


async def test_missing_binary_names_the_package() -> None:
    with pytest.raises(VmdError, match="apt install qemu-system-mips") as failed:
        await probe("/nowhere/qemu-system-mips")
    assert failed.value.message == "/nowhere/qemu-system-mips was not found"
    with pytest.raises(VmdError, match="apt install qemu-system-mips"):
        identity("/nowhere/qemu-system-mips")


@pytest.mark.parametrize("program", ["true", "false", "echo"])
async def test_not_a_qemu(program: str) -> None:
    with pytest.raises(QemuFailed, match=f"^{program} "):
        await probe(program)


def test_identity_follows_links_and_sees_another_build(tmp_path: Path) -> None:
    real, link = tmp_path / "real build", tmp_path / "qemu"
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    link.symlink_to(real)
    first = identity(str(link))
    assert identity(str(real)) == first
    assert str(real) in first
    real.unlink()
    real.write_text("#!/bin/sh\n: another\n")
    real.chmod(0o755)
    assert identity(str(link)) != first

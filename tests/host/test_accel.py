"""Whether KVM is really usable, with the real QEMU and the real /dev/kvm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from vmd.errors import CommandFailed, QemuFailed, VmdError
from vmd.host import accel
from vmd.host.accel import IMAGE_SIZE, SECTOR, probe_accel, tcg_scale
from vmd.host.credentials import Credentials
from vmd.host.run import run

X86 = "qemu-system-x86_64"
NOBODY = Credentials(65534, 65534)

needs_x86 = pytest.mark.skipif(not shutil.which(X86), reason=f"{X86} is not installed")
on_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="not an x86-64 host")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.mark.skipif(not (shutil.which("as") and shutil.which("ld")), reason="binutils is not installed")
@on_x86
async def test_the_sector_is_what_the_source_says(tmp_path: Path) -> None:
    source = Path(accel.__file__).with_name("probe.S")
    unlinked, sector = tmp_path / "probe.o", tmp_path / "probe.bin"
    await run(("as", "--64", "-o", str(unlinked), str(source)), timeout=30)
    linked = ("-Ttext", "0x7c00", "--oformat", "binary", "-o", str(sector))
    await run(("ld", *linked, str(unlinked)), timeout=30)
    assert sector.read_bytes() == SECTOR
    assert len(SECTOR) == 512 < IMAGE_SIZE


@needs_x86
@on_x86
async def test_no_device() -> None:
    found = await probe_accel(X86, device="/dev/vmd-no-such-kvm")
    assert found.kind == "tcg"
    assert found.reason == "there is no /dev/vmd-no-such-kvm"
    assert "modprobe kvm_intel" in found.remedy
    assert found.tcg_seconds
    assert found.kvm_seconds is None
    assert found.tcg_scale == tcg_scale(found.tcg_seconds)


@needs_x86
@on_x86
@as_root
async def test_a_device_that_qemus_user_may_not_use(tmp_path: Path) -> None:
    for each in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        each.chmod(0o755)
    device = tmp_path / "kvm"
    device.touch(mode=0)
    found = await probe_accel(X86, device=str(device), user=NOBODY)
    assert (found.kind, found.reason) == ("tcg", f"user 65534 may not use {device}")
    assert "group kvm" in found.remedy


@needs_x86
async def test_another_kind_of_host() -> None:
    found = await probe_accel(X86, architecture="aarch64")
    assert found.kind == "tcg"
    assert "this is an aarch64 host" in found.reason


@needs_x86
@on_x86
@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="/dev/kvm is not there, or forbidden")
@pytest.mark.parametrize("cpu", ["host", "qemu64"])
async def test_the_real_device(cpu: str) -> None:
    """Works or is useless, each in its own words; never both, and never a guess."""
    found = await probe_accel(X86, cpu=cpu)
    assert found.tcg_seconds
    if found.kind == "kvm":
        assert found.reason.startswith("KVM works")
        assert found.kvm_seconds
        assert found.kvm_seconds < found.tcg_seconds
        assert found.remedy == ""
    else:
        assert "useless" in found.reason or "slower than TCG" in found.reason
        assert "nested virtualisation" in found.remedy


@needs_x86
@on_x86
@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="/dev/kvm is not there, or forbidden")
async def test_qemus_own_words_are_quoted() -> None:
    found = await probe_accel(X86, cpu="no-such-cpu")
    assert found.kind == "tcg"
    assert "QEMU failed with it (" in found.reason
    assert "no-such-cpu" in found.reason


@pytest.mark.skipif(not shutil.which("qemu-system-mipsel"), reason="qemu-system-mips is not installed")
@on_x86
async def test_a_qemu_without_kvm_and_one_that_is_no_pc() -> None:
    obstacle = await accel._obstacle("qemu-system-mipsel", "/dev/kvm", "x86_64", None)
    assert obstacle
    assert obstacle[0] == "qemu-system-mipsel was built without KVM"
    with pytest.raises(QemuFailed, match="qemu-system-mipsel can't run the simplest guest: unsupported machine"):
        await probe_accel("qemu-system-mipsel")


async def test_no_such_binary() -> None:
    with pytest.raises(VmdError, match="apt install qemu-system-x86"):
        await probe_accel("/nowhere/qemu-system-x86_64")


@pytest.mark.parametrize(("seconds", "scale"), [(0.1, 1.0), (0.6, 1.0), (1.5, 2.5), (100.0, 10.0)])
def test_scale(seconds: float, scale: float) -> None:
    assert tcg_scale(seconds) == scale


def test_qemus_first_word_that_is_no_warning() -> None:
    output = "qemu-system-x86_64: warning: no pni\nqemu-system-x86_64: error: failed to set MSR\nqemu: Aborted\n"
    assert accel._said(CommandFailed(("qemu",), -6, output)) == "failed to set MSR"
    assert accel._said(CommandFailed(("qemu",), 3, "")) == "exit status 3"
    assert accel._said(CommandFailed(("qemu",), 0, "")) == "the guest crashed"

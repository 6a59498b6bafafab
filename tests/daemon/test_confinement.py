"""What QEMU may do, and who may look at what vmd keeps. QEMU is nobody only where vmd is root."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from tests.daemon.conftest import Tiny
from tests.daemon.house import Vmd, qemu_user

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run QEMU as somebody else")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def confinement(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def owned(path: Path) -> str:
    return pwd.getpwuid(path.stat().st_uid).pw_name


def test_qemu_is_in_a_sandbox(alice: Vmd) -> None:
    told = confinement(alice.status()["pid"])
    assert told["Seccomp"] == ["2"]
    assert told["NoNewPrivs"] == ["1"]
    assert told["Umask"] == ["0077"]


@AS_ROOT
def test_qemu_is_nobody(alice: Vmd) -> None:
    told, user = confinement(alice.status()["pid"]), pwd.getpwnam(qemu_user())
    assert told["Uid"] == [str(user.pw_uid)] * 4
    assert told["Gid"] == [str(user.pw_gid)] * 4
    assert set(told["CapEff"] + told["CapPrm"] + told["CapAmb"]) == {"0" * 16}
    assert "0" not in told["Groups"]


@AS_ROOT
def test_the_installers_qemu_is_nobody_too(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("hangs"))
    up = vmd.begin_install()
    (pid,) = vmd.qemus()
    told = confinement(pid)
    assert told["Uid"] == [str(pwd.getpwnam(qemu_user()).pw_uid)] * 4
    assert told["Seccomp"] == ["2"]
    up.kill()
    up.communicate()


def test_qemu_has_no_descriptor_of_vmds(alice: Vmd) -> None:
    pid = alice.status()["pid"]
    held = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert not [path for path in held if path.endswith(("vmd.lock", "vmd.sock", "vmd.log"))]


def test_qemu_knows_nothing_of_the_environment(alice: Vmd) -> None:
    told = Path(f"/proc/{alice.status()['pid']}/environ").read_bytes()
    assert b"VMD_" not in told
    assert b"HOME" not in told


@AS_ROOT
def test_who_may_look_at_what_root_keeps(alice: Vmd) -> None:
    assert mode(alice.state) == mode(alice.runtime) == 0o711
    assert mode(alice.guest()) == 0o711
    assert mode(alice.sockets()) == 0o700
    assert owned(alice.sockets()) == qemu_user()
    assert owned(alice.guest()) == "root"
    assert mode(alice.socket) in {0o600, 0o660}
    assert owned(alice.socket) == "root"
    for name in ("booted.json", "lock.json", "console.log", "qemu.log"):
        assert mode(alice.guest() / name) == 0o600, name
    for name in ("qmp", "monitor", "console"):
        assert mode(alice.sockets() / name) & 0o077 == 0, name


@pytest.mark.skipif(os.geteuid() == 0, reason="root's directories can be passed through")
def test_who_may_look_at_what_a_user_keeps(alice: Vmd) -> None:
    assert mode(alice.state) == mode(alice.runtime) == mode(alice.guest()) == 0o700
    assert mode(alice.socket) == 0o600


def test_the_seed_is_private(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer())
    vmd.ctl("up", "alice", "--wait", "kernel")
    assert mode(vmd.guest() / "seed") == 0o700
    assert {mode(path) for path in (vmd.guest() / "seed").iterdir()} == {0o600}
    assert mode(vmd.guest() / "disk.qcow2") == 0o600

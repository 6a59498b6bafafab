"""What a host's owner may do to a fleet by mistake: it costs a clear message, and no other guest anything."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.daemon.house import Vmd, run_as

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def test_a_disk_that_was_cut_off_is_named(vmd: Vmd) -> None:
    disk = vmd.root / "cut.qcow2"
    subprocess.run(("/usr/bin/qemu-img", "create", "-q", "-f", "qcow2", str(disk), "10M"), check=True)
    with disk.open("r+b") as file:
        file.truncate(90)
    run_as(disk)
    vmd.define(
        f"guests:\n  alice: {{memory: 16M, disk: {{path: {disk}, format: qcow2}}}}\n  bob: {{{vmd.tiny('bob')}}}\n"
    )
    done = vmd.ctl("up", "alice", "bob")
    assert done.code == 1
    assert str(disk) in done.err
    assert disk.stat().st_size == 90
    assert vmd.status("alice")["state"] == "failed"
    assert vmd.status("bob")["state"] == "running"


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount takes root")
def test_a_state_directory_that_can_not_be_written_ends_nothing(home: Vmd) -> None:
    home.define_tiny("alice", "bob")
    home.start()
    assert home.ctl("up", "alice").code == 0
    pid = home.status()["pid"]
    home.kill()

    home.prefix = ("unshare", "--mount", "sh", "-c", READ_ONLY, str(home.state))
    home.start()
    assert (home.status()["state"], home.status()["pid"]) == ("running", pid)
    refused = home.ctl("up", "bob")
    assert refused.code == 1
    assert "Read-only file system" in refused.err
    assert home.qemus() == [pid]
    home.kill()

    home.prefix = ()
    home.start()
    assert home.status()["pid"] == pid
    assert home.ctl("up", "bob").code == 0
    assert home.ctl("down", "--all").code == 0


@pytest.mark.boot
def test_a_run_directory_that_was_removed_ends_no_guest_and_starts_none_twice(alice: Vmd) -> None:
    pid, known = alice.status()["pid"], alice.capabilities.read_bytes()
    shutil.rmtree(alice.runtime)
    assert alice.ctl("list").code == 4  # nobody can be asked where there is no socket
    alice.kill()

    alice.runtime.mkdir()
    alice.capabilities.write_bytes(known)
    alice.start()
    # for half a minute its monitor may yet come; then it is held by its process alone
    assert alice.ctl("up", "alice", "--wait", "process", "--timeout", "1s").code != 0
    assert alice.status()["pid"] == pid
    assert alice.qemus() == [pid]

    assert alice.ctl("down", "alice", "--timeout", "1s").code == 0
    assert alice.qemus() == []
    assert alice.ctl("up", "alice").code == 0

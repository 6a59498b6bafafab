"""The daemon as a process: one per runtime directory, quick to leave, and what it does when the host is full."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest

from tests.daemon.conftest import Tiny
from tests.daemon.house import Vmd
from tests.daemon.test_install import nothing_half_made


def test_two_in_one_place_are_refused(vmd: Vmd) -> None:
    other = vmd.spawn()
    assert other.wait() == 1
    said = vmd.log.read_text()
    assert f"vmd: {vmd.runtime}/vmd.lock is locked by process {vmd.pid}" in said
    assert "directories of its own" in said
    assert vmd.ctl("version").code == 0


def test_the_socket_of_a_dead_one_is_replaced(home: Vmd) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home.socket))
    home.start()
    assert home.ctl("version").code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_when_it_is_told(vmd: Vmd, number: signal.Signals) -> None:
    with vmd.request("GET /v1/events?follow=1 HTTP/1.0\r\n\r\n"), vmd.request("GET"):
        assert vmd.kill(number) == 0
    assert not vmd.socket.exists()


def test_sighup_reads_the_definitions_again(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    (vmd.fleet / "more.yaml").write_text(f"guests: {{bob: {{{vmd.tiny('bob')}}}}}\n")
    os.kill(vmd.pid, signal.SIGHUP)
    assert vmd.status("bob")["state"] == "absent"


def test_a_file_at_fault_costs_the_others_nothing(alice: Vmd) -> None:
    alice.define("guests: {bob: {memory: lots}}\n", "broken.yaml")
    told = alice.ctl("status", "--json").json
    assert [guest["name"] for guest in told["guests"]] == ["alice"]
    assert f"{alice.fleet}/broken.yaml:1:" in told["faults"][0]
    assert told["guests"][0]["state"] == "running"


def test_a_runtime_directory_too_long_for_a_socket(home: Vmd) -> None:
    home.runtime = home.root / ("long" * 25)
    assert home.spawn().wait() == 1
    assert "VMD_RUNTIME_DIR" in home.log.read_text()


def test_a_plan_leaves_nothing_behind(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer())
    before = sorted(vmd.state.rglob("*"))
    (told,) = vmd.ctl("plan", "--json").json["guests"]
    assert [step["step"] for step in told["steps"]] == [
        "write-seed", "make-disk", "run-installer", "accept-disk", "start"
    ]  # fmt: skip
    assert sorted(vmd.state.rglob("*")) == before


@pytest.fixture
def cramped(home: Vmd) -> Vmd:
    """A vmd whose state is on a file system of 2 MiB that only it can see."""
    inside = f'mount -t tmpfs -o size=2m,mode=711 none {home.state} && exec "$@"'
    home.prefix = ("unshare", "--mount", "sh", "-c", inside, "sh")
    if subprocess.run((*home.prefix, "true"), capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace of one's own takes root")
    home.start()
    return home


def test_a_host_disk_that_fills_up_under_an_installer(cramped: Vmd, tiny: Tiny) -> None:
    cramped.define_installed(tiny.installer("fills"))
    done = cramped.ctl("up", "alice")
    assert done.code == 1
    assert "its disk could not be written: no space left on the host" in done.err
    assert cramped.qemus() == []
    assert cramped.status()["state"] == "failed"
    cramped.state = cramped.state.parent / "proc"
    cramped.state.symlink_to(f"/proc/{cramped.pid}/root{cramped.root}/state")
    nothing_half_made(cramped)
    cramped.define_installed(tiny.installer())
    done = cramped.ctl("up", "alice", "--wait", "kernel")
    assert done.code == 0, done.err

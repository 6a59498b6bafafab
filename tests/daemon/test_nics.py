"""Cables of a running guest are pulled and plugged in, and what passes one is written down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.house import PATIENCE, Vmd
from tests.daemon.namespace import in_a_namespace
from tests.daemon.test_cables import up

MAGIC = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")
"""How a pcap file begins, on a little-endian and a big-endian host."""
FRAME = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x99" + b"\x88\xb5" + b"what passes by" + bytes(40)


@pytest.fixture
def switched(home: Vmd) -> Vmd:
    """A running vmd that can make no taps, with alice on the segment lan."""
    if os.geteuid() == 0:
        in_a_namespace(home, "mount --bind /dev/null /dev/net/tun")
    home.define("networks: {lan: {}}\n", "networks.yaml")
    home.start()
    home.define_tiny("alice", more=", network: [user, lan]")
    up(home, "alice")
    return home


@pytest.fixture
def other(switched: Vmd) -> Iterator[socket.socket]:
    """Another one's socket on lan."""
    directory = switched.runtime / "segments" / "lan"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.bind(str(directory / "other.0"))
        own.connect(str(directory / "switch"))
        yield own


def begun(vmd: Vmd, *words: str) -> tuple[subprocess.Popen[bytes], bytes]:
    """A capture that has begun, on stdout, and the header of its file."""
    vmctl = vmd.begin("pcap", *words, "-", bufsize=0)
    assert vmctl.stdout
    header = vmctl.stdout.read(24)
    assert header[:4] in MAGIC, vmctl.communicate()
    return vmctl, header


def captures(vmd: Vmd) -> list[Path]:
    return list(vmd.sockets().glob("pcap-*"))


def test_what_passes_is_written_down(switched: Vmd, other: socket.socket) -> None:
    vmctl, _ = begun(switched, "alice", "lan")
    other.send(FRAME)
    assert vmctl.stdout
    said = b""
    while FRAME not in said:
        block = vmctl.stdout.read(4096)
        assert block, vmctl.communicate()
        said += block
    vmctl.send_signal(signal.SIGINT)
    assert vmctl.wait(PATIENCE) == 0
    vmctl.communicate()


def test_a_capture_ends_with_its_guest(switched: Vmd, tmp_path: Path) -> None:
    vmctl, _ = begun(switched, "alice", "1")
    (pid,) = switched.qemus()
    os.kill(pid, signal.SIGKILL)
    assert vmctl.wait(PATIENCE) == 0
    vmctl.communicate()
    switched.heard("state", state="failed")
    assert captures(switched) == []


def test_a_capture_of_a_vmd_that_was_killed_is_ended(switched: Vmd) -> None:
    vmctl, _ = begun(switched, "alice", "lan")
    switched.kill()
    vmctl.communicate(timeout=PATIENCE)
    assert len(captures(switched)) == 1
    switched.start()
    assert captures(switched) == []


def test_a_cable_is_pulled_and_plugged_in(switched: Vmd) -> None:
    for state in ("down", "up"):
        done = switched.ctl("link", "alice", "lan", state)
        assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("link", "alice", "wan", "down"), "alice has no NIC wan"),
        (("link", "alice", "2", "down"), "alice has no NIC 2"),
        (("pcap", "alice", "wan", "-"), "alice has no NIC wan"),
    ],
)
def test_a_nic_that_is_not_there_is_said(switched: Vmd, words: tuple[str, ...], said: str) -> None:
    done = switched.ctl(*words)
    assert done.code == 2
    assert said in done.err
    assert "0 (user), 1 (lan)" in done.err


def test_a_guest_that_does_not_run_has_no_cable(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    for words in (("link", "alice", "0", "down"), ("pcap", "alice", "0", "-")):
        done = vmd.ctl(*words)
        assert done.code == 1
        assert "alice doesn't run" in done.err

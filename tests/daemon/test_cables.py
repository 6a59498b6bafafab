"""Guests on one segment, by the same definition: in bridges where vmd may make them, else at a switch."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import Tiny
from tests.daemon.house import PATIENCE, Vmd, qemu_user
from tests.daemon.namespace import in_a_namespace, inside
from vmd.definition.layout import bridge, tap
from vmd.host.process import find

NETWORKS = "networks: {lan: {}, home: {bridge: br0}}\n"


def links(vmd: Vmd) -> dict[str, dict[str, object]]:
    """The links there are but for lo, by name."""
    told = json.loads(inside(vmd, "ip", "-j", "-d", "link"))
    return {link["ifname"]: link for link in told if link["ifname"] != "lo"}


def fleet_id(vmd: Vmd) -> str:
    return (vmd.state / "fleet-id").read_text().strip()


@pytest.fixture
def rooted(home: Vmd) -> Vmd:
    """A running vmd of root's, in a network of its own with a bridge br0."""
    in_a_namespace(home, "ip link add br0 type bridge", "ip link set br0 up")
    home.define(NETWORKS, "networks.yaml")
    home.start()
    return home


@pytest.fixture
def rootless(home: Vmd) -> Vmd:
    """A running vmd that can make no taps."""
    if os.geteuid() == 0:
        in_a_namespace(home, "mount --bind /dev/null /dev/net/tun")
    home.define(NETWORKS, "networks.yaml")
    home.start()
    return home


def up(vmd: Vmd, *names: str) -> None:
    done = vmd.ctl("up", *names)
    assert done.code == 0, done.err


def test_two_guests_share_a_bridge_as_long_as_they_run(rooted: Vmd) -> None:
    rooted.define_tiny("alice", "bob", more=", network: lan")
    up(rooted, "alice", "bob")
    segment = bridge(fleet_id(rooted), "lan")
    taps = {tap(fleet_id(rooted), name, 0) for name in ("alice", "bob")}
    found = links(rooted)
    assert set(found) == {"br0", segment, *taps}
    assert {found[name]["master"] for name in taps} == {segment}
    assert found[tap(fleet_id(rooted), "alice", 0)]["altnames"] == ["alice/lan/0", "alice.lan.0"]
    assert rooted.ctl("down", "alice", "--timeout", "1s").code == 0
    assert set(links(rooted)) == {"br0", segment, tap(fleet_id(rooted), "bob", 0)}
    assert rooted.ctl("down", "bob", "--timeout", "1s").code == 0
    assert set(links(rooted)) == {"br0"}


def test_the_hosts_bridge_is_used_and_left(rooted: Vmd) -> None:
    rooted.define_tiny("alice", more=", network: [home, user]")
    up(rooted, "alice")
    assert links(rooted)[tap(fleet_id(rooted), "alice", 0)]["master"] == "br0"
    assert rooted.status()["ssh"]
    assert rooted.ctl("down", "alice", "--timeout", "1s").code == 0
    assert set(links(rooted)) == {"br0"}


def test_qemu_is_nobody_with_its_tap(rooted: Vmd) -> None:
    rooted.define_tiny("alice", more=", network: lan")
    up(rooted, "alice")
    (pid,) = rooted.qemus()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split()[0] == inside(rooted, "id", "-u", qemu_user()).strip()
    assert (int(status["CapEff"], 16), status["Seccomp"], status["NoNewPrivs"]) == (0, "2", "1")


def test_a_tap_goes_back_into_a_bridge_that_was_made_anew(rooted: Vmd) -> None:
    rooted.define_tiny("alice", more=", network: home")
    up(rooted, "alice")
    rooted.kill()
    rooted.start()  # also under a vmd that only adopted it
    own = tap(fleet_id(rooted), "alice", 0)
    inside(rooted, "ip", "link", "del", "br0")
    assert "master" not in links(rooted)[own]
    inside(rooted, "ip", "link", "add", "br0", "type", "bridge")
    told = vmd_says(rooted)  # it answers only after it has heard the kernel
    assert told
    assert links(rooted)[own]["master"] == "br0"


def vmd_says(vmd: Vmd) -> object:
    return [vmd.status() for _ in range(3)]


def test_guests_outlive_vmd_and_what_is_left_is_cleared_away(rooted: Vmd) -> None:
    rooted.define_tiny("alice", more=", network: lan")
    up(rooted, "alice")
    rooted.kill()
    (pid,) = rooted.qemus()
    assert tap(fleet_id(rooted), "alice", 0) in links(rooted)
    held = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([held], [], [], PATIENCE)[0]
    os.close(held)
    assert set(links(rooted)) == {"br0", bridge(fleet_id(rooted), "lan")}
    rooted.start()
    assert set(links(rooted)) == {"br0"}


def test_a_bridge_that_is_not_there_is_said(rooted: Vmd) -> None:
    rooted.define("networks: {dmz: {bridge: br7}}\n", "dmz.yaml")
    rooted.define_tiny("alice", more=", network: [lan, dmz]")
    done = rooted.ctl("up", "alice")
    assert done.code == 1
    assert "there is no bridge br7" in done.err
    assert set(links(rooted)) == {"br0"}
    assert rooted.qemus() == []


def test_an_installer_has_a_tap_and_then_the_guest(rooted: Vmd, tiny: Tiny) -> None:
    rooted.define_installed(tiny.installer(), guest="network: lan")
    done = rooted.ctl("up", "alice", "--wait", "process", "--json")
    assert done.code == 0, done.err
    steps = [event["step"] for event in done.events if event["event"] == "step.done"]
    cabled = ["add-segment", "add-tap"]
    assert steps[-7:] == [*cabled, "run-installer", "accept-disk", *cabled, "start"]
    assert tap(fleet_id(rooted), "alice", 0) in links(rooted)


def switches(vmd: Vmd) -> list[int]:
    return [
        found.identity.pid
        for found in find(lambda argv: "vmd.host.switch" in argv and argv[-1].startswith(f"{vmd.runtime}/"))
    ]


def test_the_same_definition_without_root(rootless: Vmd) -> None:
    rootless.define_tiny("alice", "bob", more=", network: lan")
    up(rootless, "alice", "bob")
    (pid,) = switches(rootless)
    held = os.pidfd_open(pid)
    directory = rootless.runtime / "segments" / "lan"
    assert {"alice.0", "bob.0"} <= {path.name for path in directory.iterdir()}
    rootless.kill()
    assert switches(rootless) == [pid]
    rootless.start()
    assert rootless.ctl("down", "alice", "bob", "--timeout", "1s").code == 0
    assert select.select([held], [], [], PATIENCE)[0], "the switch outlives its guests"
    os.close(held)


def test_a_bridge_takes_root(rootless: Vmd) -> None:
    rootless.define_tiny("alice", more=", network: home")
    done = rootless.ctl("up", "alice")
    assert done.code == 1
    assert "alice: network: home has bridge, which takes a vmd of root's" in done.err


SAY = """
import socket, sys
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
arp = bytes.fromhex("0001080006040002") + mac + socket.inet_aton(sys.argv[2]) + mac + socket.inet_aton(sys.argv[2])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as cable:
    cable.bind(("cable", 0))
    cable.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + arp)
"""
"""Says, on a cable into the bridge, whose address is whose."""


def mac_of_alice(vmd: Vmd) -> str:
    line = " ".join(vmd.ctl("argv", "alice", "--json").json)
    return line.partition("id=net0,mac=")[2][:17]


def test_where_is_my_guest(rooted: Vmd) -> None:
    inside(rooted, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "plug")
    inside(rooted, "ip", "link", "set", "plug", "master", "br0", "up")
    inside(rooted, "ip", "link", "set", "cable", "up")
    rooted.define_tiny("alice", more=", network: home")
    up(rooted, "alice")
    assert rooted.ctl("ip", "alice").code == 1
    assert rooted.status()["ssh"] is None
    mac = mac_of_alice(rooted)
    inside(rooted, sys.executable, "-c", SAY, mac, "10.9.0.7")
    assert rooted.ctl("wait", "alice", "--for", "address").code == 0
    assert rooted.ctl("ip", "alice").out == "10.9.0.7\n"
    (found,) = rooted.status()["addresses"]
    assert (found["address"], found["port"], found["source"]) == ("10.9.0.7", None, "arp")
    assert found["age"] >= 0
    assert rooted.status()["ssh"] == {"host": "10.9.0.7", "port": 22}
    assert "HostName 10.9.0.7" in rooted.ctl("ssh-config", "alice").out
    rooted.kill()
    rooted.start()
    inside(rooted, "ip", "neigh", "replace", "10.9.0.8", "lladdr", mac, "dev", "br0", "nud", "reachable")
    assert rooted.ctl("ip", "alice").out == "10.9.0.8\n"
    assert rooted.status()["addresses"][0]["source"] == "neighbour"

"""How NICs are joined to networks, with root and without: the same definition, other steps and another line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vmd.definition.layout import bridge, segment_mac, tap
from vmd.errors import Refused
from vmd.plan.cable import AddSegment, AddSwitch, AddTap
from vmd.plan.step import RunInstaller, Start, Up, argv

from .conftest import DISK, guest, host, names, place, plan

ROOTLESS = dataclasses.replace(host(), taps=False)


def planned(*, root: bool = True, **written: Any) -> tuple[Up, ...]:
    alice = guest(**{"disk": "40G", **written})
    return plan(alice, place(alice, on=host() if root else ROOTLESS, disk=DISK))


def netdevs(steps: tuple[Up, ...]) -> list[str]:
    (start,) = (step for step in steps if isinstance(step, Start))
    line = argv(start)
    return [line[index + 1] for index, word in enumerate(line) if word == "-netdev"]


def test_with_root_a_segment_is_a_bridge_and_a_tap() -> None:
    steps = planned(network=["lan", "user"])
    assert names(steps) == "add-segment add-tap start"
    own, onto = tap("f1ee7", "alice", 0), bridge("f1ee7", "lan")
    made, plugged, _ = steps
    assert made == AddSegment("lan", onto, segment_mac("f1ee7", "lan"))
    assert plugged == AddTap("lan", own, onto, plugged_mac(steps), False, ("alice/lan/0", "alice.lan.0"))
    assert netdevs(steps) == [f"tap,id=nic0,fd={own},vhost=off", "user,id=nic1,hostfwd=tcp:127.0.0.1:2222-:22"]


def plugged_mac(steps: tuple[Up, ...]) -> str:
    (start,) = (step for step in steps if isinstance(step, Start))
    return next(word.partition("mac=")[2][:17] for word in argv(start) if "id=net0" in word)


def test_the_hosts_own_bridge_is_used_as_it_is() -> None:
    steps = planned(network="home")
    assert names(steps) == "add-tap start"
    assert isinstance(steps[0], AddTap)
    assert steps[0].bridge == "br0"


def test_isolated_is_said_of_the_port() -> None:
    assert [step.isolated for step in planned(network=["cells", "lan"]) if isinstance(step, AddTap)] == [True, False]


def test_two_nics_on_one_segment_are_two_taps_on_one_bridge() -> None:
    steps = planned(network=["lan", "lan"])
    assert names(steps) == "add-segment add-tap add-tap start"
    assert len({step.tap for step in steps if isinstance(step, AddTap)}) == 2


def test_without_root_it_is_a_socket_and_a_switch() -> None:
    steps = planned(root=False, network=["user", "lan"])
    assert names(steps) == "add-switch start"
    assert steps[0] == AddSwitch("lan", "/run/vmd/segments/lan")
    assert netdevs(steps)[1] == (
        "dgram,id=nic1,local.type=unix,local.path=/run/vmd/segments/lan/alice.1,"
        "remote.type=unix,remote.path=/run/vmd/segments/lan/switch"
    )


def test_an_installer_has_its_cables_too() -> None:
    alice = guest(disk="40G", network="lan")
    steps = plan(alice, place(alice))
    kinds = [type(step) for step in steps]
    assert kinds.count(AddTap) == 2
    assert kinds.index(AddTap) < kinds.index(RunInstaller)
    assert kinds[-2:] == [AddTap, Start]


@pytest.mark.parametrize(("network", "key"), [("home", "bridge"), ("cells", "isolated")])
def test_what_takes_root_is_refused_without(network: str, key: str) -> None:
    with pytest.raises(Refused, match=f"^alice: network: {network} has {key}, which takes"):
        planned(root=False, network=network)


def test_a_socket_whose_path_is_too_long_is_refused() -> None:
    alice = guest(disk="40G", network="lan")
    long = dataclasses.replace(ROOTLESS, segments="/run/" + 91 * "x")
    with pytest.raises(Refused, match=r" has 108 bytes, and a socket's path may have 107"):
        plan(alice, place(alice, on=long, disk=DISK))


def test_a_network_that_is_gone_is_refused() -> None:
    alice = guest(disk="40G", network="wan")
    with pytest.raises(Refused, match="there is no network 'wan' any more"):
        plan(alice, place(alice, disk=DISK))

"""A NIC in use comes under a bridge and back: nothing it had is lost, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.network.conftest import GATEWAYS, Lan
from vmd.errors import VmdError
from vmd.host.files import read_record, write_record
from vmd.host.link import rollback, wire
from vmd.host.link.facts import dump, leads_over
from vmd.host.link.move import answering, shift
from vmd.plan.bridge import plan_return
from vmd.plan.portrait import differences

MOVER = str(Path(__file__).with_name("mover.py"))
SLACK = 5
"""Seconds that lifetimes may have run on while a test was under way; 3000 and more are at stake."""


def state_of(lan: Lan, link: str) -> dict[str, Any]:
    with lan.host.entered():
        return dump(link)


def move(lan: Lan, record: Path, seconds: float = 60, kill: int = -1) -> subprocess.Popen[str]:
    return lan.host.python(
        MOVER, str(record), str(seconds), str(kill), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def moved(lan: Lan, record: Path, seconds: float = 60) -> list[str]:
    process = move(lan, record, seconds)
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    return said.split()


def test_bridge_has_all_that_the_nic_had(lan: Lan, tmp_path: Path) -> None:
    before = state_of(lan, "nic0")
    moved(lan, tmp_path / "move.json")
    assert differences(before, state_of(lan, "br0"), SLACK) == ()
    after = state_of(lan, "nic0")
    assert after["link"]["master"] == "br0"
    assert (after["addresses"], after["routes"]) == ([], [])
    assert state_of(lan, "br0")["link"]["mac"] == before["link"]["mac"]
    assert {name for name in after["names"] if name.startswith("vmdp")} == set()


def test_undo_gives_all_back(lan: Lan, tmp_path: Path) -> None:
    before = state_of(lan, "nic0")
    record = tmp_path / "move.json"
    moved(lan, record)
    assert rollback.answer(record, b"undo") == rollback.UNDONE
    assert differences(before, state_of(lan, "nic0"), SLACK) == ()
    assert lan.host.links() == {"lo", "nic0"}
    assert rollback.state(record) == rollback.UNDONE


ADVERTISE = """
import socket, struct, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
index = socket.if_nametoindex("lan0")
sock.bind(("fe80::1", 0, 0, index))
head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
prefixes = [("2001:db8:aa::", 0xC0), ("2001:db8:bb::", 0x80)]  # the second is on the link and gives no address
for prefix, flags in prefixes:
    head += struct.pack("!BBBBIII", 3, 4, 64, flags, 7200, 3600, 0) + socket.inet_pton(socket.AF_INET6, prefix)
sock.sendto(head, ("ff02::1", 0, 0, index))
"""


def test_what_a_router_advertised_is_kept(lan: Lan, tmp_path: Path) -> None:
    """An address the host made up itself, a prefix that gives none, and how long each is good."""
    lan.host.ip("-6 route del default")
    with lan.host.entered(), wire.netlink(wire.IPV6_ROUTE_GROUP) as routes:
        lan.router.run(sys.executable, "-c", ADVERTISE)
        while "2001:db8:bb::/64" not in (learnt := lan.host.ip("-6 route")) or "2001:db8:aa::/64" not in learnt:
            list(wire.heard(routes))
    assert "proto ra" in learnt
    before = state_of(lan, "nic0")
    made = [address for address in before["addresses"] if "2001:db8:aa:" in wire.attr(address, "IFA_ADDRESS")]
    assert len(made) == 1
    moved(lan, tmp_path / "move.json")
    assert differences(before, state_of(lan, "br0"), SLACK) == ()
    lan.router.run(sys.executable, "-c", ADVERTISE)
    with lan.host.entered():
        answering("br0", GATEWAYS, 10)
    assert differences(before, state_of(lan, "br0"), SLACK) == (), "the bridge now learns as the NIC did"
    assert rollback.answer(tmp_path / "move.json", b"undo") == rollback.UNDONE
    assert differences(before, state_of(lan, "nic0"), SLACK) == ()


def test_the_way_to_a_peer(lan: Lan) -> None:
    with lan.host.entered():
        assert leads_over("10.99.0.1") == "nic0"
        assert leads_over("2001:db8:55::9") == "nic0"
        assert leads_over("127.0.0.1") == "lo"
        with pytest.raises(VmdError, match="no IP address"):
            leads_over("router")
    assert leads_over_nothing(lan) is None


def leads_over_nothing(lan: Lan) -> str | None:
    with lan.router.entered():
        return leads_over("192.0.2.1")


def test_confirmed_it_stays_and_can_be_undone_later(lan: Lan, tmp_path: Path) -> None:
    before = state_of(lan, "nic0")
    record = tmp_path / "move.json"
    moved(lan, record)
    assert rollback.answer(record, b"confirm") == rollback.CONFIRMED
    assert rollback.state(record) == rollback.CONFIRMED
    with pytest.raises(VmdError, match="nobody waits"):
        rollback.answer(record, b"undo")
    bridge = state_of(lan, "br0")
    assert differences(before, bridge, SLACK) == ()
    with lan.host.entered():
        back = plan_return(bridge, "nic0")
        assert not any(shift("nic0", back.ready, back.go).results)
        wire.carry_out(back.settle)
    assert differences(before, state_of(lan, "nic0"), SLACK) == ()


def test_unconfirmed_it_is_undone_when_its_time_is_up(lan: Lan, tmp_path: Path) -> None:
    before = state_of(lan, "nic0")
    record = tmp_path / "move.json"
    with lan.host.entered(), wire.netlink(wire.LINK_GROUP) as links:
        moved(lan, record, seconds=2)
        wait_until_gone(links, "br0")
    wait_until_undone(record)
    assert differences(before, state_of(lan, "nic0"), SLACK) == ()
    assert "undone in" in record.with_suffix(".log").read_text()


def wait_until_gone(links: socket.socket, name: str) -> None:
    """Listen until the kernel tells that a link is gone."""
    while True:
        for event in wire.heard(links):
            if event["event"] == "RTM_DELLINK" and wire.attr(event, "IFLA_IFNAME") == name:
                return


def wait_until_undone(record: Path) -> None:
    """The process holds its socket's file until it is ready with its record."""
    log = record.with_suffix(".log")
    while not (log.exists() and "undone" in log.read_text()):
        os.sched_yield()


def messages_of(lan: Lan, tmp_path: Path) -> int:
    record = tmp_path / "count.json"
    sent = int(moved(lan, record)[0])
    rollback.answer(record, b"undo")
    return sent


@pytest.mark.boot
def test_killed_after_any_message_it_is_undone(lan: Lan, tmp_path: Path) -> None:
    before = state_of(lan, "nic0")
    total = messages_of(lan, tmp_path)
    assert total > 20
    for limit in range(total):
        record = tmp_path / f"{limit}.json"
        process = move(lan, record, 60, limit)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert rollback.answer(record, b"undo") == rollback.UNDONE, read_record(record)
        assert differences(before, state_of(lan, "nic0"), SLACK + limit) == (), f"killed after {limit} of {total}"
        assert lan.host.links() == {"lo", "nic0"}


def test_vmd_that_starts_anew_undoes_what_nobody_keeps(lan: Lan, tmp_path: Path) -> None:
    before = state_of(lan, "nic0")
    record = tmp_path / "move.json"
    process = move(lan, record, 60, 12)
    process.communicate(timeout=60)
    with lan.host.entered():
        assert rollback.mend(record) is None, "someone waits: it is his"
        lan.host.kill_all()
        done = rollback.mend(record)
        assert done
        assert done.refused == ()
        assert rollback.mend(record) is None
    assert differences(before, state_of(lan, "nic0"), SLACK) == ()


def test_record_of_another_boot_is_past(tmp_path: Path) -> None:
    record = tmp_path / "move.json"
    assert rollback.state(record) == "absent"
    write_record(record, {**rollback.new_record({}, 1), "boot": "another"})
    assert rollback.state(record) == "past"
    assert rollback.mend(record) is None

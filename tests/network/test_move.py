"""A NIC in use comes under a bridge and back: nothing it had is lost, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.network.conftest import Lan
from vmd.errors import VmdError
from vmd.host.files import read_record, write_record
from vmd.host.link import rollback, wire
from vmd.host.link.facts import dump
from vmd.host.link.move import shift
from vmd.plan.bridge import differences, plan_return

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
        ready, go = plan_return(bridge, "nic0")
        assert not any(shift("nic0", ready, go).results)
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

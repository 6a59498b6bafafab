"""Definitions that change under a running vmd: they are noticed, and what is wrong costs nothing that was right."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.house import Vmd


def guests(vmd: Vmd) -> dict[str, str]:
    return {guest["name"]: guest["state"] for guest in vmd.ctl("list", "--json").json["guests"]}


def faults(vmd: Vmd) -> list[str]:
    return list(vmd.ctl("list", "--json").json["faults"])


def write(vmd: Vmd, text: str, file: str = "more.yaml") -> Path:
    """Write a file as an editor does, and tell nobody."""
    partial = vmd.fleet / f"{file}.part"
    partial.write_text(text)
    return partial.replace(vmd.fleet / file)


def fleet(vmd: Vmd, *names: str) -> dict[str, Any]:
    """Wait until vmd has read a fleet of these guests."""
    return vmd.heard("fleet", guest=None, guests=sorted(names))


def tiny(vmd: Vmd, name: str) -> str:
    return f"guests: {{{name}: {{{vmd.tiny(name)}}}}}\n"


def test_files_that_come_change_and_go_are_noticed(alice: Vmd) -> None:
    file = write(alice, tiny(alice, "bob"))
    assert fleet(alice, "alice", "bob")["faults"] == []
    write(alice, tiny(alice, "carol"))
    fleet(alice, "alice", "carol")
    file.rename(alice.fleet / "renamed.yaml.off")
    alice.heard("fleet", guest=None, guests=["alice"], nth=2)
    assert guests(alice) == {"alice": "running"}


def test_a_broken_file_takes_nothing_down(alice: Vmd) -> None:
    pid = alice.status()["pid"]
    for number, text in enumerate(("guests: {alice: {memory: lots}}", "guests: [", "\x00", "guests: {alice: }}"), 1):
        write(alice, text, "fleet.yaml")
        told = alice.heard("fleet", guest=None, guests=["alice"], nth=number + 1)  # the first was right
        assert "fleet.yaml" in told["faults"][0]
        assert (alice.status()["pid"], alice.status()["state"]) == (pid, "running")
    assert "fleet.yaml" in alice.ctl("list").err
    assert "fleet.yaml" in alice.ctl("status").err
    assert alice.ctl("restart", "alice").code == 0  # by the definition that was right
    alice.define_tiny("alice")
    assert faults(alice) == []


def test_what_is_right_in_a_broken_file_counts(alice: Vmd) -> None:
    write(alice, f"guests:\n  alice: {{memory: lots}}\n  bob: {{{alice.tiny('bob')}}}\n", "fleet.yaml")
    fleet(alice, "alice", "bob")
    assert alice.ctl("up", "bob").code == 0
    assert alice.status("alice")["state"] == "running"


def test_an_installer_outlives_its_broken_file(vmd: Vmd) -> None:
    write(vmd, "installers: {own: {iso: /srv/own.iso}}", "a.yaml")
    write(vmd, "guests: {alice: {memory: 16M, disk: 4M, install: own}}", "b.yaml")
    fleet(vmd, "alice")
    write(vmd, "installers: {own: {iso: 1", "a.yaml")
    told = vmd.heard("fleet", guest=None, guests=["alice"], nth=2)
    assert "a.yaml" in told["faults"][0]
    assert "/srv/own.iso is not there" in vmd.ctl("up", "alice").err


@pytest.mark.parametrize("what", ["directory", "fifo", "unreadable"])
def test_what_can_not_be_read_is_a_fault(alice: Vmd, what: str) -> None:
    path = alice.fleet / "odd.yaml"
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("odd.yaml")  # to itself: ELOOP, for root too
    told = alice.heard("fleet", guest=None, guests=["alice"], nth=2)
    assert [fault.startswith(f"{path}: can't be read: ") for fault in told["faults"]] == [True]


def test_a_guest_whose_sockets_would_be_too_long_is_left_out(alice: Vmd) -> None:
    name = "x" * 63
    write(alice, f"guests: {{{name}: {{{alice.tiny('x')}}}, bob: {{{alice.tiny('bob')}}}}}\n")
    told = alice.heard("fleet", guest=None, nth=2)
    long = len(f"{alice.runtime}/guests/{name}/monitor") > 107
    assert told["guests"] == (["alice", "bob"] if long else ["alice", "bob", name])
    assert [name in fault for fault in told["faults"]] == [True] * long


def test_a_directory_that_is_gone_leaves_the_fleet_as_it_was(alice: Vmd) -> None:
    pid = alice.status()["pid"]
    away = alice.fleet.rename(alice.config / "away")
    told = alice.heard("fleet", guest=None, guests=["alice"], nth=2)
    assert "it is gone" in told["faults"][0]
    assert alice.status()["pid"] == pid
    away.rename(alice.fleet)
    assert alice.heard("fleet", guest=None, guests=["alice"], nth=3)["faults"] == []
    write(alice, tiny(alice, "bob"))
    fleet(alice, "alice", "bob")


def test_a_directory_that_comes_later(home: Vmd) -> None:
    shutil.rmtree(home.config)
    home.start()
    assert (guests(home), faults(home)) == ({}, [])
    home.fleet.mkdir(parents=True)
    write(home, tiny(home, "bob"))
    fleet(home, "bob")


def test_sighup_has_the_definitions_read(alice: Vmd) -> None:
    write(alice, tiny(alice, "bob"))
    os.kill(alice.pid, signal.SIGHUP)
    fleet(alice, "alice", "bob")


def test_an_empty_directory_is_an_empty_fleet(alice: Vmd) -> None:
    for path in alice.fleet.iterdir():
        path.unlink()
    fleet(alice)
    assert guests(alice) == {"alice": "orphan"}


def test_nothing_is_told_where_nothing_changed(alice: Vmd) -> None:
    for _ in range(3):
        assert alice.ctl("reload").code == 0
    found = alice.ctl("events", "--json").events
    assert len([event for event in found if event["event"] == "fleet"]) == 1

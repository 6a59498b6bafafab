"""What guests use, as a table of rates between two looks."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

from vmd.cli.top import rows

from .conftest import Speaker, status

Vmctl = Callable[..., CompletedProcess[str]]

NOTHING: dict[str, Any] = dict.fromkeys(("cpu_seconds", "memory", "disk_read", "disk_written", "received", "sent"))


def guest(name: str, state: str = "running", **facts: Any) -> dict[str, Any]:
    return {"name": name, "state": state, **NOTHING, **facts}


def test_rates_are_those_between_two_looks() -> None:
    before = guest("alice", cpu_seconds=10.0, memory=5, disk_read=0, disk_written=1024, received=7, sent=0)
    after = guest("alice", cpu_seconds=11.0, memory=1 << 20, disk_read=4096, disk_written=1024, received=9, sent=0)
    found = rows({"time": 100.0, "guests": [before]}, {"time": 102.0, "guests": [after]})
    assert found == [("alice", "running", "50%", "1 MiB", "2 KiB", "0 B", "1 B", "0 B")]


def test_the_busiest_is_first_and_what_is_unknown_is_blank() -> None:
    before = [
        guest("alice", cpu_seconds=5.0, memory=1),
        guest("bob", cpu_seconds=0.0, memory=1),
        guest("eve", "stopped"),
    ]
    after = [
        guest("alice", cpu_seconds=5.5, memory=1),
        guest("bob", cpu_seconds=2.0, memory=1),
        guest("eve", "stopped"),
    ]
    found = rows({"time": 0.0, "guests": before}, {"time": 1.0, "guests": after})
    assert [row[:4] for row in found] == [
        ("bob", "running", "200%", "1 B"),
        ("alice", "running", "50%", "1 B"),
        ("eve", "stopped", "", ""),
    ]


def test_a_guest_that_was_started_anew_has_no_rate_yet() -> None:
    before, after = guest("alice", cpu_seconds=99.0, memory=1), guest("alice", cpu_seconds=0.1, memory=1)
    (row,) = rows({"time": 0.0, "guests": [before]}, {"time": 1.0, "guests": [after]})
    assert row[2] == ""


def test_a_pipe_gets_one_table(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/usage", {"time": 1.0, "guests": [guest("alice", cpu_seconds=1.0, memory=1 << 20)]})
    done = vmctl("top", "--every", "0.01")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["NAME", "STATE"], ["alice", "running"]]
    assert len(speaker.heard) == 2


def test_names_alone(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests", {"guests": [status("alice"), status("bob")], "faults": ["not shown"]})
    done = vmctl("list", "--names")
    assert (done.returncode, done.stdout, done.stderr) == (0, "alice\nbob\n", "")

"""A QEMU line as a test wants it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from vmd.lab import line
from vmd.plan.option import Option

DISK: dict[str, Any] = {"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": "/d"}}
CD = {"driver": "raw", "node-name": "cd", "read-only": True, "file": {"driver": "file", "filename": "/c"}}
OPTIONS = (
    Option("", ("-nodefaults",)),
    Option("disk", ("-blockdev", json.dumps(DISK))),
    Option("disk", ("-blockdev", json.dumps(CD))),
    Option("disk", ("-device", "virtio-blk-pci,drive=rootfs,id=rootfs-drive")),
)


def nodes(words: list[str]) -> dict[str, Any]:
    found = [json.loads(text) for word, text in pairwise(words) if word == "-blockdev"]
    return {node["node-name"]: node for node in found}


def test_it_waits_and_has_room_for_snapshots() -> None:
    words = list(line.of_test(OPTIONS, "/scratch"))
    assert words[0] == "-S"
    assert nodes(words)["vmstate"]["file"]["filename"] == "/scratch"
    assert nodes(words)["cd"] == CD
    assert "-nodefaults" in words


def test_only_what_the_guest_writes_is_in_a_snapshot() -> None:
    assert line.writable(OPTIONS) == ("disk",)


def test_an_error_of_any_disk_stops_the_guest() -> None:
    assert "virtio-blk-pci,drive=rootfs,id=rootfs-drive,werror=stop,rerror=report" in line.of_test(OPTIONS, "/s")


def test_the_nth_write_fails_and_so_does_all_after_it() -> None:
    file = nodes(list(line.of_test(OPTIONS, "/s", cut=3)))["disk"]["file"]
    assert file["driver"] == "blkdebug"
    assert [(rule["state"], rule["new_state"]) for rule in file["set-state"]] == [(1, 2), (2, 3)]
    assert file["inject-error"] == [{"event": "write_aio", "state": 3, "errno": 5, "once": False}]


def test_the_first_write_needs_no_counting() -> None:
    assert "set-state" not in line.failing({"driver": "file"}, 1)

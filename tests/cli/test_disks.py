"""The verbs about disks, against a daemon that says what the test has it say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from .conftest import Speaker, outcome

Vmctl = Callable[..., subprocess.CompletedProcess[str]]

ENTRY = {"name": "bob-1", "guest": "bob", "time": 1.0, "bytes": 3 << 20, "by": "dan", "what": "guest"}
SILENT = {"path": None, "left": None, "error": None}


@pytest.mark.parametrize(
    ("words", "target", "body"),
    [
        ("snapshot alice one", "snapshot", {"guest": "alice", "tag": "one", "delete": False}),
        ("restore alice one", "restore", {"guest": "alice", "tag": "one", "directory": None, "number": None}),
        ("clone alice bob", "clone", {"source": "alice", "target": "bob", "linked": False}),
        ("trash restore bob", "trash", {"restore": "bob"}),
        ("trash empty --older 2h", "trash", {"empty": True, "older": 7200.0}),
    ],
)
def test_what_is_asked(speaker: Speaker, vmctl: Vmctl, words: str, target: str, body: object) -> None:
    speaker.stream(f"POST /v1/{target}", outcome())
    done = vmctl(*words.split())
    assert done.returncode == 0, done.stderr
    assert speaker.told(f"POST /v1/{target}") == body


def test_a_directory_is_told_as_the_caller_means_it(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.stream("POST /v1/backup", outcome())
    assert vmctl("backup", "alice", "here").returncode == 0
    assert speaker.told("POST /v1/backup")["directory"] == f"{os.getcwd()}/here"  # noqa: PTH109 - vmctl's own


@pytest.mark.parametrize(
    "words",
    [
        "snapshot alice --delete",
        "restore alice",
        "restore alice one --from /srv",
        "restore alice one --at 3",
        "trash restore",
        "trash list bob",
        "trash empty bob",
    ],
)
def test_what_makes_no_sense_asks_nobody(speaker: Speaker, vmctl: Vmctl, words: str) -> None:
    assert vmctl(*words.split()).returncode == 2
    assert speaker.heard == []


def test_snapshots_are_a_table(speaker: Speaker, vmctl: Vmctl) -> None:
    found = [{"tag": "one", "time": 1.0, "memory": 0}, {"tag": "two", "time": 2.0, "memory": 3 << 20}]
    speaker.json("GET /v1/guests/alice/snapshots", {"name": "alice", "snapshots": found})
    heading, one, two = vmctl("snapshots", "alice").stdout.splitlines()
    assert heading.split() == ["TAG", "TAKEN", "MEMORY"]
    assert one.endswith("the disk alone")
    assert two.endswith("3 MiB")


def test_the_trash_is_a_table(speaker: Speaker, vmctl: Vmctl) -> None:
    left = {**ENTRY, **SILENT, "left": "/srv/bob.raw"}
    speaker.json("GET /v1/trash", {"trash": [{**ENTRY, **SILENT}, left, {**ENTRY, **SILENT, "error": "torn"}]})
    _, one, two, three = vmctl("trash").stdout.splitlines()
    assert "3 MiB  put there by dan" in one
    assert two.endswith("its disk was left at /srv/bob.raw")
    assert three.endswith("torn")


def test_nothing_is_said_on_stderr(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/trash", {"trash": []})
    speaker.json("GET /v1/guests/alice/snapshots", {"name": "alice", "snapshots": []})
    for words in (("trash",), ("snapshots", "alice")):
        done = vmctl(*words)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr

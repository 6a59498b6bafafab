"""The verbs that look on, run as processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from .conftest import HEAD, Speaker, answer, lines, outcome

Vmctl = Callable[..., CompletedProcess[str]]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ([], ""),
        (["-f"], "?follow=1"),
        (["--install"], "?install=1"),
        (["--follow", "--install"], "?follow=1&install=1"),
    ],
)
def test_a_log_is_byte_for_byte(speaker: Speaker, environ: dict[str, str], flags: list[str], query: str) -> None:
    octets = bytes(range(256)) * 1000
    speaker.says[f"GET /v1/guests/alice/log{query}"] = HEAD + octets
    argv = (sys.executable, "-m", "vmd.cli", "log", "alice", *flags)
    done = subprocess.run(argv, capture_output=True, check=False, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, octets, b"")


@pytest.mark.parametrize("words", ["log alice", "argv alice", "events --json"])
def test_a_reader_that_leaves_hears_no_complaint(speaker: Speaker, environ: dict[str, str], words: str) -> None:
    speaker.says["GET /v1/guests/alice/log"] = HEAD + b"x" * 5_000_000
    speaker.json("GET /v1/guests/alice/argv", {"argv": ["x" * 100] * 10_000})
    speaker.says["GET /v1/events"] = HEAD + lines({"event": "note", "text": "x"}) * 10_000
    argv = (sys.executable, "-m", "vmd.cli", *words.split())
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_events_are_told_in_words(speaker: Speaker, vmctl: Vmctl) -> None:
    failed = {"event": "step.failed", "text": "start", "seconds": 1.0, "error": "no QEMU"}
    rung = {"event": "rung", "rung": "link", "seconds": 2.0}
    speaker.stream("GET /v1/events", rung, failed, outcome(alice={}), {"event": "unheard of"})
    said = [line.split(" ", 2)[2] for line in vmctl("events").stdout.splitlines()]
    assert said == [
        "alice: link after 2.0 s",
        "alice: start … failed after 1.0 s: no QEMU",
        "done",
        "alice: unheard of",
    ]


def test_events_as_json_are_as_they_came(speaker: Speaker, vmctl: Vmctl) -> None:
    said = lines({"event": "note", "text": "x"}, {"event": "unheard of"})
    speaker.says["GET /v1/events?follow=1"] = HEAD + said
    assert vmctl("events", "-f", "--json").stdout.encode() == said


def test_a_screenshot_is_there_whole_or_not_at_all(speaker: Speaker, vmctl: Vmctl, tmp_path: Path) -> None:
    speaker.says["GET /v1/guests/alice/screenshot"] = answer(PNG)
    file = tmp_path / "a b.png"
    assert vmctl("screenshot", "alice", str(file)).returncode == 0
    assert file.read_bytes() == PNG
    speaker.says["GET /v1/guests/alice/screenshot"] = answer(PNG)[:-10]
    assert vmctl("screenshot", "alice", str(tmp_path / "other.png")).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a b.png"]


def test_a_screenshot_goes_nowhere_that_is_not(speaker: Speaker, vmctl: Vmctl, tmp_path: Path) -> None:
    speaker.says["GET /v1/guests/alice/screenshot"] = answer(PNG)
    done = vmctl("screenshot", "alice", str(tmp_path / "no" / "x.png"))
    assert done.returncode == 1
    assert done.stderr.startswith("vmctl: the screenshot can't be written to ")

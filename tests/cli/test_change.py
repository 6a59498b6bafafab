"""The verbs that have something done, run as processes against a daemon that says it is."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from .conftest import HEAD, Speaker, lines, outcome

Vmctl = Callable[..., CompletedProcess[str]]

START = {"event": "step.started", "step": "start", "text": "start QEMU"}
DONE = {**START, "event": "step.done", "seconds": 0.05}
RUNG = {"event": "rung", "rung": "ssh", "seconds": 20.5}


def test_up_tells_progress_on_stderr_and_the_result_on_stdout(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.stream("POST /v1/up", START, DONE, RUNG, outcome(alice={}))
    done = vmctl("up", "alice", "--wait", "ssh", "--timeout", "2m")
    assert (done.returncode, done.stdout) == (0, "alice: running, ssh\n")
    assert done.stderr.splitlines()[-2:] == ["alice: start QEMU … done 0.1 s", "alice: ssh after 20 s"]
    told = speaker.told("POST /v1/up")
    (key,) = told.pop("keys")
    assert key.startswith("ssh-ed25519 ")
    assert told == {"guests": ["alice"], "all": False, "wait": "ssh", "timeout": 120.0}


def test_json_is_the_events_as_they_came(speaker: Speaker, vmctl: Vmctl) -> None:
    said = lines(START, DONE, outcome(alice={}))
    speaker.says["POST /v1/down"] = HEAD + said
    done = vmctl("down", "--all", "--json")
    assert (done.returncode, done.stdout.encode(), done.stderr) == (0, said, "")
    assert speaker.told("POST /v1/down") == {"guests": [], "all": True, "timeout": None}


def test_each_guest_that_fails_says_why(speaker: Speaker, vmctl: Vmctl) -> None:
    failed = {"ok": False, "state": "failed", "rung": None, "exit_code": 1}
    speaker.stream(
        "POST /v1/up",
        outcome(
            alice={},
            bob={**failed, "error": "bob: no ISO", "hint": "name one"},
            eve={**failed, "error": "link is the last rung reached, for 60 s", "hint": None, "exit_code": 5},
        ),
    )
    done = vmctl("up", "--all")
    assert (done.returncode, done.stdout) == (5, "alice: running, ssh\n")
    assert "vmctl: bob: no ISO\n  name one\nvmctl: eve: link is the last rung reached, for 60 s\n" in done.stderr


@pytest.mark.parametrize(
    ("words", "verb", "body"),
    [
        ("wait alice --for kernel", "wait", {"guest": "alice", "rung": "kernel", "timeout": None}),
        ("rm alice bob", "rm", {"guests": ["alice", "bob"]}),
        ("down alice --timeout 5", "down", {"guests": ["alice"], "all": False, "timeout": 5.0}),
    ],
)
def test_a_verb_says_what_was_asked(speaker: Speaker, vmctl: Vmctl, words: str, verb: str, body: object) -> None:
    speaker.stream(f"POST /v1/{verb}", outcome(alice={}))
    assert vmctl(*words.split()).returncode == 0
    assert speaker.told(f"POST /v1/{verb}") == body


def test_restart_offers_keys(speaker: Speaker, vmctl: Vmctl, environ: dict[str, str]) -> None:
    (Path(environ["HOME"]) / ".ssh").mkdir()
    (Path(environ["HOME"]) / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA dan\n")
    speaker.stream("POST /v1/restart", outcome(alice={}))
    assert vmctl("restart", "alice").returncode == 0
    assert speaker.told("POST /v1/restart") == {
        "guests": ["alice"],
        "keys": ["ssh-ed25519 AAAA dan"],
        "wait": None,
        "timeout": None,
    }


@pytest.mark.parametrize("words", ["up", "down", "up alice --all", "restart", "rm"])
def test_nobody_and_everybody_must_be_meant(vmctl: Vmctl, words: str) -> None:
    done = vmctl(*words.split())
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_daemon_that_ends_is_told(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.stream("POST /v1/up", START)
    done = vmctl("up", "alice")
    assert done.returncode == 1
    assert "vmctl: vmd ended before it said how it went\n  the work may go on: vmctl status\n" in done.stderr


def test_an_iso_is_built_and_copied(speaker: Speaker, vmctl: Vmctl, place: Path) -> None:
    cached = place / "debian-12-abc.iso"
    cached.write_bytes(b"ISO")
    speaker.stream("POST /v1/iso", {**outcome(), "path": str(cached)})
    target = place / "a dir" / "my.iso"
    target.parent.mkdir()
    assert vmctl("iso", "build", "debian-12").stdout == f"{cached}\n"
    assert vmctl("iso", "build", "debian-12", "-o", str(target)).stdout == f"{target}\n"
    assert target.read_bytes() == b"ISO"
    assert vmctl("iso", "build", "debian-12", "-o", str(target.parent)).stdout == f"{target.parent / cached.name}\n"
    assert sorted(path.name for path in target.parent.iterdir()) == ["debian-12-abc.iso", "my.iso"]
    refused = vmctl("iso", "build", "debian-12", "-o", str(place / "nowhere" / "x"))
    assert refused.returncode == 1
    assert f"the ISO is built, at {cached}, but can't be copied" in refused.stderr


def test_an_iso_that_fails_says_the_step_that_did(speaker: Speaker, vmctl: Vmctl) -> None:
    failed = {**START, "event": "step.failed", "seconds": 1.0, "error": "mmdebstrap failed", "hint": "see apt"}
    speaker.stream("POST /v1/iso", failed, {**outcome(), "ok": False, "exit_code": 1})
    done = vmctl("iso", "build", "debian-12")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("vmctl: mmdebstrap failed\n  see apt\n")


def test_reload_tells_faults(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("POST /v1/reload", {"guests": ["alice"], "faults": ["a.yaml:1:1: x"]})
    done = vmctl("reload")
    assert (done.returncode, done.stdout, done.stderr) == (2, "guests: alice\n", "a.yaml:1:1: x\n")


def keep_at_it(connection: socket.socket) -> None:
    """Begin, and go on until the other side has gone."""
    connection.sendall(HEAD + lines({"event": "note", "text": "begun"}))
    connection.recv(1)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("up alice", ["vmctl status alice", "vmctl log -f alice", "vmctl down alice"]),
        ("up --all", ["vmctl status", "vmctl log -f NAME", "vmctl down --all"]),
        ("down alice", ["vmctl status alice"]),
    ],
)
def test_ctrl_c_leaves_the_work_going(
    speaker: Speaker, environ: dict[str, str], words: str, advice: list[str]
) -> None:
    speaker.says[f"POST /v1/{words.partition(' ')[0]}"] = keep_at_it
    argv = (sys.executable, "-m", "vmd.cli", *words.split())
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        while "begun" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "the daemon goes on with it" in said
    assert [text for text in advice if text not in said] == []
    assert ("vmctl down" in said) == (not words.startswith("down"))


def test_a_terminal_gets_bars(speaker: Speaker, environ: dict[str, str]) -> None:
    progress: dict[str, Any] = {
        "event": "progress",
        "step": "install",
        "done": 3,
        "total": 7,
        "text": "unpack the root",
    }
    speaker.stream("POST /v1/up", START, progress, DONE, outcome(alice={}))
    argv = (sys.executable, "-m", "vmd.cli", "up", "alice")
    said = on_terminal(argv, {**environ, "TERM": "xterm", "COLUMNS": "100"})
    assert "━" in said
    assert "unpack the root" in said
    assert "\x1b[?25h" in said[said.rindex("\x1b[?25l") :]  # the cursor is back
    assert said.rstrip().endswith("alice: running, ssh")


def on_terminal(argv: tuple[str, ...], environ: dict[str, str]) -> str:
    """Run a program on a terminal, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environ):
        os.close(theirs)
        said = b""
        while block := read_terminal(ours):
            said += block
    os.close(ours)
    return said.decode()


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: whoever had the other side has gone
        return b""


def test_events_are_json_lines(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.stream("POST /v1/up", START, outcome(alice={}))
    assert [json.loads(line)["event"] for line in vmctl("up", "alice", "--json").stdout.splitlines()] == [
        "step.started",
        "outcome",
    ]

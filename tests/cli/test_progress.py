"""How work looks while it goes on."""

from __future__ import annotations

from typing import Any

import pytest

from vmd.cli.progress import Bars, Lines, sentence

START: dict[str, Any] = {"event": "step.started", "guest": "alice", "step": "make-disk", "text": "make disk, 40 GiB"}
DONE = {**START, "event": "step.done", "seconds": 0.12}


def bob(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "guest": "bob"}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "step.skipped", "text": "make disk", "why": "it is there"}, "make disk … skipped: it is there"),
        ({"event": "step.failed", "text": "start", "seconds": 3.25}, "start … failed after 3.2 s"),
        ({"event": "progress", "done": 2, "total": 7, "text": "copy"}, "2/7 copy"),
        ({"event": "rung", "rung": "ssh", "seconds": 21.0}, "ssh after 21 s"),
        ({"event": "state", "state": "running"}, "running"),
        ({"event": "exit", "cause": "crashed", "text": "it crashed"}, "it crashed"),
        ({"event": "ladder", "rung": "agent", "text": "asked the agent"}, "asked the agent"),
        ({"event": "note", "text": "hm"}, "hm"),
        ({"event": "outcome", "ok": True}, ""),
        ({"event": "of a later version"}, ""),
    ],
)
def test_each_event_has_words(event: dict[str, Any], said: str) -> None:
    assert sentence(event) == said


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([START, DONE], "alice: make disk, 40 GiB … done 0.1 s\n"),
        (
            [START, bob(START), DONE, bob(DONE)],
            "alice: make disk, 40 GiB …\nbob: make disk, 40 GiB …\n"
            "alice: make disk, 40 GiB … done 0.1 s\nbob: make disk, 40 GiB … done 0.1 s\n",
        ),
        ([START], "alice: make disk, 40 GiB …\n"),
        ([{"event": "note", "guest": None, "text": "a"}] * 2, "a\n"),
        ([{"event": "note", "guest": "x", "text": "\x1b[2J"}], "x: \N{REPLACEMENT CHARACTER}[2J\n"),
    ],
)
def test_lines(events: list[dict[str, Any]], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        for event in events:
            lines.tell(event, b"")
    assert capsys.readouterr() == ("", said)


def test_bars_keep_what_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    progress = {"event": "progress", "guest": "alice", "done": 1, "total": 2, "text": "[bold]copy"}
    with Bars() as bars:
        for event in (START, progress, bob(START), DONE, {"event": "outcome", "ok": True}):
            bars.tell(event, b"")
    said = capsys.readouterr()
    assert said.out == ""
    assert "alice: make disk, 40 GiB … done 0.1 s\n" in said.err

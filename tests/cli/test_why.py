"""Looking back with vmctl: what happened since then, and why."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess

import pytest

from vmd.cli.arguments import moment

from .conftest import HEAD, Speaker, lines

Vmctl = Callable[..., CompletedProcess[str]]

ASKED = {"id": 1, "guest": None, "event": "request", "verb": "up", "user": "dan", "uid": 1000, "guests": ["alice"]}
ENDED = {"id": 2, "event": "exit", "cause": "killed", "text": "QEMU was killed by SIGKILL from outside"}
FAILED = {"id": 3, "event": "state", "state": "failed", "error": "alice: QEMU was killed"}


def chain(*events: Mapping[str, object]) -> dict[str, object]:
    return {"name": "alice", "state": "failed", "chain": [{"guest": "alice", "time": 1.5, **each} for each in events]}


def test_a_chain_of_causes_is_told_from_now_back(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests/alice/why", chain(FAILED, ENDED, ASKED))
    first, *rest = vmctl("why", "alice").stdout.splitlines()
    assert first.startswith("alice is failed since 1970-01-01 ")
    assert first.endswith(" ago: alice: QEMU was killed")
    assert [line.rpartition(", at ")[0] for line in rest] == [
        "  because QEMU was killed by SIGKILL from outside",
        "  because dan (uid 1000) asked for it with `up`",
    ]


def test_a_cause_of_a_kind_that_is_news_to_vmctl_is_named(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests/alice/why", chain(FAILED, {"event": "meteorite"}))
    assert "because meteorite, at " in vmctl("why", "alice").stdout


def test_why_as_json_is_as_it_came(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests/alice/why", chain(FAILED))
    assert json.loads(vmctl("why", "alice", "--json").stdout) == chain(FAILED)


def test_events_since_then_of_some_guests(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.says["GET /v1/events?since=0.000&name=alice&name=bob"] = HEAD + lines(ASKED)
    done = vmctl("events", "alice", "bob", "--since", "1970-01-01T00:00:00+00:00")
    assert done.stdout.endswith("dan asked for up alice\n"), done.stderr


def test_moments_as_people_write_them() -> None:
    assert moment("1970-01-02T00:00:00+00:00") == 86400
    assert abs(time.time() - 7200 - moment("2h")) < 600
    today = time.strftime("%Y-%m-%d")
    assert moment("00:30") == moment(f"{today}T00:30") == moment(today) + 1800


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "-1", "2026-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
        moment(text)

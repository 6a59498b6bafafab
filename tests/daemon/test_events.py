"""The stream of events: what each carries, what caused it, and what outlives a vmd."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.daemon.house import ROOT, Vmd
from vmd.cli.progress import sentence as vmctl_says
from vmd.daemon.events import BACKLOG, Events, continue_from, fields, sentence
from vmd.daemon.kinds import KINDS
from vmd.daemon.openapi import event_schema

Event = dict[str, Any]


# -- the table


def told() -> Iterator[tuple[str, ast.Call, str]]:
    """Every call that tells an event by its kind's own name."""
    for path in sorted((ROOT / "vmd" / "daemon").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and name(node.func) in {"emit", "tell", "_tell"}:
                match node.args:
                    case [ast.Constant(value=str(kind)), *_]:
                        yield f"{path.name}:{node.lineno}", node, kind


def name(function: ast.expr) -> str:
    return str(getattr(function, "attr", getattr(function, "id", "")))


def test_every_kind_that_is_told_is_in_the_table() -> None:
    kinds = {kind for _, _, kind in told()}
    assert kinds - KINDS.keys() == set()
    assert KINDS.keys() - kinds == {"missed", "outcome"}  # these two are made for one reader alone


def test_every_event_is_told_with_the_facts_of_its_kind() -> None:
    for where, call, kind in told():
        given = {keyword.arg for keyword in call.keywords if keyword.arg}
        known = {*KINDS[kind].facts, *KINDS[kind].optional}
        spread = any(keyword.arg is None for keyword in call.keywords)
        assert given <= known, f"{where}: {kind} has no {given - known}"
        assert spread or given >= KINDS[kind].facts.keys(), (
            f"{where}: {kind} lacks {KINDS[kind].facts.keys() - given}"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_said_in_a_line(kind: str) -> None:
    facts = dict.fromkeys((*KINDS[kind].facts, *KINDS[kind].optional), "x")
    line = sentence({"id": 1, "time": 1.5, "guest": "alice", "event": kind, "because": None, **facts})
    assert line.startswith("alice: ")
    assert "?" not in line
    assert "{" not in line


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"outcome"}))
def test_vmctl_has_words_for_a_kind(kind: str) -> None:
    known: dict[str, Any] = {"type": "x", "seconds": 1.0, "delay": 1.0, "guests": ["a"], "faults": ["b"]}
    facts = {fact: known.get(fact, "x") for fact in KINDS[kind].facts}
    assert vmctl_says({"event": kind, "guest": "alice", **facts})


def test_a_fact_that_is_missing_costs_its_word_only() -> None:
    assert sentence({"guest": None, "event": "note"}) == "?"


def test_what_the_journal_gets() -> None:
    event = {
        "id": 7,
        "time": 1.5,
        "guest": "alice",
        "event": "step.done",
        "because": None,
        "step": "start",
        "guests": ["a", "b"],
    }
    assert fields(event) == {
        "VMD_ID": "7",
        "VMD_GUEST": "alice",
        "VMD_EVENT": "step.done",
        "VMD_STEP": "start",
        "VMD_GUESTS": "a b",
    }


def check(event: Event) -> None:
    jsonschema.validate(event, event_schema(event["event"], KINDS[event["event"]]))


# -- causes


async def test_a_step_is_caused_by_the_request_and_causes_its_failure() -> None:
    events = Events()
    request = events.emit("request", None, verb="up", guests=["alice"], user="dan", uid=1, gid=1, pid=2)

    async def work() -> None:
        for step in ("make-disk", "start"):
            events.emit("step.started", "alice", step=step, text=step)
            if step == "make-disk":
                events.emit("step.done", "alice", step=step, text=step, seconds=0.1)
        events.emit("step.failed", "alice", step="start", text="start", seconds=0.1, error="no", hint="")
        events.emit("state", "alice", state="failed")

    await asyncio.create_task(work())
    after = events.emit("note", None, text="the request itself goes on")
    because = {(event["event"], event.get("step")): event for event in events.past}
    assert request["because"] is None
    assert because["step.started", "make-disk"]["because"] == request["id"]
    assert because["step.done", "make-disk"]["because"] == because["step.started", "make-disk"]["id"]
    assert because["step.started", "start"]["because"] == request["id"]
    assert because["step.failed", "start"]["because"] == because["step.started", "start"]["id"]
    assert because["state", None]["because"] == because["step.failed", "start"]["id"]
    assert after["because"] == request["id"]
    continue_from(None)


async def test_two_requests_side_by_side_keep_their_own_causes() -> None:
    events = Events()

    async def ask(name: str) -> None:
        request = events.emit("request", None, verb="up", guests=[name], user="dan", uid=1, gid=1, pid=2)
        await asyncio.sleep(0)
        assert events.emit("note", name, text="x")["because"] == request["id"]

    await asyncio.gather(asyncio.create_task(ask("a")), asyncio.create_task(ask("b")))


async def test_a_step_that_was_skipped_without_being_begun_ends_nothing() -> None:
    events = Events()
    request = events.emit("request", None, verb="down", guests=["alice"], user="dan", uid=1, gid=1, pid=2)
    events.emit("step.skipped", "alice", step="kill", text="kill", why="it is gone")
    assert events.emit("note", None, text="x")["because"] == request["id"]
    continue_from(None)


# -- listeners


def test_a_listener_that_lags_is_told_what_it_missed() -> None:
    events = Events()
    with events.listen() as listener:
        for _ in range(BACKLOG + 3):
            events.emit("note", None, text="x")
        first, *rest = listener.taken()
    check(first)
    assert (first["event"], first["count"]) == ("missed", 3)
    assert [event["id"] for event in rest] == list(range(4, BACKLOG + 4))


def test_a_listener_hears_of_its_guests_alone() -> None:
    events = Events()
    with events.listen(frozenset({"alice"})) as listener:
        for guest in ("alice", "bob", None):
            events.emit("note", guest, text="x")
        for name in ("alice", "bob"):
            events.emit("request", None, verb="down", guests=[name], user="dan", uid=1, gid=1, pid=2)
        heard = list(listener.taken())
    assert [event["id"] for event in heard] == [1, 4]
    continue_from(None)


# -- on a real daemon


def everything(vmd: Vmd) -> list[Event]:
    return vmd.ctl("events", "--json").events


def test_every_event_of_a_guests_life_is_as_the_table_says(alice: Vmd) -> None:
    alice.ctl("up", "alice", "--json")
    alice.ctl("restart", "alice")
    alice.define_tiny("alice", more=", restart: on-failure")
    alice.define("guests: {carol: {memory: 64M, boot: {kernel: /nowhere/vmlinuz}}}", "carol.yaml")
    assert alice.ctl("up", "carol").code == 1
    os.kill(alice.status()["pid"], signal.SIGKILL)
    alice.heard("restart", attempt=1)
    alice.heard("state", nth=2, state="running")
    alice.ctl("down", "alice")
    alice.ctl("wait", "alice", "--for", "ssh", "--timeout", "1")
    found = everything(alice)
    for event in (*found, *alice.ctl("down", "alice", "--json").events):
        check(event)
    ids = [event["id"] for event in found]
    assert ids == sorted(set(ids))
    assert {
        "daemon",
        "request",
        "fleet",
        "step.started",
        "step.done",
        "rung",
        "state",
        "exit",
        "restart",
        "ladder",
    } <= {event["event"] for event in found}


def test_what_happened_outlives_the_daemon(alice: Vmd) -> None:
    before = everything(alice)
    alice.kill()
    alice.start()
    after = everything(alice)
    assert after[: len(before)] == before
    assert after[len(before)]["event"] == "daemon"
    assert [event["id"] for event in after] == list(range(1, len(after) + 1))  # no progress here, which is not kept


def test_events_of_some_guests_since_then(alice: Vmd) -> None:
    alice.define_tiny("alice", "bob")
    assert alice.ctl("up", "bob").code == 0
    moment = everything(alice)[-1]["time"]
    alice.ctl("down", "bob")
    found = alice.ctl("events", "bob", "--since", str(moment_text(moment)), "--json").events
    assert found
    assert all(event["time"] >= moment - 1 for event in found)
    assert {event["guest"] for event in found} == {"bob", None}
    assert [event["verb"] for event in found if event["event"] == "request"][-1] == "down"
    assert alice.ctl("events", "--since", "yesterday").code == 2
    status, body = alice.ask("GET /v1/events?since=nan HTTP/1.0\r\n\r\n")
    assert (status, body["exit_code"]) == (400, 2)


def moment_text(moment: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(moment).isoformat()


def chain(vmd: Vmd, name: str = "alice") -> list[Event]:
    return list(vmd.ctl("why", name, "--json").json["chain"])


def test_why_a_guest_runs(alice: Vmd) -> None:
    alice.heard("state", state="running")
    newest, *causes = chain(alice)
    assert (newest["event"], newest["state"]) == ("state", "running")
    assert [event["event"] for event in causes] == ["request"]
    assert (causes[0]["verb"], causes[0]["guests"], causes[0]["uid"]) == ("up", ["alice"], os.getuid())
    said = alice.ctl("why", "alice").out
    assert said.startswith("alice is running since ")
    assert f"(uid {os.getuid()}) asked for it with `up`" in said


def test_why_a_guest_failed_is_known_to_the_next_daemon_too(alice: Vmd) -> None:
    alice.heard("state", state="running")
    pid = alice.status()["pid"]
    alice.kill()
    alice.start()
    os.kill(pid, signal.SIGKILL)
    alice.heard("exit")
    alice.heard("state", state="failed")
    assert [event["event"] for event in chain(alice)] == ["state", "exit", "step.started", "request"]
    newest, ended, _, request = chain(alice)
    assert ended["cause"] == "killed"
    assert request["verb"] == "up"
    assert newest["error"].startswith("alice: ")


def test_who_stopped_a_guest(alice: Vmd) -> None:
    alice.ctl("down", "alice")
    told = chain(alice)
    assert told[0]["state"] == "stopped"
    assert told[-1]["verb"] == "down"
    ended = alice.heard("exit")
    (request,) = [event for event in everything(alice) if event["id"] == ended["because"]]
    assert request["verb"] == "down"


def test_why_of_one_that_never_was_anything(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    assert chain(vmd) == []
    assert vmd.ctl("why", "alice").out == "alice is absent; nothing is known of how that came about\n"
    assert vmd.ctl("why", "bob").code == 3


def test_a_torn_chronicle_costs_only_what_was_torn(home: Vmd) -> None:
    file = home.state / "events.jsonl"
    good = {"id": 41, "time": 1.5, "guest": None, "event": "note", "because": None, "text": "before"}
    lines = ["garbage", json.dumps(good), '{"id": "x"}', '{"id": 42, "time": 1.5, "gue']
    file.write_text("\n".join(lines))
    home.start()
    found = everything(home)
    assert [event["id"] for event in found[:2]] == [41, 42]
    assert found[1]["event"] == "daemon"
    home.kill(signal.SIGTERM)
    kept = file.read_text().splitlines()
    assert kept[: len(lines)] == lines
    assert json.loads(kept[len(lines)])["event"] == "daemon"


def test_a_state_directory_that_takes_no_chronicle_stops_no_work(home: Vmd) -> None:
    (home.state / "events.jsonl").symlink_to("/nowhere/at/all")
    home.start()
    home.define_tiny("alice")
    assert home.ctl("up", "alice").code == 0
    said = Path(home.log).read_text()
    assert said.count("can't be kept") == 1
    assert everything(home)

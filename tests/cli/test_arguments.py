"""The table of words, and the parser made from it."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from vmd.cli.arguments import VERBS, Verb, seconds
from vmd.cli.parser import parse
from vmd.errors import UsageError

PRINTS_FACTS = {"plan", "up", "down", "restart", "status", "list", "wait", "ssh-config", "inventory", "ip", "events"}
PRINTS_FACTS |= {"apply", "upgrade", "snapshot", "snapshots", "restore", "backup", "clone", "trash"}
PRINTS_FACTS |= {"argv", "uboot", "why", "doctor", "rm", "top", "iso", "reload", "version", "link"}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_each_verb_is_carried_out_by_its_family(verb: Verb) -> None:
    family = import_module(f"vmd.cli.{verb.family}")
    assert callable(getattr(family, verb.name.replace("-", "_")))


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_each_verb_explains_itself(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse([verb.name, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: vmctl {verb.name} ")
    assert all(option.help in " ".join(said.split()) for option in verb.options)


def test_json_is_there_wherever_facts_are() -> None:
    spelled = {verb.name for verb in VERBS if any("--json" in option.spellings for option in verb.options)}
    assert spelled == PRINTS_FACTS


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert all(f"  {verb.name} " in said for verb in VERBS)
    assert "4 no daemon" in said


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ("up alice bob --wait ssh --timeout 2m", {"guests": ["alice", "bob"], "wait": "ssh", "timeout": 120.0}),
        ("up --all", {"guests": [], "all": True, "wait": None, "timeout": None, "json": False}),
        ("down --timeout 90 alice --json", {"guests": ["alice"], "timeout": 90.0, "json": True}),
        ("wait alice", {"guest": "alice", "rung": "ssh"}),
        ("wait alice --for kernel", {"rung": "kernel"}),
        ("ssh alice -- uname -a", {"guest": "alice", "words": [], "command": ["uname", "-a"]}),
        ("ssh -l dan alice uptime", {"guest": "alice", "user": "dan", "words": ["uptime"], "command": []}),
        ("ssh alice -l dan", {"guest": "alice", "user": "dan", "words": []}),
        ("ssh alice -- grep -- x", {"command": ["grep", "--", "x"]}),
        ("log -f alice", {"guest": "alice", "follow": True, "install": False}),
        ("inventory --list", {"list": True, "host": None}),
        ("snapshot alice", {"guest": "alice", "tag": None, "delete": False}),
        ("snapshot alice before --delete", {"tag": "before", "delete": True}),
        ("restore alice --from /srv --at 3", {"tag": None, "directory": "/srv", "number": 3}),
        ("backup alice /srv --verify", {"directory": "/srv", "verify": True, "full": False}),
        ("clone alice bob --linked", {"source": "alice", "target": "bob", "linked": True}),
        ("trash", {"action": "list", "guest": None, "older": None}),
        ("trash empty --older 30d", {"action": "empty", "older": 2592000.0}),
        ("iso build debian-12 -o here.iso", {"release": "debian-12", "output": "here.iso"}),
        ("check -- -odd.yaml", {"files": ["-odd.yaml"]}),
        ("console alice --raw --tail 0", {"raw": True, "tail": 0}),
    ],
)
def test_words_are_read(words: str, facts: dict[str, object]) -> None:
    found = vars(parse(words.split()))
    assert {key: found[key] for key in facts} == facts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lst", "there is no verb 'lst'; did you mean list?"),
        ("xyzzy", "there is no verb 'xyzzy'; see vmctl --help"),
        ("up alice --wiat ssh", "unrecognized arguments: --wiat ssh"),
        ("up alice --wait shh", "'shh'"),
        ("up alice --time 5", "unrecognized arguments"),
        ("wait", "NAME"),
        ("wait alice --timeout soon", "'soon' is no duration"),
        ("iso make debian-12", "'make'"),
        ("--json list", "--json"),
        ("list alice -- bob", "unrecognized"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(words.split())
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90s", 90),
        ("2m", 120),
        ("2 min", 120),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1D", 86400),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "soon", "-5", "5x", "m", "1..5", "5s5x", "nan", "inf", "1h-2m", "٣", "1e3"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no duration"):
        seconds(text)

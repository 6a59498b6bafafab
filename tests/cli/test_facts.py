"""The verbs that print what is: how answers look, and whole runs against a daemon."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

from vmd.cli import facts
from vmd.errors import VmdError

from .conftest import Speaker, status

Vmctl = Callable[..., CompletedProcess[str]]

FORWARDED = {"address": "127.0.0.1", "port": 2222, "source": "forward"}
OWN = {"address": "10.0.0.7", "port": None, "source": "agent"}
RUNNING = status(
    state="running", rung="ssh", pid=41, addresses=[OWN, FORWARDED], ssh={"host": "10.0.0.7", "port": 22}
)


def test_a_list_has_a_line_for_each_guest(capsys: pytest.CaptureFixture[str]) -> None:
    body = {
        "guests": [
            {**RUNNING, "since": time.time() - 7500},
            status("bob", state="failed", error="no ISO\nat /srv"),
            status("yun", state="installing", progress={"done": 1, "total": 4, "text": "copy", "seconds": 3.0}),
            status("zoe", pending=["memory"]),
        ],
        "faults": ["a.yaml:1:1: guests.eve: memory is missing"],
    }
    facts.show_list(body)
    said = capsys.readouterr()
    assert [line.split(maxsplit=2)[:2] for line in said.out.splitlines()] == [
        ["NAME", "STATE"],
        ["alice", "running"],
        ["bob", "failed"],
        ["yun", "installing"],
        ["zoe", "stopped"],
    ]
    lines = said.out.splitlines()
    assert lines[1].endswith("ssh   10.0.0.7  2 h 5 min")
    assert lines[2].endswith("no ISO at /srv")
    assert lines[3].endswith("1/4 copy, 3.0 s")
    assert lines[4].endswith("pending: memory")
    assert said.err == "a.yaml:1:1: guests.eve: memory is missing\n"


def test_an_empty_fleet_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    facts.show_list({"guests": [], "faults": []})
    assert capsys.readouterr() == ("", "no guest is defined\n")


def test_a_status_says_everything_known_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    facts.show_status({"guests": [{**RUNNING, "defined": "a.yaml:2"}, status("bob")], "faults": []})
    assert capsys.readouterr().out.splitlines() == [
        "alice",
        "  state      running",
        "  rung       ssh",
        "  address    10.0.0.7 (agent), 127.0.0.1:2222 (forward)",
        "  ssh        10.0.0.7:22",
        "  memory     1 GiB",
        "  cpus       2",
        "  pid        41",
        "  defined    a.yaml:2",
        "",
        "bob",
        "  state      stopped",
        "  memory     1 GiB",
        "  cpus       2",
    ]


@pytest.mark.parametrize(
    ("addresses", "out", "note"),
    [
        ([FORWARDED, OWN], "10.0.0.7\n", ""),
        ([FORWARDED], "127.0.0.1\n", "127.0.0.1:2222"),
        ([OWN, OWN], "10.0.0.7\n", ""),
    ],
)
def test_addresses_are_the_guests_own(
    addresses: list[Any], out: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    facts.show_ip(status(addresses=addresses))
    said = capsys.readouterr()
    assert said.out == out
    assert note in said.err
    assert bool(said.err) == bool(note)


def test_no_address_is_an_error() -> None:
    with pytest.raises(VmdError, match="alice is stopped and has no address; vmctl wait alice --for address"):
        facts.show_ip(status())


def planned(name: str, **more: Any) -> dict[str, Any]:
    """One guest of ``GET /v1/plan``."""
    empty: dict[str, Any] = {
        "state": "stopped",
        "due": "",
        "changes": [],
        "steps": [],
        "upgrade": [],
        "argv_diff": [],
    }
    return {"name": name, **empty, "error": None, **more}


def test_a_plan_says_what_is_due_and_what_is_pending(capsys: pytest.CaptureFixture[str]) -> None:
    step = {"step": "make-disk", "text": "make disk.qcow2, 40 GiB"}
    change = {"key": "cpus", "was": "1", "now": "2", "effect": "restart", "why": "at its next start"}
    facts.show_plan(
        {
            "guests": [
                planned("alice", due="up", steps=[step]),
                planned("bob"),
                planned("carol", changes=[change], upgrade=["machine: a → b"]),
                planned("dan", state="orphan"),
                planned("eve", error="no ISO"),
            ]
        }
    )
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "alice: to be led up",
        "  - make disk.qcow2, 40 GiB",
        "bob: nothing to do",
        "carol: pending",
        "  cpus: 1 → 2 (restart: at its next start)",
        "  vmctl upgrade carol would change machine: a → b",
        "dan: not defined any more; apply --prune would end it and move it to the trash",
    ]
    assert said.err == "vmctl: eve: no ISO\n"


DOCTOR = {
    "checks": [
        {"name": "qemu", "ok": True, "fact": "QEMU 7.2", "remedy": None},
        {"name": "kvm", "ok": False, "fact": "/dev/kvm is useless", "remedy": "switch it on"},
    ],
    "accel": "tcg",
}


def test_a_doctor_gives_remedies(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/doctor", DOCTOR)
    done = vmctl("doctor")
    assert done.stdout == (
        "ok  qemu  QEMU 7.2\nNO  kvm   /dev/kvm is useless\n          switch it on\nguests run under tcg\n"
    )
    assert done.returncode == 1


def test_a_line_can_be_pasted(speaker: Speaker, vmctl: Vmctl) -> None:
    words = ["qemu-system-x86_64", "-append", "a b", '{"x": "$y"}']
    speaker.json("GET /v1/guests/alice/argv", {"argv": words})
    assert shlex.split(vmctl("argv", "alice").stdout) == words
    assert json.loads(vmctl("argv", "alice", "--json").stdout) == words


@pytest.mark.parametrize(
    ("words", "target", "body"),
    [
        ("list", "GET /v1/guests", {"guests": [RUNNING], "faults": []}),
        ("status alice bob", "GET /v1/guests?name=alice&name=bob", {"guests": [RUNNING], "faults": ["ü"]}),
        ("plan", "GET /v1/plan", {"guests": []}),
        ("plan alice", "GET /v1/plan?name=alice", {"guests": []}),
        ("ip alice", "GET /v1/guests?name=alice", {"guests": [RUNNING], "faults": []}),
        ("doctor", "GET /v1/doctor", {"checks": [], "accel": "kvm"}),
        ("version", "GET /v1/version", {"version": "9", "pid": 1}),
    ],
)
def test_json_is_the_answer_itself(
    speaker: Speaker, vmctl: Vmctl, words: str, target: str, body: dict[str, Any]
) -> None:
    speaker.json(target, body)
    done = vmctl(*words.split(), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == body


def test_both_versions_are_told(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/version", {"version": "9.9", "pid": 7})
    assert vmctl("version").stdout.splitlines()[1] == "vmd 9.9 (pid 7)"


def test_no_daemon(vmctl: Vmctl, environ: dict[str, str]) -> None:
    done = vmctl("list")
    assert done.returncode == 4
    assert done.stdout == ""
    first, hint = done.stderr.splitlines()
    assert first == f"vmctl: no daemon answers at {environ['VMD_RUNTIME_DIR']}/vmd.sock (No such file or directory)"
    assert hint.startswith("  start it: systemctl start vmd")


def test_no_such_guest(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests?name=bob", {"error": "no guest bob", "hint": "see vmctl list", "exit_code": 3}, 404)
    done = vmctl("status", "bob")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "vmctl: no guest bob\n  see vmctl list\n")


def test_an_answer_of_another_version_is_no_traceback(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests", {"guests": [{"name": "alice"}]})
    done = vmctl("list")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "vmctl version" in done.stderr

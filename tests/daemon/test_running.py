"""A guest's life on a real QEMU, from vmctl's words to its end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.daemon.house import Vmd, at_console, end

STATUS = {
    "name", "state", "rung", "pid", "addresses", "since", "restarts", "pending", "error", "paused", "memory", "cpus",
    "progress", "defined", "ssh",
}  # fmt: skip


def test_up_answers_at_the_first_word(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    done = vmd.ctl("up", "alice", "--json")
    assert done.code == 0, done.err
    *events, outcome = done.events
    steps = [event["step"] for event in events if event["event"] == "step.done"]
    rungs = [event["rung"] for event in events if event["event"] == "rung"]
    assert steps == ["start"]
    assert rungs == ["process", "kernel"]
    assert outcome["guests"]["alice"] == {
        "ok": True, "state": "running", "rung": "kernel", "error": None, "hint": None, "exit_code": 0
    }  # fmt: skip


def test_up_of_what_runs_does_nothing(alice: Vmd) -> None:
    before = alice.qemus()
    done = alice.ctl("up", "alice", "--json")
    assert done.code == 0
    assert not [event for event in done.events if event["event"].startswith("step")]
    assert alice.qemus() == before


def test_two_ups_at_once_start_one_qemu(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    both = [vmd.begin("up", "alice") for _ in range(2)]
    assert [vmctl.wait() for vmctl in both] == [0, 0]
    for vmctl in both:
        vmctl.communicate()
    assert len(vmd.qemus()) == 1


def test_status_has_every_key_whatever_is_known(vmd: Vmd) -> None:
    vmd.define_tiny("alice", "bob")
    vmd.ctl("up", "alice")
    told = vmd.ctl("status", "--json").json
    running, absent = told["guests"]
    assert set(running) == set(absent) == STATUS
    assert told["faults"] == []
    assert running["pid"] in vmd.qemus()
    assert running["defined"] == f"{vmd.fleet}/fleet.yaml:2"
    assert running["memory"] == 16 << 20
    assert running["ssh"]["port"] == running["addresses"][0]["port"]
    assert absent["state"] == "absent"
    assert {key for key, value in absent.items() if value is None} == {
        "rung", "pid", "since", "error", "paused", "progress", "ssh"
    }  # fmt: skip


def test_log_is_complete_from_byte_0(alice: Vmd) -> None:
    assert alice.ctl("log", "alice").out.startswith("tiny: ready")


def test_log_follows_beside_a_console(alice: Vmd) -> None:
    log = alice.begin("log", "-f", "alice")
    assert log.stdout is not None
    assert log.stdout.readline() == b"tiny: ready\r\n"
    with at_console(alice) as console:
        console.type("xyz")
        console.expect(b"xyz")
        assert log.stdout.read(3) == b"xyz"
    log.kill()
    log.communicate()


def test_screenshot_is_a_picture(alice: Vmd) -> None:
    path = alice.root / "screen.png"
    done = alice.ctl("screenshot", "alice", str(path))
    assert done.code == 0, done.err
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_argv_runs_when_pasted(alice: Vmd) -> None:
    argv = alice.ctl("argv", "alice").out
    pid = alice.status()["pid"]
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1] == [
        word.encode() for word in alice.ctl("argv", "alice", "--json").json
    ]
    alice.ctl("down", "alice")
    pasted = subprocess.Popen(("/bin/sh", "-c", f"exec {argv}"), stderr=subprocess.PIPE)
    try:
        alice.qmp("query-status", starting=pasted)
    finally:
        pasted.kill()
    assert pasted.communicate()[1] == b""


def test_restart_is_another_process(alice: Vmd) -> None:
    (before,) = alice.qemus()
    assert alice.ctl("restart", "alice").code == 0
    (after,) = alice.qemus()
    assert before != after
    assert alice.status()["state"] == "running"


def test_a_guest_that_powers_itself_off_is_stopped(alice: Vmd) -> None:
    with at_console(alice) as console:
        console.type("o")
        console.expect(b"tiny: off")
        assert console.end() == 0
    assert alice.heard("exit")["cause"] == "powered-off"
    alice.heard("state", state="stopped")
    status = alice.status()
    assert (status["state"], status["pid"], status["error"]) == ("stopped", None, None)
    assert alice.qemus() == []


def test_a_qemu_killed_from_outside_has_failed(alice: Vmd) -> None:
    end(alice.status()["pid"])
    told = alice.heard("exit")
    assert told["cause"] == "killed"
    assert "SIGKILL" in told["text"]
    alice.heard("state", state="failed")
    assert "SIGKILL" in alice.status()["error"]
    assert alice.ctl("up", "alice").code == 0
    assert alice.status()["error"] is None


def test_a_reset_keeps_it_running(alice: Vmd) -> None:
    before = alice.status()
    with at_console(alice, "alice", "--tail", "0") as console:
        console.type("r")
        console.expect(b"tiny: ready")
    after = alice.status()
    assert (after["pid"], after["state"]) == (before["pid"], "running")


def test_a_wait_that_fails_says_how_far_it_came(alice: Vmd) -> None:
    done = alice.ctl("wait", "alice", "--for", "ssh", "--timeout", "0.2s")
    assert done.code == 5
    assert "did not reach ssh within" in done.err
    assert "it has been at kernel for" in done.err


def test_down_while_a_client_waits_for_a_rung(alice: Vmd) -> None:
    wait = alice.begin("wait", "alice", "--for", "ssh")
    alice.ctl("down", "alice")
    _, err = wait.communicate()
    assert wait.returncode == 1
    assert b"ended before it reached ssh" in err


def test_rm_keeps_what_it_takes_away(alice: Vmd) -> None:
    done = alice.ctl("rm", "alice")
    assert done.code == 1
    assert "vmctl down alice" in done.err
    alice.ctl("down", "alice")
    assert alice.ctl("rm", "alice").code == 0
    assert not alice.guest().exists()
    (trashed,) = (alice.state / "trash").iterdir()
    assert (trashed / "console.log").read_bytes().startswith(b"tiny: ready")


def test_a_guest_that_is_not_there(vmd: Vmd) -> None:
    done = vmd.ctl("up", "bob")
    assert done.code == 3
    assert "'bob'" in done.err


def test_a_definition_taken_away_leaves_an_orphan(alice: Vmd) -> None:
    alice.define("guests: {}\n")
    assert alice.status()["state"] == "orphan"
    assert alice.ctl("down", "alice").code == 0
    assert alice.qemus() == []


def test_interrupted_up_goes_on(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    up = vmd.begin("up", "alice", "--wait", "ssh")
    vmd.heard("rung", rung="kernel")
    up.send_signal(signal.SIGINT)
    _, err = up.communicate()
    assert up.returncode == 128 + signal.SIGINT
    assert b"the daemon goes on with it" in err
    assert vmd.status()["state"] == "running"


def test_a_reader_who_leaves_costs_nothing(alice: Vmd) -> None:
    log = alice.begin("log", "-f", "alice", stdout=(pipe := os.pipe())[1])
    os.close(pipe[1])
    assert os.read(pipe[0], 11) == b"tiny: ready"
    os.close(pipe[0])
    log.kill()
    log.communicate()
    assert alice.status()["state"] == "running"

"""The way down on a real QEMU: which rung works on which guest."""

from __future__ import annotations

import os
import signal

import pytest

from tests.daemon.house import Vmd, at_console, end


def rung(vmd: Vmd) -> str:
    return str(vmd.heard("ladder")["rung"])


def test_a_guest_that_takes_the_power_button(alice: Vmd) -> None:
    done = alice.ctl("down", "alice")
    assert done.code == 0
    assert rung(alice) == "power"
    assert "press its power button: that worked" in done.err
    assert alice.heard("exit")["cause"] == "stopped"
    assert alice.qemus() == []


@pytest.mark.parametrize("key", ["d", "h"])
def test_a_guest_that_ignores_the_power_button(alice: Vmd, key: str) -> None:
    with at_console(alice) as console:
        console.type(key)
        console.expect(key.encode())
        done = alice.ctl("down", "alice", "--timeout", "1s")
    assert done.code == 0
    assert rung(alice) == "quit"
    assert alice.qemus() == []


@pytest.mark.boot  # it is given its time
def test_a_qemu_that_is_stopped_is_killed(alice: Vmd) -> None:
    os.kill(alice.status()["pid"], signal.SIGSTOP)
    done = alice.ctl("down", "alice", "--timeout", "0.1s")
    assert done.code == 0
    assert rung(alice) == "kill"
    assert alice.qemus() == []


def test_a_paused_guest_is_not_asked(alice: Vmd) -> None:
    alice.qmp("stop")
    assert alice.ctl("down", "alice").code == 0
    assert rung(alice) == "quit"


def test_down_of_what_is_down(vmd: Vmd) -> None:
    vmd.define_tiny("alice")
    assert vmd.ctl("down", "alice").code == 0


def test_two_downs_at_once(alice: Vmd) -> None:
    both = [alice.begin("down", "alice") for _ in range(2)]
    for vmctl in both:
        vmctl.communicate()
    assert [vmctl.returncode for vmctl in both] == [0, 0]


def test_one_that_died_by_itself_meanwhile(alice: Vmd) -> None:
    with at_console(alice) as console:
        console.type("d")
        console.expect(b"deaf")
        down = alice.begin("down", "alice", "--timeout", "50s")
        alice.heard("step.started", step="press-power")
        end(alice.status()["pid"])
    _, err = down.communicate()
    assert down.returncode == 0, err
    assert alice.status()["state"] == "stopped"


def test_up_while_it_goes_down_is_refused(alice: Vmd) -> None:
    with at_console(alice) as console:
        console.type("d")
        console.expect(b"deaf")
        down = alice.begin("down", "alice", "--timeout", "50s")
        alice.heard("step.started", step="press-power")
        done = alice.ctl("up", "alice")
        console.type("o")
        console.expect(b"off")
    down.communicate()
    assert down.returncode == 0
    assert done.code == 1
    assert "on its way down" in done.err


def test_all_side_by_side(vmd: Vmd) -> None:
    names = ("alice", "bob", "carol")
    vmd.define_tiny(*names)
    assert vmd.ctl("up", "--all").code == 0
    assert len(vmd.qemus()) == 3
    outcome = vmd.ctl("down", "--all", "--json").events[-1]
    assert {name: each["state"] for name, each in outcome["guests"].items()} == dict.fromkeys(names, "stopped")
    assert vmd.qemus() == []

"""What outlives vmd, and what the next one makes of it."""

from __future__ import annotations

import signal

from tests.daemon.conftest import Tiny
from tests.daemon.house import Vmd, at_console, end
from tests.daemon.test_install import files


def test_a_guest_outlives_a_killed_vmd(alice: Vmd) -> None:
    before = alice.status()
    alice.kill()
    alice.start()
    after = alice.status()
    assert (after["pid"], after["state"]) == (before["pid"], "running")
    with at_console(alice, "alice", "--tail", "4096") as console:
        console.expect(b"tiny: ready")
        console.type("1")
        console.expect(b"1")
    assert alice.ctl("down", "alice").code == 0
    assert alice.heard("ladder")["rung"] == "power"


def test_a_guest_outlives_a_vmd_that_is_told_to_end(alice: Vmd) -> None:
    pid = alice.status()["pid"]
    with at_console(alice):
        assert alice.kill(signal.SIGTERM) == 0
    assert alice.qemus() == [pid]
    assert not alice.socket.exists()
    alice.start()
    assert alice.status()["pid"] == pid


def test_how_a_guest_ended_while_nobody_looked(alice: Vmd) -> None:
    with at_console(alice) as console:
        console.type("d")
        console.expect(b"deaf")
    alice.kill()
    (pid,) = alice.qemus()
    end(pid)
    alice.start()
    assert alice.status()["pid"] is None
    assert alice.ctl("up", "alice").code == 0


def test_a_guest_that_powered_off_while_nobody_looked(alice: Vmd) -> None:
    alice.kill()
    alice.qmp("system_powerdown")
    alice.start()
    assert alice.heard("exit")["cause"] == "powered-off"
    alice.heard("state", state="stopped")
    assert alice.qemus() == []


def test_what_was_said_while_nobody_looked(alice: Vmd) -> None:
    alice.kill()
    alice.qmp("system_reset")
    alice.qmp("stop")
    alice.start()
    alice.qmp("cont")
    with at_console(alice, "alice", "--tail", "4096") as console:
        console.expect(b"tiny: ready")
        console.expect(b"tiny: ready")


def test_an_install_is_taken_over(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("waits"))
    up = vmd.begin_install()
    before = vmd.qemus()
    vmd.kill()
    _, err = up.communicate()
    assert up.returncode == 1
    assert b"vmctl status" in err
    vmd.start()
    assert "takes over the install" in vmd.heard("note")["text"]
    assert vmd.qemus() == before
    vmd.qmp("system_powerdown")
    vmd.heard("rung", rung="kernel")
    assert vmd.ctl("log", "alice").out.startswith("tiny: ready")


def test_an_install_that_ended_while_nobody_looked(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("waits"))
    up = vmd.begin_install()
    vmd.kill()
    up.communicate()
    vmd.qmp("system_powerdown")
    vmd.start()
    vmd.heard("step.done", step="accept-disk")
    vmd.heard("rung", rung="kernel")


def test_an_install_is_started_afresh(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("waits"))
    up = vmd.begin_install()
    (before,) = vmd.qemus()
    vmd.kill()
    up.communicate()
    end(before)
    (vmd.guest() / "install.log").unlink()
    vmd.start()
    assert "starts the install afresh" in vmd.heard("note")["text"]
    log = vmd.begin("log", "-f", "--install", "alice")
    assert log.stdout is not None
    while b"1/2" not in log.stdout.readline():
        pass
    log.kill()
    log.communicate()
    assert vmd.qemus() != [before]
    vmd.qmp("system_powerdown")
    vmd.heard("rung", rung="kernel")
    assert "disk.qcow2.tmp" not in files(vmd)


def test_down_of_an_install_that_an_earlier_vmd_started(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("hangs"))
    up = vmd.begin_install()
    vmd.kill()
    up.communicate()
    vmd.start()
    assert vmd.ctl("down", "alice").code == 0
    assert vmd.qemus() == []
    assert not {"disk.qcow2", "disk.qcow2.tmp", "install.json"} & files(vmd)


def test_a_vmd_told_to_end_leaves_an_install_going(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("waits"))
    up = vmd.begin_install()
    before = vmd.qemus()
    assert vmd.kill(signal.SIGTERM) == 0
    up.communicate()
    assert vmd.qemus() == before
    vmd.start()
    vmd.heard("note")
    vmd.qmp("system_powerdown")
    vmd.heard("rung", rung="kernel")


def test_a_damaged_record_costs_the_others_nothing(vmd: Vmd) -> None:
    vmd.define_tiny("alice", "bob")
    vmd.ctl("up", "--all")
    vmd.kill()
    (vmd.guest() / "booted.json").write_text('{"process": ')
    vmd.start()
    assert "booted.json is not JSON" in vmd.status()["error"]
    assert vmd.status("bob")["state"] == "running"

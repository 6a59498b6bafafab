"""Unattended installs on a real QEMU: how they succeed, and every way they fail."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.conftest import Tiny
from tests.daemon.house import KEY, Done, Vmd, end
from tests.tiny.guests import Way


def files(vmd: Vmd) -> set[str]:
    return {path.name for path in vmd.guest().iterdir()}


def nothing_half_made(vmd: Vmd) -> None:
    assert not {"disk.qcow2", "disk.qcow2.tmp", "install.json"} & files(vmd)
    assert vmd.qemus() == []


def works_after_all(vmd: Vmd, tiny: Tiny) -> None:
    """The next ``up``, with an installer that is well."""
    vmd.define_installed(tiny.installer())
    done = vmd.ctl("up", "alice", "--wait", "kernel")
    assert done.code == 0, done.err
    assert vmd.ctl("log", "alice").out.startswith("tiny: ready")


@pytest.fixture
def fails(vmd: Vmd, tiny: Tiny) -> Callable[..., Done]:
    """Have alice installed by an ISO, and see that it fails well."""

    def fails(iso: Path, *, installer: str = "") -> Done:
        vmd.define_installed(iso, installer=installer)
        done = vmd.ctl("up", "alice")
        assert done.code == 1, done
        assert done.err.count("vmctl: alice: ") == 1
        nothing_half_made(vmd)
        assert vmd.status()["state"] == "failed"
        return done

    return fails


@pytest.mark.parametrize("way", ["well", "halts", "resets", "fills"])
def test_one_that_succeeds(vmd: Vmd, tiny: Tiny, way: Way) -> None:
    vmd.define_installed(tiny.installer(way))
    done = vmd.ctl("up", "alice", "--wait", "kernel", "--json")
    assert done.code == 0, done.events[-1]
    steps = [event["step"] for event in done.events if event["event"] == "step.done"]
    assert steps == ["write-seed", "make-disk", "run-installer", "accept-disk", "start"]
    told = [(event["done"], event["total"], event["text"]) for event in done.events if event["event"] == "progress"]
    assert told == [(1, 2, "writing"), (2, 2, "reading the key")]
    assert vmd.ctl("log", "alice").out.startswith("tiny: ready")
    assert f"KEY: {KEY}" in vmd.ctl("log", "alice", "--install").out
    assert not {"disk.qcow2.tmp", "install.json"} & files(vmd)


def test_the_second_up_installs_nothing(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer())
    assert vmd.ctl("up", "alice", "--wait", "kernel").code == 0
    assert vmd.ctl("down", "alice").code == 0
    done = vmd.ctl("up", "alice", "--wait", "kernel", "--json")
    assert [event["step"] for event in done.events if event["event"] == "step.done"] == ["start"]


def test_other_words_for_success(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("unsaid"), installer="success: 'KEY:'")
    assert vmd.ctl("up", "alice", "--wait", "kernel").code == 0


def test_one_that_says_it_failed(vmd: Vmd, tiny: Tiny, fails: Callable[..., Done]) -> None:
    done = fails(tiny.installer("fails"))
    assert "the installer says: no luck" in done.err
    assert str(vmd.guest() / "install.log") in done.err
    assert "INSTALL_FAILED: no luck" in vmd.ctl("log", "alice").out
    works_after_all(vmd, tiny)


def test_one_that_powers_off_without_success(tiny: Tiny, fails: Callable[..., Done]) -> None:
    assert "it turned itself off without saying INSTALL_SUCCESSFUL" in fails(tiny.installer("unsaid")).err


@pytest.mark.parametrize(
    ("way", "limit", "reason"),
    [
        ("silent", "silence: 1s", "it has said nothing for 1s; it never said a word"),
        ("hangs", "silence: 1s", "it has said nothing for 1s; its last line: 'INSTALL_PROGRESS 1/2 writing'"),
        ("chatters", "timeout: 2s", "it did not end within 2s; its last line: 'still busy'"),
    ],
)
def test_one_that_does_not_end(vmd: Vmd, tiny: Tiny, way: Way, limit: str, reason: str) -> None:
    vmd.define_installed(tiny.installer(way), installer=limit)
    done = vmd.ctl("up", "alice")
    assert done.code == 1
    nothing_half_made(vmd)
    assert reason in done.err
    picture = vmd.guest() / "install.png"
    assert str(picture) in done.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    works_after_all(vmd, tiny)


def test_one_that_no_firmware_boots(vmd: Vmd, tiny: Tiny, fails: Callable[..., Done]) -> None:
    assert "it never said a word" in fails(tiny.unbootable, installer="silence: 2s").err


def test_an_iso_that_is_not_there(vmd: Vmd, tiny: Tiny, fails: Callable[..., Done]) -> None:
    done = fails(vmd.root / "none.iso")
    assert f"{vmd.root}/none.iso is not there" in done.err
    works_after_all(vmd, tiny)


def test_a_key_file_that_is_not_there(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer(), guest="ssh_keys: [none.pub]")
    done = vmd.ctl("up", "alice")
    assert done.code == 1
    assert f"ssh_keys: {vmd.fleet}/none.pub can't be read: No such file or directory" in done.err
    nothing_half_made(vmd)
    works_after_all(vmd, tiny)


def test_a_qemu_that_refuses_an_option(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer(), guest="cpu: nonsense")
    done = vmd.ctl("up", "alice")
    assert done.code == 1
    assert "unable to find CPU model 'nonsense'" in done.err
    assert f"{vmd.fleet}/fleet.yaml:10:" in done.err
    nothing_half_made(vmd)
    works_after_all(vmd, tiny)


def test_a_port_that_is_taken(vmd: Vmd, tiny: Tiny) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        vmd.define_installed(tiny.installer(), guest=f"forward: ['127.0.0.1:{port}:80']")
        done = vmd.ctl("up", "alice")
        assert done.code == 1
        assert str(port) in done.err
        assert f"{vmd.fleet}/fleet.yaml:10:" in done.err
        # the port is needed only now: the install was done, and is not done again
        assert not {"disk.qcow2.tmp", "install.json"} & files(vmd)
    assert vmd.ctl("up", "alice", "--wait", "process").code == 0


def test_a_qemu_killed_in_the_middle(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("hangs"))
    up = vmd.begin_install()
    (pid,) = vmd.qemus()
    end(pid)
    _, err = up.communicate()
    assert up.returncode == 1
    assert b"QEMU was killed by SIGKILL in the middle of it" in err
    nothing_half_made(vmd)
    works_after_all(vmd, tiny)


def test_down_stops_it(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("hangs"))
    up = vmd.begin_install()
    assert vmd.status()["state"] == "installing"
    done = vmd.ctl("down", "alice")
    assert done.code == 0
    assert "the install was given up" in done.err
    _, err = up.communicate()
    assert up.returncode == 1
    assert b"given up" in err
    nothing_half_made(vmd)
    assert vmd.status()["state"] == "stopped"
    works_after_all(vmd, tiny)


def test_status_shows_how_far_it_is(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("hangs"))
    up = vmd.begin_install()
    progress = vmd.status()["progress"]
    assert (progress["done"], progress["total"], progress["text"]) == (1, 2, "writing")
    assert progress["seconds"] >= 0
    up.kill()
    up.communicate()
    assert vmd.status()["state"] == "installing"


def test_a_client_that_leaves_ends_nothing(vmd: Vmd, tiny: Tiny) -> None:
    vmd.define_installed(tiny.installer("waits"))
    up = vmd.begin_install()
    up.kill()
    up.communicate()
    vmd.qmp("system_powerdown")
    vmd.heard("rung", rung="kernel")
    assert vmd.status()["state"] == "running"

"""What ssh is told; ssh itself says what it understood."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from vmd.cli.ssh import command, show_ssh_config, variables
from vmd.errors import VmdError

from .conftest import Speaker, status

Vmctl = Callable[..., CompletedProcess[str]]

SSH = "/usr/bin/ssh"
pytestmark = pytest.mark.skipif(not Path(SSH).exists(), reason="ssh is not installed")

ALICE = {
    "name": "alice",
    "alias": "alice.vmd",
    "host": "127.0.0.1",
    "port": 2222,
    "user": "root",
    "known_hosts": "/srv/my guests/100%/known_hosts",
    "verified": True,
}
KEYS = ["/home/dan d/id_ed25519", "/home/dan/id_rsa"]
UNDERSTOOD = {
    "hostname": "127.0.0.1",
    "port": "2222",
    "user": "root",
    "hostkeyalias": "alice.vmd",
    "stricthostkeychecking": "true",
    "globalknownhostsfile": "/dev/null",
    "userknownhostsfile": "/srv/my guests/100%/known_hosts",
    "updatehostkeys": "false",
    "checkhostip": "no",
}


def understood(*argv: str) -> dict[str, str]:
    """What ssh makes of its options: ``ssh -G``."""
    said = subprocess.run((SSH, "-G", *argv), capture_output=True, text=True, check=True).stdout
    return {name: value for name, _, value in (line.partition(" ") for line in reversed(said.splitlines()))}


def test_ssh_understands_its_command_line() -> None:
    found = understood(*command(ALICE, "", ["uname", "-a"], KEYS)[1:])
    assert {name: found[name] for name in UNDERSTOOD} == UNDERSTOOD
    assert found["identityfile"] == KEYS[0]


def test_another_user_may_be_named() -> None:
    assert understood(*command(ALICE, "dan", [], KEYS)[1:])["user"] == "dan"


def test_ssh_understands_the_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_ssh_config([{**ALICE, "name": "bob", "port": 1}, ALICE], KEYS)
    config = tmp_path / "config"
    config.write_text(capsys.readouterr().out)
    found = understood("-F", str(config), "alice")
    assert {name: found[name] for name in UNDERSTOOD} == UNDERSTOOD
    assert found["identityfile"] == KEYS[0]


def test_ansibles_variables_are_words_for_ssh() -> None:
    found = variables(ALICE, KEYS)
    assert (found["ansible_host"], found["ansible_port"], found["ansible_user"]) == ("127.0.0.1", 2222, "root")
    said = understood(*shlex.split(found["ansible_ssh_common_args"]), "-p", "2222", "-l", "root", "127.0.0.1")
    assert {name: said[name] for name in UNDERSTOOD} == UNDERSTOOD


def test_a_guest_never_seen_has_no_settings() -> None:
    with pytest.raises(VmdError, match="alice has no record of its host key; vmctl wait alice --for ssh"):
        command({**ALICE, "known_hosts": None}, "", [], [])


def test_the_exit_status_is_sshs(speaker: Speaker, vmctl: Vmctl) -> None:
    speaker.json("GET /v1/guests/alice/ssh", {**ALICE, "port": 1, "verified": False})
    done = vmctl("ssh", "dan@alice", "--", "exit", "3")
    assert done.returncode == 255
    assert "host key is not known yet" in done.stderr
    assert "port 1" in done.stderr


def test_no_ssh_is_told(speaker: Speaker, vmctl: Vmctl, environ: dict[str, str], place: Path) -> None:
    speaker.json("GET /v1/guests/alice/ssh", ALICE)
    environ["PATH"] = str(place)
    assert "vmctl: there is no ssh\n  install openssh-client" in vmctl("ssh", "alice").stderr


@pytest.fixture
def fleet(speaker: Speaker) -> Speaker:
    guests = [status(state="running", ssh={"host": "127.0.0.1", "port": 2222}), status("bob"), status("eve")]
    speaker.json("GET /v1/guests", {"guests": guests, "faults": []})
    speaker.json("GET /v1/guests?name=alice", {"guests": guests[:1], "faults": []})
    speaker.json("GET /v1/guests/alice/ssh", ALICE)
    return speaker


@pytest.mark.usefixtures("fleet")
def test_an_inventory_groups_by_state(vmctl: Vmctl) -> None:
    for words in (["inventory"], ["inventory", "--list"]):
        found = json.loads(vmctl(*words).stdout)
        assert found["all"] == {"children": ["running", "stopped"]}
        assert found["running"] == {"hosts": ["alice"]}
        assert found["stopped"] == {"hosts": ["bob", "eve"]}
        assert found["_meta"]["hostvars"]["alice"]["ansible_port"] == 2222
        assert found["_meta"]["hostvars"]["bob"] == {}


@pytest.mark.usefixtures("fleet")
def test_an_inventory_of_one(vmctl: Vmctl) -> None:
    assert json.loads(vmctl("inventory", "--host", "alice").stdout)["ansible_host"] == "127.0.0.1"
    assert vmctl("inventory", "--host", "alice", "--list").returncode == 2


@pytest.mark.usefixtures("fleet")
def test_a_config_has_who_can_be_reached(vmctl: Vmctl) -> None:
    for words in (["ssh-config"], ["ssh-config", "alice"]):
        said = vmctl(*words).stdout
        assert [line for line in said.splitlines() if line.startswith("Host ")] == ["Host alice"]
    assert json.loads(vmctl("ssh-config", "--json").stdout) == {"guests": [ALICE]}

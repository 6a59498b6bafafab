"""The keys of whoever runs vmctl, and ssh-keygen for who has none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vmd.cli.keys import identities, offered
from vmd.errors import VmdError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def write(home: Path, name: str, text: str) -> None:
    (home / ".ssh" / f"{name}.pub").write_text(text)
    (home / ".ssh" / name).write_text("private")


def test_keys_come_in_sshs_order(home: Path) -> None:
    for name in ("id_zebra", "id_ed25519", "id_rsa", "id_ecdsa"):
        write(home, name, f"ssh-{name} AAAA dan@home\n")
    assert [key.split()[0] for key in offered({"HOME": str(home)})] == [
        "ssh-id_rsa",
        "ssh-id_ecdsa",
        "ssh-id_ed25519",
        "ssh-id_zebra",
    ]
    assert [Path(path).name for path in identities({"HOME": str(home)})] == [
        "id_rsa",
        "id_ecdsa",
        "id_ed25519",
        "id_zebra",
    ]


def test_what_is_no_key_is_not_offered(home: Path) -> None:
    write(home, "id_rsa", "-----BEGIN PRIVATE KEY-----\nsecret\n")
    write(home, "id_dsa", "ssh-dss\n")
    write(home, "id_ecdsa", "")
    (home / ".ssh" / "id_latin.pub").write_bytes(b"ssh-rsa AAAA \xff")
    (home / ".ssh" / "id_dir.pub").mkdir()
    write(home, "id_ed25519", "ssh-ed25519 AAAA dan\nssh-ed25519 BBBB eve\n")
    assert offered({"HOME": str(home)}) == ["ssh-ed25519 AAAA dan"]


def test_who_has_no_key_gets_one_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"HOME": str(tmp_path)}
    first = offered(environ)
    own = tmp_path / ".local" / "state" / "vmd" / "client" / "id_ed25519"
    assert str(own) in capsys.readouterr().err
    assert (own.stat().st_mode & 0o777, own.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert offered(environ) == first
    assert capsys.readouterr().err == ""
    assert identities(environ) == [str(own)]
    made = subprocess.run(
        ("/usr/bin/ssh-keygen", "-y", "-f", str(own)), capture_output=True, text=True, check=True
    ).stdout
    assert made.split()[:2] == first[0].split()[:2]
    assert [path.name for path in own.parent.parent.iterdir()] == ["client"]


def test_a_key_made_before_is_offered_beside_ones_own(home: Path, tmp_path: Path) -> None:
    environ = {"HOME": str(home), "VMD_STATE_DIR": str(tmp_path / "state")}
    (made,) = offered(environ)
    write(home, "id_rsa", "ssh-rsa AAAA dan\n")
    assert offered(environ) == ["ssh-rsa AAAA dan", made]
    assert identities(environ)[0] == str(tmp_path / "state" / "client" / "id_ed25519")


def test_two_at_once_agree_on_one_key(tmp_path: Path) -> None:
    script = "import os; from vmd.cli.keys import offered; print(offered(os.environ)[0])"
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE, text=True, env=environ)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert {process.returncode for process in running} == {0}


def test_no_place_for_a_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(VmdError, match=r"none can be made at .*; make one: ssh-keygen"):
        offered({"HOME": str(tmp_path), "VMD_STATE_DIR": str(tmp_path / "state")})


def test_no_ssh_keygen_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VmdError, match="no ssh-keygen; install openssh-client"):
        offered({"HOME": str(tmp_path)})

"""The checks of the FAT drive's files, in the busybox shell they run in."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from vmd.installer.root import GUEST_FILES

BUSYBOX = Path("/usr/bin/busybox") if Path("/usr/bin/busybox").exists() else Path("/bin/busybox")

pytestmark = pytest.mark.skipif(not BUSYBOX.exists(), reason="not installed: busybox-static")


def seed(call: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = f'set -u; . "$0"; {call} "$@"'
    argv = (str(BUSYBOX), "ash", "-c", script, str(GUEST_FILES / "seed.sh"), *map(str, arguments))
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def accepts(call: str, *arguments: str | Path) -> bool:
    return seed(call, *arguments).returncode == 0


@pytest.fixture
def key(tmp_path: Path) -> str:
    return make_key(tmp_path, "ed25519")


def make_key(directory: Path, kind: str, *options: str) -> str:
    path = directory / f"id_{kind}"
    subprocess.run(("/usr/bin/ssh-keygen", "-q", "-N", "", "-t", kind, *options, "-f", str(path)), check=True)
    return path.with_suffix(".pub").read_text()


def refusal(tmp_path: Path, content: str | bytes) -> str:
    """Why this ssh.pub is refused; empty when it isn't."""
    path = tmp_path / "ssh.pub"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = seed("valid_keys", path)
    assert (done.returncode == 0) == (done.stdout == ""), done
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_real_keys(tmp_path: Path, kind: str) -> None:
    assert refusal(tmp_path, make_key(tmp_path, kind)) == ""


def test_several_keys_with_all_that_authorized_keys_may_hold(tmp_path: Path, key: str) -> None:
    options = f'restrict,command="echo a, b",from="10.0.0.0/8" {key}'
    assert refusal(tmp_path, f"# mine\n\n{key}{options}\r\n  # end") == ""


def test_a_key_without_line_end_or_comment(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, " ".join(key.split()[:2])) == ""


@pytest.mark.parametrize("cut", [1, 4, 10, 40])
def test_a_cut_key(tmp_path: Path, key: str, cut: int) -> None:
    kind, blob, _ = key.split()
    assert refusal(tmp_path, f"{kind} {blob[:-cut]} me\n") == "line 1 is not an OpenSSH public key"


def test_a_key_of_another_kind_than_it_says(tmp_path: Path, key: str) -> None:
    assert "line 1" in refusal(tmp_path, key.replace("ssh-ed25519", "ssh-rsa", 1))


def test_the_second_line_is_looked_at_too(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, key + "garbage\n") == "line 2 is not an OpenSSH public key"


@pytest.mark.parametrize(
    "text", ["garbage", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "ssh-ed25519", "ssh-ed25519 AAAA"]
)
def test_garbage(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == "line 1 is not an OpenSSH public key"


def test_a_blob_of_nothing_but_a_type(tmp_path: Path) -> None:
    blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519").decode()
    assert "line 1" in refusal(tmp_path, f"ssh-ed25519 {blob}\n")


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    assert refusal(tmp_path, "") == "is empty"
    assert refusal(tmp_path, "# no key yet\n\n") == "holds no key"


def test_nul_bytes_mean_that_the_file_could_not_be_read(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, b"\0" * 80) == "holds NUL bytes: the file behind it could not be read"
    assert "NUL" in refusal(tmp_path, key.encode() + b"\0")


def test_an_enormous_file(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, key * 2000).endswith("more than 65536")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert seed("readable", tmp_path / "nothing", "10").stdout == "cannot be read\n"


@pytest.mark.parametrize("name", ["a", "alice", "Alice-2", "0", "a" * 63])
def test_hostnames(name: str) -> None:
    assert accepts("valid_hostname", name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a b", "a_b", "é", "a" * 64, "a\nb", "$(reboot)"])
def test_what_is_no_hostname(name: str) -> None:
    assert not accepts("valid_hostname", name)


@pytest.mark.parametrize("name", ["a", "admin", "_x", "a-1_b", "a" * 32])
def test_users(name: str) -> None:
    assert accepts("valid_user", name)


@pytest.mark.parametrize("name", ["", "1a", "-a", "Admin", "a b", "a:b", "a/b", "..", "a" * 33, "a\nb"])
def test_what_is_no_user(name: str) -> None:
    assert not accepts("valid_user", name)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("alice", "alice"),
        ("alice\n", "alice"),
        ("\r\n  alice \t\r\n\r\n", "alice"),
        ("two words", "two words"),
        ("a\nb\n", None),
        ("\n", None),
    ],
)
def test_word(tmp_path: Path, content: str, word: str | None) -> None:
    path = tmp_path / "hostname"
    path.write_bytes(content.encode())
    done = seed("word", path)
    assert (done.stdout.removesuffix("\n") or None) == word
    assert (done.returncode == 0) == (word is not None)


def test_network_files(tmp_path: Path) -> None:
    assert seed("network_files", tmp_path).stdout == ""
    (tmp_path / "network").mkdir()
    names = ("lan.network", "network/10-wan.network")
    for name in (*names, "network/notes.txt", "ssh.pub"):
        (tmp_path / name).write_text("[Match]\n")
    assert seed("network_files", tmp_path).stdout.split() == [str(tmp_path / name) for name in names]
    assert accepts("valid_networks", tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({f"{i}.network": "x" for i in range(9)}, "more than 8 .network files"),
        ({"a b.network": "x"}, "a b.network: a name of other than letters, digits and ._-"),
        ({"lan.network": ""}, "lan.network is empty"),
        ({"lan.network": "\0\0"}, "lan.network holds NUL bytes: the file behind it could not be read"),
        ({"lan.network": "x" * 16385}, "lan.network has 16385 bytes, more than 16384"),
    ],
)
def test_network_files_that_are_refused(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    done = seed("valid_networks", tmp_path)
    assert (done.returncode, done.stdout.strip()) == (1, reason)


@pytest.mark.parametrize("script", ["init", "seed.sh"])
def test_scripts_are_valid(script: str) -> None:
    done = subprocess.run(
        (str(BUSYBOX), "ash", "-n", str(GUEST_FILES / script)), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/usr/bin/shellcheck").exists(), reason="not installed: shellcheck")
@pytest.mark.parametrize("script", ["init", "seed.sh"])
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    # 1091: files of the initramfs; 2015: A && B || C with a B that can't fail; 3040: busybox has pipefail
    argv = (
        "/usr/bin/shellcheck",
        "--shell=sh",
        "--exclude=SC1091,SC2013,SC2015,SC2174,SC3040",
        str(GUEST_FILES / script),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

"""Which ISO is which, and who builds it; the build itself is in test_install.py."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.installer.conftest import needs_a_builder
from vmd.errors import CommandFailed, VmdError
from vmd.installer import debian, iso, loader, root
from vmd.installer.recipe import STEPS

needs_xorriso = pytest.mark.skipif(
    not (shutil.which("xorriso") and shutil.which("grub-mkimage") and shutil.which("mformat"))
    or not (loader.MODULE_DIRECTORY / "x86_64-efi").exists(),
    reason="not installed: xorriso mtools grub-common grub-pc-bin grub-efi-amd64-bin",
)


def ignore(done: int, total: int, text: str) -> None:
    pass


def small_iso(directory: Path, key: str) -> Path:
    (directory / "tree/vmd").mkdir(parents=True)
    iso.build(directory / "tree", key, directory / "made.iso")
    return directory / "made.iso"


@pytest.mark.parametrize("release", debian.RELEASES)
def test_key_names_the_release_and_is_a_file_name(release: str) -> None:
    key = debian.cache_key(release)
    assert key.startswith(f"{release}-")
    assert key.replace("-", "").isalnum()
    assert key == debian.cache_key(release)


def test_keys_differ() -> None:
    assert len({debian.cache_key(release).rpartition("-")[2] for release in debian.RELEASES}) == len(debian.RELEASES)


def test_key_follows_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "guest"
    shutil.copytree(root.GUEST_FILES, files)
    monkeypatch.setattr(root, "GUEST_FILES", files)
    before = debian.cache_key("debian-12")
    with (files / "init").open("a") as init:
        init.write("# changed\n")
    assert debian.cache_key("debian-12") != before


def test_an_unknown_release() -> None:
    with pytest.raises(VmdError, match="no installer for 'debian-1'; there are debian-12 and debian-13"):
        debian.cache_key("debian-1")


def test_missing_programs_come_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "SEARCH_PATH", "/nonexistent")
    missing = dict(debian.missing_programs())
    assert missing["mmdebstrap"] == "mmdebstrap"
    assert missing["sfdisk"] == "fdisk"
    assert ("newuidmap" in missing) == (os.geteuid() != 0)


def test_a_build_without_its_programs_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "SEARCH_PATH", "/nonexistent")
    with pytest.raises(VmdError, match=r"needs mmdebstrap, .*; sudo apt install mmdebstrap "):
        debian.build("debian-12", tmp_path / "made.iso", work=tmp_path / "work", announce=ignore)


@needs_xorriso
def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    made = small_iso(tmp_path, debian.cache_key("debian-13"))
    before = made.stat()
    said: list[tuple[int, int, str]] = []
    debian.build("debian-13", made, work=tmp_path / "work", announce=lambda *step: said.append(step))
    assert made.stat() == before
    assert said == [(len(STEPS), len(STEPS), "complete")]


@needs_xorriso
def test_a_second_build_waits_for_the_first_and_finds_its_result(tmp_path: Path) -> None:
    key, work, target = debian.cache_key("debian-12"), tmp_path / "work", tmp_path / "target.iso"
    made = small_iso(tmp_path, key)
    work.mkdir()
    waiting = threading.Event()
    second = threading.Thread(
        target=debian.build,
        args=("debian-12", target),
        kwargs={"work": work, "announce": lambda _done, _total, text: waiting.set() if "waiting" in text else None},
    )
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second.start()
        assert waiting.wait(60)
        made.rename(target)
    second.join(60)
    assert not second.is_alive()
    assert sorted(path.name for path in work.iterdir()) == ["lock"]


def test_relay_passes_progress_on() -> None:
    said: list[tuple[int, int, str]] = []
    debian.relay(['{"progress": [1, 2, "a"]}\n', '{"progress": [2, 2, "b"]}\n'], lambda *step: said.append(step))
    assert said == [(1, 2, "a"), (2, 2, "b")]


def test_relay_raises_what_went_wrong() -> None:
    with pytest.raises(VmdError, match="it broke; mend it"):
        debian.relay(['{"error": "it broke", "hint": "mend it"}\n'], ignore)


def builder(release: str, output: Path, work: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "vmd.installer", "build", release, "-o", str(output), "--work", str(work))
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_without_a_network_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """A proxy that nobody listens at is no network."""
    needs_a_builder()
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = builder("debian-13", tmp_path / "made.iso", tmp_path / "work", **proxy)
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert last["error"].startswith("mmdebstrap failed with exit status ")
    assert "network" in last["hint"]
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    needs_a_builder()
    work = tmp_path / "work"
    argv = (
        sys.executable,
        "-m",
        "vmd.installer",
        "build",
        "debian-12",
        "-o",
        str(tmp_path / "x.iso"),
        "--work",
        str(work),
    )
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["progress"][0] == 0  # mmdebstrap is at work
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert [path.name for path in work.iterdir()] == ["lock"]
    assert str(work) not in Path("/proc/self/mountinfo").read_text()


def test_what_a_killed_build_left_is_taken_away_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_a_builder()
    left = tmp_path / "work/build/root/etc"
    left.mkdir(parents=True)
    (left / "passwd").write_text("x")
    (tmp_path / ".made.iso.part").write_text("x")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CommandFailed):
        debian.build("debian-12", tmp_path / "made.iso", work=tmp_path / "work", announce=ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["lock"]


def test_the_command_line_refuses_other_releases() -> None:
    done = builder("debian-1", Path("x.iso"), Path("work"))
    assert done.returncode == 2
    assert "invalid choice: 'debian-1'" in done.stderr
